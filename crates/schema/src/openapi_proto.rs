//! The v2 document in the protobuf form (`application/com.github.proto-openapi.spec.v2@v1.0+protobuf`) that clients before kubectl 1.27
//! ask for, and take nothing else. Written by hand from the JSON form, since nothing here needs to read it back.

use serde_json::{Map, Value};

/// The v2 document, given in the JSON form, as protobuf.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document.get("swagger"));
    if let Some(info) = document.get("info") {
        out.message(2, |m| {
            m.text(1, info.get("title"));
            m.text(2, info.get("version"));
        });
    }
    out.message(8, |paths| {
        for (path, item) in entries(document.get("paths")) {
            paths.message(2, |named| {
                named.string(1, path);
                named.message(2, |m| path_item(m, item));
            });
        }
    });
    out.message(9, |definitions| named_schemas(definitions, document.get("definitions")));
    out.bytes
}

fn entries(map: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.and_then(Value::as_object).into_iter().flatten()
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// A message being written.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    fn raw(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn string(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.raw(field, text.as_bytes());
        }
    }

    fn text(&mut self, field: u32, value: Option<&Value>) {
        self.string(field, value.and_then(Value::as_str).unwrap_or_default());
    }

    fn texts(&mut self, field: u32, list: Option<&Value>) {
        items(list).filter_map(Value::as_str).for_each(|text| self.raw(field, text.as_bytes()));
    }

    fn flag(&mut self, field: u32, value: Option<&Value>) {
        if value.and_then(Value::as_bool) == Some(true) {
            self.tag(field, 0);
            self.varint(1);
        }
    }

    fn number(&mut self, field: u32, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_f64) {
            self.tag(field, 1);
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn integer(&mut self, field: u32, value: Option<&Value>) {
        if let Some(number) = value.and_then(Value::as_u64) {
            self.tag(field, 0);
            self.varint(number);
        }
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.raw(field, &inner.bytes);
    }

    /// Any value, as YAML: JSON is YAML.
    fn any(&mut self, field: u32, value: Option<&Value>) {
        if let Some(value) = value {
            self.message(field, |m| m.string(2, &value.to_string()));
        }
    }

    fn extensions(&mut self, field: u32, map: Option<&Map<String, Value>>) {
        for (key, value) in map.into_iter().flatten().filter(|(key, _)| key.starts_with("x-")) {
            self.message(field, |named| {
                named.string(1, key);
                named.any(2, Some(value));
            });
        }
    }
}

fn path_item(out: &mut Message, item: &Value) {
    for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")] {
        if let Some(operation) = item.get(method) {
            out.message(field, |m| write_operation(m, operation));
        }
    }
    parameters(out, 9, item);
}

fn write_operation(out: &mut Message, operation: &Value) {
    out.text(3, operation.get("description"));
    out.text(5, operation.get("operationId"));
    out.texts(6, operation.get("produces"));
    out.texts(7, operation.get("consumes"));
    parameters(out, 8, operation);
    out.message(9, |responses| {
        for (code, response) in entries(operation.get("responses")) {
            responses.message(1, |named| {
                named.string(1, code);
                named.message(2, |value| {
                    value.message(1, |m| {
                        m.text(1, response.get("description"));
                        if let Some(of) = response.get("schema") {
                            m.message(2, |item| item.message(1, |m| schema(m, of)));
                        }
                    });
                });
            });
        }
    });
    out.extensions(13, operation.as_object());
}

fn parameters(out: &mut Message, field: u32, of: &Value) {
    for parameter in items(of.get("parameters")) {
        out.message(field, |item| item.message(1, |m| write_parameter(m, parameter)));
    }
}

/// A parameter, whose type depends on where it stands.
fn write_parameter(out: &mut Message, parameter: &Value) {
    let place = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
    if place == "body" {
        out.message(1, |m| {
            m.text(1, parameter.get("description"));
            m.text(2, parameter.get("name"));
            m.string(3, place);
            m.flag(4, parameter.get("required"));
            if let Some(of) = parameter.get("schema") {
                m.message(5, |m| schema(m, of));
            }
        });
        return;
    }
    let (field, kind, unique) = if place == "path" { (4, 5, 19) } else { (3, 6, 20) };
    out.message(2, |other| {
        other.message(field, |m| {
            m.flag(1, parameter.get("required"));
            m.string(2, place);
            m.text(3, parameter.get("description"));
            m.text(4, parameter.get("name"));
            m.text(kind, parameter.get("type"));
            m.flag(unique, parameter.get("uniqueItems"));
        });
    });
}

fn named_schemas(out: &mut Message, schemas: Option<&Value>) {
    for (name, value) in entries(schemas) {
        out.message(1, |named| {
            named.string(1, name);
            named.message(2, |m| schema(m, value));
        });
    }
}

fn schema(out: &mut Message, schema_value: &Value) {
    let get = |key: &str| schema_value.get(key);
    out.text(1, get("$ref"));
    out.text(2, get("format"));
    out.text(3, get("title"));
    out.text(4, get("description"));
    out.any(5, get("default"));
    out.number(7, get("maximum"));
    out.number(9, get("minimum"));
    out.integer(11, get("maxLength"));
    out.integer(12, get("minLength"));
    out.text(13, get("pattern"));
    out.integer(14, get("maxItems"));
    out.integer(15, get("minItems"));
    out.flag(16, get("uniqueItems"));
    out.texts(19, get("required"));
    items(get("enum")).for_each(|value| out.any(20, Some(value)));
    match get("additionalProperties") {
        Some(of @ Value::Object(_)) => out.message(21, |item| item.message(1, |m| schema(m, of))),
        Some(Value::Bool(true)) => out.message(21, |item| item.flag(2, Some(&Value::Bool(true)))),
        _ => {}
    }
    match get("type") {
        Some(Value::String(kind)) => out.message(22, |m| m.string(1, kind)),
        Some(kinds @ Value::Array(_)) => out.message(22, |m| m.texts(1, Some(kinds))),
        _ => {}
    }
    if let Some(of) = get("items") {
        out.message(23, |m| m.message(1, |m| schema(m, of)));
    }
    items(get("allOf")).for_each(|of| out.message(24, |m| schema(m, of)));
    if get("properties").is_some() {
        out.message(25, |m| named_schemas(m, get("properties")));
    }
    out.extensions(31, schema_value.as_object());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_small_document_has_the_bytes_it_should() {
        let bytes = encode(&json!({"swagger": "2.0", "definitions": {"A": {"type": "object", "x-b": 1}}}));
        let schema =
            [0xb2, 0x01, 8, 0x0a, 6, b'o', b'b', b'j', b'e', b'c', b't', 0xfa, 0x01, 10, 0x0a, 3, b'x', b'-', b'b', 0x12, 3, 0x12, 1, b'1'];
        let mut expected = vec![0x0a, 3, b'2', b'.', b'0', 0x42, 0, 0x4a];
        expected.push(u8::try_from(schema.len() + 7).unwrap_or(0));
        expected.extend([0x0a, u8::try_from(schema.len() + 5).unwrap_or(0), 0x0a, 1, b'A', 0x12, u8::try_from(schema.len()).unwrap_or(0)]);
        expected.extend(schema);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn the_whole_document_is_written() {
        let definitions = crate::openapi::described_definitions();
        let document = crate::openapi::v2(&definitions, crate::catalog().resources());
        let bytes = encode(&document);
        assert!(bytes.len() > 500_000, "{}", bytes.len());
    }
}
