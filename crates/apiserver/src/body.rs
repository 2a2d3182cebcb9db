//! Request bodies: bounded, and JSON, YAML or Kubernetes' protobuf.

use crate::media::{JSON, PROTOBUF, YAML};
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

/// An object out of a JSON, YAML or protobuf body.
pub(crate) fn object(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Status> {
    let value = match content_type(headers) {
        "" | "application/json" | "text/plain" | "application/x-www-form-urlencoded" => json(bytes)?,
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(bytes)?,
        PROTOBUF => protobuf(bytes)?,
        _ => return Err(Status::unsupported_media_type(&[JSON, YAML, PROTOBUF])),
    };
    if value.is_object() { Ok(value) } else { Err(Status::bad_request("the object provided is unrecognized (must be of type Object)")) }
}

pub(crate) fn json(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes).map_err(|error| Status::bad_request(format!("the body of the request is not valid JSON: {error}")))
}

pub(crate) fn yaml(bytes: &[u8]) -> Result<Value, Status> {
    let value: Value = serde_yaml_ng::from_slice(bytes)
        .map_err(|error| Status::bad_request(format!("the body of the request is not valid YAML: {error}")))?;
    if depth_exceeds(&value, MAX_DEPTH) {
        return Err(Status::bad_request("the body of the request nests too deeply"));
    }
    Ok(value)
}

fn protobuf(bytes: &[u8]) -> Result<Value, Status> {
    tricorn_schema::protobuf::decode(bytes)
        .map_err(|error| Status::bad_request(format!("the body of the request is not valid protobuf: {error}")))
}

fn depth_exceeds(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(items) => left == 0 || items.iter().any(|item| depth_exceeds(item, left - 1)),
        Value::Object(fields) => left == 0 || fields.values().any(|field| depth_exceeds(field, left - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;

    fn typed(media: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))])
    }

    #[test]
    fn the_content_type_says_how_a_body_is_read() {
        let expected = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
        let read = |media, bytes: &[u8]| object(&typed(media), bytes);
        assert_eq!(read("application/json", expected.to_string().as_bytes()).unwrap(), expected);
        assert_eq!(read("application/yaml; charset=utf-8", b"{apiVersion: v1, kind: Pod, metadata: {name: p}}").unwrap(), expected);
        let protobuf = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x05\x0a\x03\x0a\x01p";
        assert_eq!(read("application/vnd.kubernetes.protobuf", protobuf).unwrap(), expected);
        assert_eq!(read("application/vnd.kubernetes.protobuf", b"{}").unwrap_err().code(), 400);
        let refused = read("text/html", b"").unwrap_err();
        let accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
        assert!(refused.message().ends_with(accepted), "{}", refused.message());
    }
}
