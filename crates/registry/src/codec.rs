//! The stored form: the JSON that is served, without the resourceVersion, which is only known after the commit.

use bytes::Bytes;
use serde_json::{Map, Value};
use std::io::Write;

/// Fields that are never written down.
const UNSTORED: [&str; 2] = ["resourceVersion", "selfLink"];

/// Writes an object down: `apiVersion`, `kind`, `metadata` first, so that [`with_version`] finds the place for the version at once.
pub(crate) fn encode(value: &Value) -> Result<Bytes, serde_json::Error> {
    let Some(object) = value.as_object() else {
        return serde_json::to_vec(value).map(Bytes::from);
    };
    let mut out = Vec::with_capacity(1024);
    out.push(b'{');
    for field in ["apiVersion", "kind"] {
        if let Some(value) = object.get(field) {
            write_field(&mut out, field, value)?;
        }
    }
    if let Some(metadata) = object.get("metadata").and_then(Value::as_object) {
        write_name(&mut out, "metadata")?;
        out.push(b'{');
        for (name, value) in metadata {
            if !UNSTORED.contains(&name.as_str()) {
                write_field(&mut out, name, value)?;
            }
        }
        out.push(b'}');
    }
    for (name, value) in object {
        if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            write_field(&mut out, name, value)?;
        }
    }
    out.push(b'}');
    Ok(out.into())
}

fn write_name(out: &mut Vec<u8>, name: &str) -> Result<(), serde_json::Error> {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    serde_json::to_writer(&mut *out, name)?;
    out.push(b':');
    Ok(())
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &Value) -> Result<(), serde_json::Error> {
    write_name(out, name)?;
    serde_json::to_writer(&mut *out, value)
}

/// Puts the version into a parsed object.
pub(crate) fn set_version(value: &mut Value, revision: i64) {
    if let Some(object) = value.as_object_mut() {
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
        }
    }
}

/// The served form: `text`, stored or served, with this version and no other; `None`: its layout is not the one that [`encode`] makes.
pub(crate) fn with_version(text: &[u8], revision: i64) -> Option<Bytes> {
    const VERSION: &[u8] = b"\"resourceVersion\":\"";
    let at = metadata_start(text)?;
    let (before, mut rest) = text.split_at_checked(at)?;
    // A served form has its version first.
    if let Some(old) = rest.strip_prefix(VERSION) {
        let end = old.iter().position(|byte| !byte.is_ascii_digit())?;
        let old = old[end..].strip_prefix(b"\"")?;
        rest = old.strip_prefix(b",").unwrap_or(old);
    }
    let mut out = Vec::with_capacity(text.len() + VERSION.len() + 24);
    out.extend_from_slice(before);
    out.extend_from_slice(VERSION);
    write!(out, "{revision}").ok()?;
    out.extend_from_slice(if rest.first() == Some(&b'}') { b"\"" } else { b"\"," });
    out.extend_from_slice(rest);
    Some(out.into())
}

/// Just behind the brace that opens `metadata`, if the object is written the way [`encode`] does.
fn metadata_start(stored: &[u8]) -> Option<usize> {
    const MARK: &[u8] = b"\"metadata\":{";
    // apiVersion and kind are short: the mark is near the start, or this was not written by us.
    let head = &stored[..stored.len().min(512)];
    let at = head.windows(MARK.len()).position(|window| window == MARK)?;
    let before = head.get(1..at)?;
    if before.iter().any(|byte| matches!(byte, b'{' | b'[' | b'\\')) {
        return None;
    }
    Some(at + MARK.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_version_is_not_stored_and_is_put_back() {
        let mut value =
            json!({"spec": {"metadata": {"a": 1}}, "metadata": {"name": "x", "resourceVersion": "9"}, "kind": "Pod", "apiVersion": "v1"});
        let stored = encode(&value).unwrap();
        assert_eq!(stored, r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"metadata":{"a":1}}}"#.as_bytes());
        set_version(&mut value, 12);
        let served = with_version(&stored, 12).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&served).unwrap(), value);
        assert_eq!(with_version(&served, 3), with_version(&stored, 3), "a version takes the place of another");
        let bare = encode(&json!({"metadata": {}})).unwrap();
        let served = with_version(&bare, 1).unwrap();
        assert_eq!(served, r#"{"metadata":{"resourceVersion":"1"}}"#);
        assert_eq!(with_version(&served, 23).unwrap(), r#"{"metadata":{"resourceVersion":"23"}}"#);
    }

    #[test]
    fn a_foreign_layout_is_left_to_others() {
        for text in [
            r#"{"spec":{"metadata":{}},"metadata":{}}"#,
            r#"{"kind":"\"metadata\":{"}"#,
            "",
            "{",
            r#"{"metadata":{"resourceVersion":"x"}}"#,
        ] {
            assert_eq!(with_version(text.as_bytes(), 3), None, "{text}");
        }
    }
}
