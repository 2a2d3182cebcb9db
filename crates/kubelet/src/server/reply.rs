//! Answers: whole texts, JSON, and streams.

use bytes::Bytes;
use futures::StreamExt;
use http::{Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// A body of the kubelet's server.
pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

fn typed(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", full(text))
}

/// A JSON document.
pub(crate) fn json(value: &serde_json::Value) -> Response<Body> {
    typed(StatusCode::OK, "application/json", full(value.to_string()))
}

/// Text as it comes.
pub(crate) fn stream(parts: mpsc::Receiver<std::io::Result<Bytes>>) -> Response<Body> {
    let frames = ReceiverStream::new(parts).map(|part| part.map(Frame::data));
    typed(StatusCode::OK, "text/plain", BodyExt::boxed(StreamBody::new(frames)))
}
