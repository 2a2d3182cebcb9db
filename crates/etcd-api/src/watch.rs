//! The Watch service, and one watch on a stream: messages of the store become answers on the wire.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use prost::Message;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tower::Service;
use tricorn_proto::etcdserverpb::{ResponseHeader, WatchRequest, WatchResponse};
use tricorn_store::{Events, Pacing, WatchMessage, Watcher};

use crate::shared::{Shared, requires_leader};
use crate::watch_codec::{Answer, WatchCodec};
use crate::watch_session::Session;

/// Answers that may wait for a client to read them, a stream. A watch that cannot put its answer here waits; the store
/// then lets it read history later instead of keeping events for it.
const OUTGOING: usize = 64;
/// Events that are put into one answer when they are there already.
const BATCH_EVENTS: usize = 1024;
/// Bytes of events after which no more revisions are added to an answer.
const BATCH_BYTES: usize = 1 << 20;
/// What follows an answer to a watch this closely is gathered for the next one.
const GAP: Duration = Duration::from_millis(2);

/// What goes to the client.
pub(crate) type Outgoing = mpsc::Sender<Result<Answer, Status>>;

/// The Watch service. It is written out here because its answers have a codec of their own.
#[derive(Clone)]
pub(crate) struct WatchDoor {
    shared: Shared,
}

impl WatchDoor {
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

impl NamedService for WatchDoor {
    const NAME: &'static str = "etcdserverpb.Watch";
}

impl Service<http::Request<Body>> for WatchDoor {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != "/etcdserverpb.Watch/Watch" {
            return Box::pin(ready(Ok(Status::unimplemented("").into_http())));
        }
        let shared = self.shared.clone();
        Box::pin(async move { Ok(Grpc::new(WatchCodec).streaming(Opened(shared), request).await) })
    }
}

/// Opens streams.
struct Opened(Shared);

impl StreamingService<WatchRequest> for Opened {
    type Response = Answer;
    type ResponseStream = Answers;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<WatchRequest>>) -> Self::Future {
        let store = match self.0.admit(&request) {
            Ok(store) => store,
            Err(status) => return ready(Err(status)),
        };
        let wants_leader = requires_leader(request.metadata());
        let (out, answers) = mpsc::channel(OUTGOING);
        let session = Session::new(self.0.clone(), store, out, wants_leader);
        ready(Ok(Response::new(Answers { session: Some(Box::pin(session.run(request.into_inner()))), answers })))
    }
}

/// What a session says. The session works when it is asked for more, in the very task that writes to the client: an event has no way to go
/// from task to task. While the client does not read, it rests; the store then lets its watches read history later.
pub(crate) struct Answers {
    /// Gone once it has ended: when the client has gone, or with the server's token.
    session: Option<BoxFuture<'static, ()>>,
    answers: mpsc::Receiver<Result<Answer, Status>>,
}

impl Stream for Answers {
    type Item = Result<Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // What it has said before comes first: so much is kept and no more.
        if let Poll::Ready(answer) = self.answers.poll_recv(context) {
            return Poll::Ready(answer);
        }
        if let Some(session) = &mut self.session
            && session.as_mut().poll(context).is_ready()
        {
            self.session = None;
        }
        self.answers.poll_recv(context)
    }
}

/// How far a watch has come, told to its session when the client has asked for progress of the whole stream.
pub(crate) struct Report {
    pub watch_id: i64,
    pub revision: i64,
}

/// One watch of a stream.
pub(crate) struct Pump {
    pub shared: Shared,
    pub watch_id: i64,
    pub watcher: Watcher,
    pub cancel: CancellationToken,
    pub out: Outgoing,
    pub reports: mpsc::Sender<Report>,
    /// The session waits for a report.
    pub asked: Arc<AtomicBool>,
    /// The client wants progress of this very watch.
    pub notify: bool,
    /// Answers larger than this are cut into pieces; `None`: never.
    pub fragment: Option<usize>,
}

impl Pump {
    /// Runs until the watch ends; gives its id.
    pub async fn run(mut self) -> i64 {
        let mut next = None;
        let cancel = self.cancel.clone();
        let mut cancelled = pin!(cancel.cancelled());
        let mut pacing = Pacing::new(GAP);
        loop {
            let message = match next.take() {
                Some(message) => Some(message),
                None => tokio::select! {
                    biased;
                    () = &mut cancelled => {
                        self.end(WatchResponse::default()).await;
                        return self.watch_id;
                    }
                    message = async {
                        pacing.rest().await;
                        self.watcher.next().await
                    } => message,
                },
            };
            let more = match message {
                Some(WatchMessage::Events { revision, events }) => {
                    let (revision, events) = self.gather(revision, events, &mut next);
                    pacing.sent();
                    self.send_events(revision, events).await
                }
                Some(WatchMessage::Progress { revision }) => self.progress(revision).await,
                Some(WatchMessage::Canceled { compact_revision, reason }) => {
                    // The revision says it all; etcd gives no reason beside it.
                    let cancel_reason = if compact_revision == 0 { reason } else { String::new() };
                    self.end(WatchResponse { compact_revision, cancel_reason, ..WatchResponse::default() }).await;
                    false
                }
                None => false,
            };
            if !more {
                return self.watch_id;
            }
        }
    }

    /// Adds the revisions that are there already, whole ones only.
    fn gather(&mut self, mut revision: i64, events: Events, next: &mut Option<WatchMessage>) -> (i64, Vec<Events>) {
        let (mut count, mut bytes) = (events.len(), events.encoded().len());
        let mut all = vec![events];
        while count < BATCH_EVENTS && bytes < BATCH_BYTES {
            match self.watcher.next().now_or_never().flatten() {
                Some(WatchMessage::Events { revision: newer, events }) => {
                    count += events.len();
                    bytes += events.encoded().len();
                    all.push(events);
                    revision = newer;
                }
                other => {
                    *next = other;
                    break;
                }
            }
        }
        (revision, all)
    }

    async fn send_events(&self, revision: i64, events: Vec<Events>) -> bool {
        let own = WatchResponse { header: Some(self.header(revision)), watch_id: self.watch_id, ..WatchResponse::default() };
        let answer = Answer { own, events };
        match self.fragment {
            Some(limit) if answer.encoded_len() >= limit => {
                for piece in pieces(answer.into_whole(), limit) {
                    if self.out.send(Ok(piece.into())).await.is_err() {
                        return false;
                    }
                }
                true
            }
            _ => self.out.send(Ok(answer)).await.is_ok(),
        }
    }

    async fn progress(&self, revision: i64) -> bool {
        if self.asked.swap(false, Ordering::AcqRel) {
            return self.reports.send(Report { watch_id: self.watch_id, revision }).await.is_ok();
        }
        if !self.notify {
            return true;
        }
        let response = WatchResponse { header: Some(self.header(revision)), watch_id: self.watch_id, ..WatchResponse::default() };
        self.out.send(Ok(response.into())).await.is_ok()
    }

    async fn end(&self, response: WatchResponse) {
        let header = Some(self.shared.store.header());
        // Whether it arrives makes no difference any more.
        let last = WatchResponse { header, watch_id: self.watch_id, canceled: true, ..response };
        let _gone = self.out.send(Ok(last.into())).await;
    }

    fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader { revision, ..self.shared.store.header() }
    }
}

/// Cuts an answer so that each piece stays below `limit` where single events allow; all but the last say that more follows.
fn pieces(mut response: WatchResponse, limit: usize) -> Vec<WatchResponse> {
    let events = std::mem::take(&mut response.events);
    let empty = response.encoded_len();
    let mut out: Vec<WatchResponse> = Vec::new();
    let mut piece = response.clone();
    let mut bytes = empty;
    for event in events {
        let size = event.encoded_len() + 8;
        if !piece.events.is_empty() && bytes + size > limit {
            piece.fragment = true;
            out.push(std::mem::replace(&mut piece, response.clone()));
            bytes = empty;
        }
        bytes += size;
        piece.events.push(event);
    }
    out.push(piece);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tricorn_proto::mvccpb::{Event, KeyValue};

    #[test]
    fn pieces_keep_every_event_in_order_and_mark_all_but_the_last() {
        let event = |n: i64| Event {
            kv: Some(KeyValue { key: format!("k{n}").into(), value: vec![0; 100].into(), mod_revision: n, ..KeyValue::default() }),
            ..Event::default()
        };
        let whole = WatchResponse { watch_id: 3, events: (0..50).map(event).collect(), ..WatchResponse::default() };
        let cut = pieces(whole.clone(), 1000);
        assert!(cut.len() > 5);
        assert!(cut.iter().all(|piece| piece.encoded_len() <= 1000 && piece.watch_id == 3));
        assert!(cut.iter().rev().skip(1).all(|piece| piece.fragment) && !cut[cut.len() - 1].fragment);
        assert_eq!(cut.into_iter().flat_map(|piece| piece.events).collect::<Vec<_>>(), whole.events);
        assert_eq!(pieces(whole, 1).len(), 50, "an event larger than the limit still goes out");
    }
}
