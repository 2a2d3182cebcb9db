//! Request bodies in Kubernetes' protobuf encoding (`application/vnd.kubernetes.protobuf`) turned into the JSON that they stand for.
//!
//! The encoding is upstream's `runtime/serializer/protobuf`: four magic bytes, then a `runtime.Unknown` that names the kind and holds the
//! object. Which field has which tag is in `tables/protobuf`. Only reading is here: answers are JSON, which every such client takes too.
//!
//! Zero values follow what Go's JSON would show. Go writes a field that is not a pointer even when it is zero, and JSON's `omitempty` then
//! leaves it out; a zero behind a pointer (`replicas: 0`) is meant, and stays. The table says which fields are of the first sort.

mod decode;
mod envelope;
mod table;
mod wire;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use decode::DecodeError;

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
