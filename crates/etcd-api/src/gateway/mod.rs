//! etcd's API as JSON over HTTP: every call has a path, a request's body is its message. What comes in is made a gRPC call
//! of the services of this very door, so that it is checked, counted and answered as any other.

mod headers;
mod json;
mod raw;
mod refusal;
mod table;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream, to_bytes};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt, once, unfold};
use http::uri::PathAndQuery;
use http::{Request, StatusCode, header};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::{Status, Streaming};
use tricorn_proto::ETCD_DESCRIPTORS;

use json::Splitter;
use raw::Raw;
use refusal::{chunk, refused};

/// Where the paths begin. The older name is a fact of etcd's API as well.
const BASES: [&str; 2] = ["/v3", "/v3beta"];
/// A request must have come in after this long.
const BODY_DEADLINE: Duration = Duration::from_secs(60);
/// JSON takes more than the message it stands for: bytes grow by a third, and fields have names.
const JSON_FACTOR: usize = 2;

/// One path's call.
struct Call {
    services: Router,
    method: MethodDescriptor,
    path: PathAndQuery,
    /// Bytes of JSON that a message may take.
    largest: usize,
}

/// The gateway to `services`. Fails, with the reason, when a call of the table is none of theirs.
pub(crate) fn routes(services: &Router, max_message_bytes: usize) -> Result<Router, String> {
    let pool = DescriptorPool::decode(ETCD_DESCRIPTORS).map_err(|error| error.to_string())?;
    let mut router = Router::new();
    for (path, service, method) in table::PATHS {
        let found = pool.get_service_by_name(service).and_then(|service| service.methods().find(|found| found.name() == *method));
        let called = PathAndQuery::try_from(format!("/{service}/{method}")).map_err(|error| error.to_string())?;
        let call = Arc::new(Call {
            services: services.clone(),
            method: found.ok_or_else(|| format!("{service} has no {method}"))?,
            path: called,
            largest: max_message_bytes * JSON_FACTOR,
        });
        let handler = post(move |request| call.clone().answer(request)).fallback(not_allowed);
        for base in BASES {
            router = router.route(&format!("{base}{path}"), handler.clone());
        }
    }
    Ok(router)
}

/// Whether a path belongs to the gateway, known or not.
pub(crate) fn owns(path: &str) -> bool {
    BASES.iter().any(|base| path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/')))
}

async fn not_allowed() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n").into_response()
}

impl Call {
    async fn answer(self: Arc<Self>, request: Request<Body>) -> Response {
        self.try_answer(request).await.unwrap_or_else(|status| refused(&status))
    }

    async fn try_answer(self: Arc<Self>, request: Request<Body>) -> Result<Response, Status> {
        let (parts, body) = request.into_parts();
        let deadline = headers::timeout(&parts.headers)?.map(|timeout| Instant::now() + timeout);
        let messages = self.clone().messages(body).await?;
        let mut request = tonic::Request::new(messages);
        *request.metadata_mut() = headers::metadata(&parts.headers);
        let mut services = Grpc::new(self.services.clone()).max_decoding_message_size(usize::MAX);
        let called = by(deadline, services.streaming(request, self.path.clone(), Raw)).await;
        if self.method.is_server_streaming()
            && let Err(status) = &called
        {
            return Ok(stream_refused(status));
        }
        let mut answers = Answers { call: self.clone(), answers: called?.into_inner(), deadline, ended: false };
        if self.method.is_server_streaming() {
            return Ok(answers.into_response().await);
        }
        let mut text = Vec::new();
        let message = answers.next().await?.ok_or_else(|| Status::internal("etcdserver: the call has no answer"))?;
        json::append(&self.method.output(), message, &mut text)?;
        Ok(json_response(Body::from(text)))
    }

    /// The messages in a body: one, or, where the client may stream, one JSON object after the other. The first is read
    /// before the call is made, so that a bad one is refused like any other request.
    async fn messages(self: Arc<Self>, body: Body) -> Result<BoxStream<'static, Bytes>, Status> {
        if !self.method.is_client_streaming() {
            let text = tokio::time::timeout(BODY_DEADLINE, to_bytes(body, self.largest)).await;
            let text = text.map_err(|_| Status::deadline_exceeded("the request did not come in in time"))?;
            // An error of the connection is heard by nobody.
            let message = json::to_message(&self.method.input(), &text.map_err(|_| too_large())?)?;
            return Ok(once(async { message }).boxed());
        }
        let mut requests = Requests { call: self, body: body.into_data_stream(), splitter: Splitter::default() };
        let first = requests.next().await?;
        // As in etcd, a bad request later on ends what is asked, not what is answered.
        let rest = unfold(requests, async |mut requests| requests.next().await.ok().flatten().map(|message| (message, requests)));
        Ok(futures::stream::iter(first.clone())
            .chain(if first.is_some() { rest.left_stream() } else { futures::stream::empty().right_stream() })
            .boxed())
    }
}

fn too_large() -> Status {
    Status::invalid_argument("etcdserver: request is too large")
}

/// The answer to a stream that has failed before it said anything.
fn stream_refused(status: &Status) -> Response {
    (refusal::http_status(status.code()), json_response(Body::from(chunk(status)))).into_response()
}

fn json_response(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Waits for `work`, until the client's deadline if it has one.
async fn by<T>(deadline: Option<Instant>, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match deadline {
        None => work.await,
        Some(deadline) => {
            tokio::time::timeout_at(deadline, work).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("context deadline exceeded")))
        }
    }
}

/// What a client says on a stream.
struct Requests {
    call: Arc<Call>,
    body: BodyDataStream,
    splitter: Splitter,
}

impl Requests {
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let object = self.splitter.next()?;
            if object.as_ref().map_or(self.splitter.len(), Vec::len) > self.call.largest {
                return Err(too_large());
            }
            if let Some(object) = object {
                return json::to_message(&self.call.method.input(), &object).map(Some);
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.splitter.push(&piece),
                None if self.splitter.is_empty() => return Ok(None),
                Some(Err(_)) | None => return Err(Status::invalid_argument("unexpected EOF")),
            }
        }
    }
}

/// What the service says on a stream.
struct Answers {
    call: Arc<Call>,
    answers: Streaming<Bytes>,
    deadline: Option<Instant>,
    ended: bool,
}

impl Answers {
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        by(self.deadline, self.answers.message()).await
    }

    /// One line an answer. HTTP's status is that of the first one, so it is awaited.
    async fn into_response(mut self) -> Response {
        let first = match self.line().await {
            Ok(Some(line)) => line,
            Ok(None) => return json_response(Body::empty()),
            Err(status) => return stream_refused(&status),
        };
        let lines = once(async { Ok::<_, Infallible>(Bytes::from(first)) }).chain(self.lines());
        json_response(Body::from_stream(lines))
    }

    fn lines(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        unfold(self, async |mut answers| {
            if answers.ended {
                return None;
            }
            let line = match answers.line().await {
                Ok(line) => line?,
                Err(status) => {
                    answers.ended = true;
                    chunk(&status)
                }
            };
            Some((Ok(line.into()), answers))
        })
    }

    async fn line(&mut self) -> Result<Option<Vec<u8>>, Status> {
        let Some(message) = self.next().await? else { return Ok(None) };
        let mut line = br#"{"result":"#.to_vec();
        json::append(&self.call.method.output(), message, &mut line)?;
        line.extend_from_slice(b"}\n");
        Ok(Some(line))
    }
}
