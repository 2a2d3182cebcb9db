//! Documents as they are read, with what they say twice: clients may want to be told.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};
use std::fmt;

/// A document, and complaints of the fields that it has twice. The last one counts.
pub(crate) struct Document {
    pub value: Value,
    pub twice: Vec<String>,
}

impl Document {
    /// Of a form in which nothing can be said twice.
    pub(super) fn of(value: Value) -> Self {
        Self { value, twice: Vec::new() }
    }

    pub(super) fn json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut paths = Vec::new();
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let value = Reader { twice: &mut paths }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(Self { value, twice: paths.iter().map(|path| format!("duplicate field {path:?}")).collect() })
    }

    pub(super) fn yaml(bytes: &[u8]) -> Result<Self, serde_yaml_ng::Error> {
        let mut paths = Vec::new();
        let value = Reader { twice: &mut paths }.deserialize(serde_yaml_ng::Deserializer::from_slice(bytes))?;
        let text = String::from_utf8_lossy(bytes);
        let complaint = |path: &String| {
            let key = path.rsplit(['.', ']']).next().unwrap_or_default();
            match second_line(&text, key) {
                Some(line) => format!("line {line}: key {key:?} already set in map"),
                None => format!("key {key:?} already set in map"),
            }
        };
        Ok(Self { value, twice: paths.iter().map(complaint).collect() })
    }
}

/// The line, from 1 on, in which a key is set again in the same block. Nothing for keys within one line.
fn second_line(text: &str, key: &str) -> Option<usize> {
    let mut first: Option<usize> = None;
    for (number, line) in text.lines().enumerate() {
        let (indent, rest) = (line.len() - line.trim_start().len(), line.trim_start());
        if rest.is_empty() || rest.starts_with('#') {
            continue;
        }
        let named = rest
            .trim_start_matches(['"', '\''])
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(':'));
        match first {
            Some(before) if named && indent == before => return Some(number + 1),
            // The block has ended, or another item has begun.
            Some(before) if indent < before => first = named.then_some(indent),
            None if named => first = Some(indent),
            _ => {}
        }
    }
    None
}

/// Reads any value, and notes the paths of fields that come again.
struct Reader<'a> {
    twice: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// Puts a step before the paths that were noted since there were `before`.
    fn prefix(&mut self, before: usize, step: &str) {
        for path in self.twice.iter_mut().skip(before) {
            let dot = if path.starts_with('[') { "" } else { "." };
            *path = format!("{step}{dot}{path}");
        }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let before = self.twice.len();
            let Some(item) = items.next_element_seed(Reader { twice: &mut *self.twice })? else { return Ok(Value::Array(list)) };
            if self.twice.len() > before {
                self.prefix(before, &format!("[{}]", list.len()));
            }
            list.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let before = self.twice.len();
            let value = fields.next_value_seed(Reader { twice: &mut *self.twice })?;
            if self.twice.len() > before {
                self.prefix(before, &name);
            }
            match object.entry(name) {
                Entry::Occupied(mut field) => {
                    self.twice.push(field.key().clone());
                    field.insert(value);
                }
                Entry::Vacant(field) => {
                    field.insert(value);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_said_twice_is_noted_and_the_last_counts() {
        let document = Document::json(br#"{"a": 1, "b": [{"c": 1}, {"c": 1, "c": {"d": null, "d": -1.5}}], "a": true}"#).unwrap();
        assert_eq!(document.value, json!({"a": true, "b": [{"c": 1}, {"c": {"d": -1.5}}]}));
        let expected = [r#"duplicate field "b[1].c.d""#, r#"duplicate field "b[1].c""#, r#"duplicate field "a""#];
        assert_eq!(document.twice, expected);
        assert!(Document::json(b"{} x").is_err());
        let text = r#"{"n": 18446744073709551615, "i": -3, "s": "\u00e9", "e": 1e3, "z": []}"#;
        assert_eq!(Document::json(text.as_bytes()).unwrap().value, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn yaml_tells_the_line() {
        let text = b"\nspec:\n  foo: 1\n  other:\n    foo: 1\n  foo: 2\nlist:\n- foo: 1\n- foo: 2\n";
        let document = Document::yaml(text).unwrap();
        assert_eq!(document.value, json!({"spec": {"foo": 2, "other": {"foo": 1}}, "list": [{"foo": 1}, {"foo": 2}]}));
        assert_eq!(document.twice, [r#"line 6: key "foo" already set in map"#]);
        assert_eq!(Document::yaml(b"{a: 1, a: 2}").unwrap().twice, [r#"key "a" already set in map"#]);
    }
}
