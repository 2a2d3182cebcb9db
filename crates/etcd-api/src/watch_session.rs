//! One watch stream: creates and cancels watches, and says how far all of them have come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tricorn_proto::etcdserverpb::watch_create_request::FilterType;
use tricorn_proto::etcdserverpb::watch_request::RequestUnion;
use tricorn_proto::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse};
use tricorn_store::{Error, Store, WatchHandle, WatchOptions, mvcc};

use crate::shared::{Shared, no_leader};
use crate::watch::{Outgoing, Pump, Report};

/// The id in answers that concern no single watch.
const NO_WATCH: i64 = -1;
/// Room beyond the largest request for what gRPC and the message add; etcd's number.
const OVERHEAD_BYTES: usize = 512 << 10;

/// A watch that is open.
struct Open {
    cancel: CancellationToken,
    handle: WatchHandle,
    asked: Arc<AtomicBool>,
}

/// Progress of the whole stream has been asked for, and some watches have not said yet how far they are.
struct Round {
    waiting: HashSet<i64>,
    /// The least of what has been reported.
    revision: i64,
    /// Asked for again meanwhile: a later answer is wanted.
    again: bool,
}

/// The server's half of a watch stream.
pub(crate) struct Session {
    shared: Shared,
    /// The store as the client may use it.
    store: Store,
    out: Outgoing,
    wants_leader: bool,
    watches: HashMap<i64, Open>,
    pumps: FuturesUnordered<BoxFuture<'static, i64>>,
    reports: mpsc::Sender<Report>,
    reported: mpsc::Receiver<Report>,
    next_id: i64,
    round: Option<Round>,
}

impl Session {
    pub fn new(shared: Shared, store: Store, out: Outgoing, wants_leader: bool) -> Self {
        let (reports, reported) = mpsc::channel(64);
        let (watches, pumps) = (HashMap::new(), FuturesUnordered::new());
        Self { shared, store, out, wants_leader, watches, pumps, reports, reported, next_id: 0, round: None }
    }

    /// Serves the stream until the server must end it; when the client has gone it is dropped. Half a close leaves the watches running.
    pub async fn run(mut self, mut incoming: Streaming<WatchRequest>) {
        let shared = self.shared.clone();
        let leader_lost = leader_lost(&shared, shared.config.no_leader_grace, self.wants_leader);
        tokio::pin!(leader_lost);
        let mut listening = true;
        loop {
            let alive = tokio::select! {
                biased;
                // Mostly it is for them that this is woken.
                Some(ended) = self.pumps.next() => self.take_end(ended).await,
                Some(report) = self.reported.recv() => self.take_report(&report).await,
                () = shared.stop.cancelled() => self.fail(Status::unavailable("etcdserver: server stopped")).await,
                () = &mut leader_lost => self.fail(no_leader()).await,
                request = incoming.message(), if listening => match request {
                    Ok(Some(request)) => self.take(request).await,
                    Ok(None) => {
                        listening = false;
                        true
                    }
                    Err(_) => false,
                },
            };
            if !alive {
                return;
            }
        }
    }

    async fn take(&mut self, request: WatchRequest) -> bool {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(request).await,
            Some(RequestUnion::CancelRequest(request)) => {
                // The watch itself says that it is canceled, after its last event.
                if let Some(watch) = self.watches.get(&request.watch_id) {
                    watch.cancel.cancel();
                }
                true
            }
            Some(RequestUnion::ProgressRequest(_)) => self.ask_progress().await,
            None => true,
        }
    }

    async fn create(&mut self, request: WatchCreateRequest) -> bool {
        let key = if request.key.is_empty() { Bytes::from_static(&[0]) } else { request.key.clone() };
        // Before the header: what happens from here on is seen.
        let permitted = self.store.require_read(key.clone(), request.range_end.clone()).await;
        let header = self.shared.store.header();
        if let Err(error) = permitted {
            return self.refuse(header, &reason(&error)).await;
        }
        let watch_id = match self.choose_id(&request) {
            Ok(id) => id,
            Err(reason) => return self.refuse(header, reason).await,
        };
        let filtered = |filter: FilterType| request.filters.contains(&i32::from(filter));
        let options = WatchOptions {
            key,
            range_end: request.range_end,
            // "From now on" begins behind the revision that the client is told here, so that nothing falls in between.
            start_revision: if request.start_revision > 0 { request.start_revision } else { header.revision + 1 },
            prev_kv: request.prev_kv,
            no_put: filtered(FilterType::Noput),
            no_delete: filtered(FilterType::Nodelete),
            progress: request.progress_notify.then_some(self.shared.config.progress_interval),
        };
        let watcher = self.shared.store.watch(options);
        let open = Open { cancel: CancellationToken::new(), handle: watcher.handle(), asked: Arc::default() };
        let pump = Pump {
            shared: self.shared.clone(),
            watch_id,
            watcher,
            cancel: open.cancel.clone(),
            out: self.out.clone(),
            reports: self.reports.clone(),
            asked: open.asked.clone(),
            notify: request.progress_notify,
            fragment: request.fragment.then_some(self.shared.config.max_request_bytes + OVERHEAD_BYTES),
        };
        let created = WatchResponse { header: Some(header), watch_id, created: true, ..WatchResponse::default() };
        if self.out.send(Ok(created.into())).await.is_err() {
            return false;
        }
        self.watches.insert(watch_id, open);
        self.pumps.push(Box::pin(pump.run()));
        true
    }

    /// The id of a new watch, or why there can be none.
    fn choose_id(&mut self, request: &WatchCreateRequest) -> Result<i64, &'static str> {
        let end = &request.range_end;
        let open_ended = end.is_empty() || end.as_ref() == [0];
        if !open_ended && *end <= request.key {
            return Err("mvcc: watcher range is empty");
        }
        if request.watch_id != 0 {
            if self.watches.contains_key(&request.watch_id) {
                return Err("mvcc: duplicate watch ID provided on the WatchStream");
            }
            return Ok(request.watch_id);
        }
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Ok(self.next_id - 1)
    }

    async fn refuse(&mut self, header: ResponseHeader, reason: &str) -> bool {
        let response = WatchResponse {
            header: Some(header),
            watch_id: NO_WATCH,
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..WatchResponse::default()
        };
        self.out.send(Ok(response.into())).await.is_ok()
    }

    /// Asks every watch how far it is; the answer goes out when all have said so.
    async fn ask_progress(&mut self) -> bool {
        if let Some(round) = &mut self.round {
            round.again = true;
            return true;
        }
        if self.watches.is_empty() {
            let revision = self.shared.store.revision();
            return self.tell_progress(revision).await;
        }
        for watch in self.watches.values() {
            watch.asked.store(true, Ordering::Release);
            watch.handle.request_progress();
        }
        self.round = Some(Round { waiting: self.watches.keys().copied().collect(), revision: i64::MAX, again: false });
        true
    }

    async fn take_report(&mut self, report: &Report) -> bool {
        if let Some(round) = &mut self.round
            && round.waiting.remove(&report.watch_id)
        {
            round.revision = round.revision.min(report.revision);
        }
        self.finish_round().await
    }

    async fn take_end(&mut self, watch_id: i64) -> bool {
        self.watches.remove(&watch_id);
        if let Some(round) = &mut self.round {
            round.waiting.remove(&watch_id);
        }
        self.finish_round().await
    }

    async fn finish_round(&mut self) -> bool {
        if self.round.as_ref().is_none_or(|round| !round.waiting.is_empty()) {
            return true;
        }
        let Some(round) = self.round.take() else { return true };
        let revision = if round.revision == i64::MAX { self.shared.store.revision() } else { round.revision };
        if !self.tell_progress(revision).await {
            return false;
        }
        if round.again { self.ask_progress().await } else { true }
    }

    async fn tell_progress(&mut self, revision: i64) -> bool {
        let header = ResponseHeader { revision, ..self.shared.store.header() };
        let response = WatchResponse { header: Some(header), watch_id: NO_WATCH, ..WatchResponse::default() };
        self.out.send(Ok(response.into())).await.is_ok()
    }

    /// Ends the stream with an error.
    async fn fail(&mut self, status: Status) -> bool {
        // Whether the client still listens makes no difference any more.
        let _gone = self.out.send_timeout(Err(status), Duration::from_secs(1)).await;
        false
    }
}

/// Why a watch may not be: etcd tells these apart, and calls everything else a lack of permission. Go's client compares the
/// text, which is that of a whole gRPC error.
fn reason(error: &Error) -> String {
    let known = match error {
        Error::Refused(known @ (mvcc::Error::InvalidAuthToken | mvcc::Error::AuthOldRevision | mvcc::Error::UserEmpty)) => known,
        Error::Refused(_) => &mvcc::Error::PermissionDenied,
        other => return other.to_string(),
    };
    format!("rpc error: code = {:?} desc = {known}", known.code())
}

async fn leader_lost(shared: &Shared, grace: Duration, wanted: bool) {
    if wanted {
        shared.leader_lost(grace).await;
    } else {
        std::future::pending().await
    }
}
