//! Formats that a schema names, and nobody checks.

use serde_json::Value;

use super::Said;

/// Formats that are known, whether they are checked or but described.
const KNOWN: [&str; 31] = [
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "date-time",
    "datetime",
    "double",
    "duration",
    "email",
    "float",
    "hexcolor",
    "hostname",
    "int32",
    "int64",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8s-long-name",
    "k8s-short-name",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// Says which formats of a schema, and of those in it, are not known.
pub(super) fn unknown(schema: &Value, said: &mut Said) {
    if let Some(format) = schema.get("format").and_then(Value::as_str).filter(|format| !format.is_empty() && !KNOWN.contains(format)) {
        said.push(format!("unrecognized format {format:?}"));
    }
    let named = schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|properties| properties.values());
    let listed = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let single = ["additionalProperties", "items", "not"].into_iter().filter_map(|key| schema.get(key));
    named.chain(listed).chain(single).for_each(|inner| unknown(inner, said));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn formats_that_nobody_knows_are_told_of() {
        let schema = json!({"properties": {
            "a": {"type": "string", "format": "date-time"}, "format": {"type": "integer", "format": "int64"},
            "l": {"items": {"format": "recipe"}, "default": {"format": "none"}},
        }});
        let mut said = Said::new();
        unknown(&schema, &mut said);
        assert_eq!(said, ["unrecognized format \"recipe\""]);
    }
}
