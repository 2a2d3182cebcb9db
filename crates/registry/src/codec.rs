//! The stored form: the JSON that is served, without the resourceVersion, which is only known after the commit.

use bytes::Bytes;
use serde_json::{Map, Value};

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

/// The served form: `stored` with the version put in. `value` is the same object, parsed, with its version already set; it is serialized
/// only where somebody else than [`encode`] wrote the stored form.
pub(crate) fn with_version(stored: &[u8], value: &Value, revision: i64) -> Result<Bytes, serde_json::Error> {
    let Some(at) = metadata_start(stored) else {
        return serde_json::to_vec(value).map(Bytes::from);
    };
    let mut number = itoa(revision);
    let comma = if stored.get(at) == Some(&b'}') { "" } else { "," };
    number.push('"');
    number.push_str(comma);
    let mut out = Vec::with_capacity(stored.len() + 48);
    out.extend_from_slice(&stored[..at]);
    out.extend_from_slice(b"\"resourceVersion\":\"");
    out.extend_from_slice(number.as_bytes());
    out.extend_from_slice(&stored[at..]);
    Ok(out.into())
}

fn itoa(number: i64) -> String {
    number.to_string()
}

/// Just behind the brace that opens `metadata`, if the object is written the way [`encode`] does and holds no version yet.
fn metadata_start(stored: &[u8]) -> Option<usize> {
    const MARK: &[u8] = b"\"metadata\":{";
    // apiVersion and kind are short: the mark is near the start, or this was not written by us.
    let head = &stored[..stored.len().min(512)];
    let at = head.windows(MARK.len()).position(|window| window == MARK)?;
    let before = &head[1..at];
    if before.iter().any(|byte| matches!(byte, b'{' | b'[' | b'\\')) {
        return None;
    }
    Some(at + MARK.len())
}

/// Whether the stored bytes already carry a version, as they do when somebody else than this code wrote them.
pub(crate) fn carries_version(value: &Value) -> bool {
    UNSTORED.iter().any(|field| value["metadata"].get(field).is_some())
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
        let served: Value = serde_json::from_slice(&with_version(&stored, &value, 12).unwrap()).unwrap();
        assert_eq!(served, value);
    }

    #[test]
    fn a_foreign_layout_is_serialized_anew() {
        let mut value = json!({"spec": {"metadata": {}}, "metadata": {}});
        let stored = serde_json::to_vec(&value).unwrap();
        set_version(&mut value, 3);
        let served: Value = serde_json::from_slice(&with_version(&stored, &value, 3).unwrap()).unwrap();
        assert_eq!(served["metadata"]["resourceVersion"], "3");
        assert_eq!(served["spec"]["metadata"], json!({}));
    }
}
