//! The short way of the calls that make up nearly all of a store's work: from the HTTP/2 stream to the service and back, with nothing
//! in between. Everything else, and every request that is in any way unusual, goes the long way through the router and tonic.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tricorn_proto::etcdserverpb::kv_server::Kv;

use crate::error::status_of;
use crate::shared::Shared;

/// The byte that says whether a message is compressed, and its length.
const PREFIX: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// The calls that go the short way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Range,
    Put,
    DeleteRange,
    Txn,
}

impl Call {
    /// The call that a request makes, when it can go the short way.
    pub fn of<T>(request: &Request<T>) -> Option<Self> {
        let call = match request.uri().path() {
            "/etcdserverpb.KV/Range" => Self::Range,
            "/etcdserverpb.KV/Put" => Self::Put,
            "/etcdserverpb.KV/DeleteRange" => Self::DeleteRange,
            "/etcdserverpb.KV/Txn" => Self::Txn,
            _ => return None,
        };
        let headers = request.headers();
        let plain = headers.get("grpc-encoding").is_none_or(|encoding| encoding == "identity");
        let usual = request.method() == Method::POST && headers.get(CONTENT_TYPE).is_some_and(|kind| kind == GRPC);
        (plain && usual).then_some(call)
    }

    /// Answers a request, and says how that went. A message has at most `largest` bytes.
    pub async fn answer(self, shared: &Shared, request: Request<Incoming>, largest: usize) -> (Response<Answer>, Code) {
        let (parts, body) = request.into_parts();
        let answered = async {
            let message = read(body, largest).await?;
            match self {
                Self::Range => {
                    let request = assembled(parts, message)?;
                    let store = shared.admit(&request)?;
                    let (found, kvs) = store.range_encoded(request.into_inner()).await.map_err(|error| status_of(&error))?;
                    framed(found, kvs)
                }
                Self::Put => framed(shared.put(assembled(parts, message)?).await?.into_inner(), Vec::new()),
                Self::DeleteRange => framed(shared.delete_range(assembled(parts, message)?).await?.into_inner(), Vec::new()),
                Self::Txn => framed(shared.txn(assembled(parts, message)?).await?.into_inner(), Vec::new()),
            }
        };
        match answered.await {
            Ok(answer) => {
                let mut response = Response::new(answer);
                response.headers_mut().insert(CONTENT_TYPE, GRPC);
                (response, Code::Ok)
            }
            Err(status) => {
                let code = status.code();
                (status.into_http::<Option<()>>().map(|_| Answer { message: None, rest: Vec::new().into_iter(), ended: true }), code)
            }
        }
    }
}

fn assembled<M: Message + Default>(parts: Parts, message: Bytes) -> Result<tonic::Request<M>, Status> {
    let message = M::decode(message).map_err(|error| Status::internal(error.to_string()))?;
    Ok(tonic::Request::from_parts(MetadataMap::from_headers(parts.headers), parts.extensions, message))
}

/// An answer out of a message and further fields of it, encoded already.
fn framed<M: Message>(message: M, rest: Vec<Bytes>) -> Result<Answer, Status> {
    let length = message.encoded_len();
    let rest_length: usize = rest.iter().map(Bytes::len).sum();
    let mut out = BytesMut::with_capacity(PREFIX + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length + rest_length).map_err(|_| Status::resource_exhausted("the answer is larger than 4 GiB"))?);
    message.encode(&mut out).map_err(|error| Status::internal(error.to_string()))?;
    Ok(Answer { message: Some(out.freeze()), rest: rest.into_iter(), ended: false })
}

/// Reads the one message of a request, in the words of tonic where there is none to be had.
async fn read(mut body: Incoming, largest: usize) -> Result<Bytes, Status> {
    let mut whole = Bytes::new();
    while !body.is_end_stream() {
        let frame = match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            None => break,
            Some(Err(error)) => return Err(Status::from_error(Box::new(error))),
            Some(Ok(frame)) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if whole.is_empty() {
            whole = data;
        } else {
            let mut longer = whole.try_into_mut().unwrap_or_else(|whole| BytesMut::from(&whole[..]));
            longer.extend_from_slice(&data);
            whole = longer.freeze();
        }
        check(&whole, largest)?;
    }
    let length = check(&whole, largest)?.filter(|length| whole.len() >= PREFIX + length);
    let length = length.ok_or_else(|| Status::internal("Missing request message."))?;
    Ok(whole.slice(PREFIX..PREFIX + length))
}

/// The length of the message that begins here, once it is known.
fn check(mut whole: &[u8], largest: usize) -> Result<Option<usize>, Status> {
    if whole.len() < PREFIX {
        return Ok(None);
    }
    if whole.get_u8() != 0 {
        return Err(Status::internal("protocol error: received message with compressed-flag but no grpc-encoding was specified"));
    }
    let length = usize::try_from(whole.get_u32()).unwrap_or(usize::MAX);
    if length > largest {
        return Err(Status::out_of_range(format!(
            "Error, decoded message length too large: found {length} bytes, the limit is: {largest} bytes"
        )));
    }
    Ok(Some(length))
}

/// The body of an answer: one message and the status that all is well, or nothing, when the status is in the headers.
pub(crate) struct Answer {
    message: Option<Bytes>,
    /// What follows it as it is.
    rest: std::vec::IntoIter<Bytes>,
    ended: bool,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if let Some(piece) = self.rest.next() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// The body of any answer.
pub(crate) enum Either {
    Short(Answer),
    Long(axum::body::Body),
}

impl Body for Either {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Short(answer) => Pin::new(answer).poll_frame(context).map_err(|never| match never {}),
            Self::Long(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Short(answer) => answer.is_end_stream(),
            Self::Long(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            // Calls say where they end in their trailers, not in a length.
            Self::Short(_) => SizeHint::default(),
            Self::Long(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_usual_requests_go_the_short_way() {
        let request = |path: &str, kind: &'static str| Request::post(path).header(CONTENT_TYPE, kind).body(()).unwrap();
        assert_eq!(Call::of(&request("/etcdserverpb.KV/Put", "application/grpc")), Some(Call::Put));
        assert_eq!(Call::of(&request("/etcdserverpb.KV/Put", "application/json")), None);
        assert_eq!(Call::of(&request("/etcdserverpb.KV/Compact", "application/grpc")), None);
        let mut compressed = request("/etcdserverpb.KV/Put", "application/grpc");
        compressed.headers_mut().insert("grpc-encoding", HeaderValue::from_static("gzip"));
        assert_eq!(Call::of(&compressed), None);
    }

    #[test]
    fn messages_say_how_long_they_are() {
        assert_eq!(check(&[0, 0, 0, 0], 10).unwrap(), None);
        assert_eq!(check(&[0, 0, 0, 0, 10], 10).unwrap(), Some(10));
        assert_eq!(check(&[0, 0, 0, 0, 11], 10).unwrap_err().code(), Code::OutOfRange);
        assert_eq!(check(&[1, 0, 0, 0, 1], 10).unwrap_err().code(), Code::Internal);
    }
}
