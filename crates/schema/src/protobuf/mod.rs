//! Kubernetes' protobuf encoding (`application/vnd.kubernetes.protobuf`) and the JSON that it stands for, both ways.
//!
//! The encoding is upstream's `runtime/serializer/protobuf`: four magic bytes, then a `runtime.Unknown` that names the kind and holds the
//! object. Which field has which tag is in `tables/protobuf`. An object's own message is called raw here: it is what lists and watches are
//! put together from, so that it need be made once only.
//!
//! Zero values follow what Go's JSON would show. Go writes a field that is not a pointer even when it is zero, and JSON's `omitempty` then
//! leaves it out; a zero behind a pointer (`replicas: 0`) is meant, and stays. The table says which fields are of the first sort.

mod decode;
mod encode;
mod envelope;
mod table;
mod wire;

#[cfg(test)]
mod encode_tests;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use decode::DecodeError;
pub use encode::EncodeError;

use wire::{Writer, field_length};

/// The media type of such bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Reads a body: an object of a built-in kind, or the options and reviews that are posted like one.
///
/// # Errors
/// Whatever is wrong with the bytes, by the names of the message and the field; kinds that are not known; objects that nest deeper
/// or hold more values than any real one.
pub fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let envelope = envelope::open(body)?;
    let Some(message) = table::table().kind(&envelope.api_version, &envelope.kind) else {
        return Err(DecodeError::unknown_kind(&envelope.api_version, &envelope.kind));
    };
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), Value::from(envelope.api_version));
    object.insert("kind".to_owned(), Value::from(envelope.kind));
    decode::object(message, envelope.raw, &mut object)?;
    Ok(Value::Object(object))
}

/// A whole body: an object, or what is answered in the place of one, such as a `Status`.
///
/// # Errors
/// Kinds without a protobuf form; values that are not of their fields' types.
pub fn encode(object: &Value) -> Result<Vec<u8>, EncodeError> {
    let (api_version, kind) = kind_of(object);
    Ok(envelope::seal(api_version, kind, &encode_raw(object)?))
}

/// Only the object's own message, which says nothing of its kind.
///
/// # Errors
/// As of [`encode`].
pub fn encode_raw(object: &Value) -> Result<Vec<u8>, EncodeError> {
    let (api_version, kind) = kind_of(object);
    match (table::table().answer(api_version, kind), object) {
        (Some(message), Value::Object(fields)) => encode::object(message, fields),
        _ => Err(EncodeError::NoMessage { kind: if kind.is_empty() { "of no kind".to_owned() } else { kind.to_owned() } }),
    }
}

/// A whole body around an object's own message.
pub fn seal(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    envelope::seal(api_version, kind, raw)
}

/// A whole body with a list of objects, whose own messages are given. Lists of all kinds look alike: `{1: metadata, 2: items}`.
///
/// # Errors
/// Metadata that is not that of a list.
pub fn encode_list<'a>(
    api_version: &str,
    kind: &str,
    metadata: &Value,
    items: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<Vec<u8>, EncodeError> {
    let mut head = Vec::new();
    if let (Some(message), Some(metadata)) = (table::table().list_metadata(), metadata.as_object()) {
        head = encode::object(message, metadata)?;
    }
    let length = field_length(1, head.len()) + items.clone().map(|item| field_length(2, item.len())).sum::<usize>();
    let mut out = Vec::with_capacity(length + 64);
    envelope::seal_into(api_version, kind, length, &mut out, |out| {
        let mut writer = Writer::new(out);
        writer.bytes(1, &head);
        items.for_each(|item| writer.bytes(2, item));
    });
    Ok(out)
}

/// Appends one event of a watch, as the stream has it, around an object's own message.
pub fn write_event(event: &str, api_version: &str, kind: &str, raw: &[u8], out: &mut Vec<u8>) {
    envelope::frame(event, api_version, kind, raw, out);
}

fn kind_of(object: &Value) -> (&str, &str) {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    (text("apiVersion"), text("kind"))
}
