//! JSON into CBOR.

use super::SELF_DESCRIBED;
use bytes::Bytes;
use ciborium_ll::{Encoder, Header, simple};
use serde_json::{Number, Value};

/// An item, to be put into a whole body, a list or an event.
pub(crate) fn encode_item(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    item(value, &mut out);
    out
}

/// A whole body around an item.
pub(crate) fn seal(item: &[u8]) -> Vec<u8> {
    [&SELF_DESCRIBED, item].concat()
}

/// A whole body with a list of objects, whose items are given.
pub(crate) fn encode_list(api_version: &str, kind: &str, metadata: &Value, items: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::with_capacity(items.iter().map(Bytes::len).sum::<usize>() + 256);
    out.extend_from_slice(&SELF_DESCRIBED);
    // In the order that sorted keys have.
    push(&mut out, Header::Map(Some(4)));
    text("kind", &mut out);
    text(kind, &mut out);
    text("items", &mut out);
    push(&mut out, Header::Array(Some(items.len())));
    items.iter().for_each(|item| out.extend_from_slice(item));
    text("metadata", &mut out);
    item(metadata, &mut out);
    text("apiVersion", &mut out);
    text(api_version, &mut out);
    out
}

/// Appends one event of a watch around an object's item. The object is a whole body in it, with a tag of its own.
pub(crate) fn write_event(event: &str, object: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&SELF_DESCRIBED);
    push(out, Header::Map(Some(2)));
    text("type", out);
    text(event, out);
    text("object", out);
    out.extend_from_slice(&SELF_DESCRIBED);
    out.extend_from_slice(object);
}

fn item(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => push(out, Header::Simple(simple::NULL)),
        Value::Bool(false) => push(out, Header::Simple(simple::FALSE)),
        Value::Bool(true) => push(out, Header::Simple(simple::TRUE)),
        Value::Number(value) => number(value, out),
        Value::String(value) => text(value, out),
        Value::Array(items) => {
            push(out, Header::Array(Some(items.len())));
            items.iter().for_each(|value| item(value, out));
        }
        Value::Object(fields) => {
            push(out, Header::Map(Some(fields.len())));
            let mut sorted: Vec<_> = fields.iter().collect();
            // By their encoded bytes, which begin with the length.
            sorted.sort_unstable_by_key(|(name, _)| (name.len(), *name));
            for (name, value) in sorted {
                text(name, out);
                item(value, out);
            }
        }
    }
}

fn number(number: &Number, out: &mut Vec<u8>) {
    if let Some(positive) = number.as_u64() {
        push(out, Header::Positive(positive));
    } else if let Some(negative) = number.as_i64() {
        // CBOR counts down from -1.
        push(out, Header::Negative(!(negative as u64)));
    } else {
        // The shortest of the three widths that keeps the value.
        push(out, Header::Float(number.as_f64().unwrap_or_default()));
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    push(out, Header::Bytes(Some(text.len())));
    out.extend_from_slice(text.as_bytes());
}

fn push(out: &mut Vec<u8>, header: Header) {
    let written = Encoder::from(out).push(header);
    debug_assert!(written.is_ok(), "memory can always be appended to");
}
