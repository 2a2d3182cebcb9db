//! Request bodies: bounded, and JSON, YAML, Kubernetes' protobuf or CBOR.

mod document;

pub(crate) use document::Document;

use crate::cbor;
use crate::media::{CBOR, JSON, PROTOBUF, YAML};
use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tricorn_meta::Status;

/// No request body is larger than this.
pub(crate) const MAX_BODY_BYTES: usize = 3 << 20;
/// No object nests deeper than this. (serde_json's own limit for JSON.)
const MAX_DEPTH: usize = 120;

/// Reads the whole body.
pub(crate) async fn read(request: Request<Body>) -> Result<Bytes, Status> {
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES);
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Status::too_large(format_args!("limit is {MAX_BODY_BYTES}"))),
        Err(error) => Err(Status::bad_request(format!("read the request body: {error}"))),
    }
}

/// The media type of a body, without parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// An object out of a body.
pub(crate) fn object(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Status> {
    document(headers, bytes).map(|document| document.value)
}

/// An object out of a body, with what it says twice.
pub(crate) fn document(headers: &HeaderMap, bytes: &[u8]) -> Result<Document, Status> {
    of_type(content_type(headers), bytes)
}

/// The object that a request with this content type and body brings.
///
/// # Errors
/// As the client is told them.
pub fn read_object(content_type: &str, bytes: &[u8]) -> Result<Value, Status> {
    of_type(content_type, bytes).map(|document| document.value)
}

fn of_type(content_type: &str, bytes: &[u8]) -> Result<Document, Status> {
    let document = match content_type {
        "" | "application/json" | "text/plain" | "application/x-www-form-urlencoded" => json(bytes)?,
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(bytes)?,
        PROTOBUF => protobuf(bytes)?,
        CBOR => cbor(bytes)?,
        _ => return Err(Status::unsupported_media_type(&[JSON, YAML, PROTOBUF, CBOR])),
    };
    if !document.value.is_object() {
        return Err(Status::bad_request("the object provided is unrecognized (must be of type Object)"));
    }
    Ok(document)
}

pub(crate) fn json(bytes: &[u8]) -> Result<Document, Status> {
    Document::json(bytes).map_err(|error| Status::bad_request(format!("the body of the request is not valid JSON: {error}")))
}

pub(crate) fn yaml(bytes: &[u8]) -> Result<Document, Status> {
    let document =
        Document::yaml(bytes).map_err(|error| Status::bad_request(format!("the body of the request is not valid YAML: {error}")))?;
    if depth_exceeds(&document.value, MAX_DEPTH) {
        return Err(Status::bad_request("the body of the request nests too deeply"));
    }
    Ok(document)
}

fn protobuf(bytes: &[u8]) -> Result<Document, Status> {
    let value = tricorn_schema::protobuf::decode(bytes);
    value.map(Document::of).map_err(|error| Status::bad_request(format!("the body of the request is not valid protobuf: {error}")))
}

pub(crate) fn cbor(bytes: &[u8]) -> Result<Document, Status> {
    let value = cbor::decode(bytes);
    value.map(Document::of).map_err(|error| Status::bad_request(format!("the body of the request is not valid CBOR: {error}")))
}

fn depth_exceeds(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(items) => left == 0 || items.iter().any(|item| depth_exceeds(item, left - 1)),
        Value::Object(fields) => left == 0 || fields.values().any(|field| depth_exceeds(field, left - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
