//! The same requests to our server and to the machine's etcd must get the same answers.
//!
//! Both begin empty and are asked the same things in the same order, so revisions must agree exactly. Of headers only the
//! revision is compared. The machine's etcd is Debian's 3.4; ours speaks as 3.6. Where the two versions differ, the answer
//! is made alike before it is compared:
//! - 3.6 names the revision of a HashKV (`hash_revision`), 3.4 does not know the field;
//! - 3.4 answers a progress request at once, 3.6 and ours once all watches of the stream have caught up;
//! - 3.4 may put events of several revisions in one answer or in several: events are compared, not their packing;
//! - 3.4 answers questions about alarms without a header.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use support::{Clients, Ours, Theirs, within};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};
use tricorn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tricorn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tricorn_proto::etcdserverpb::request_op::Request as Op;
use tricorn_proto::etcdserverpb::watch_create_request::FilterType;
use tricorn_proto::etcdserverpb::watch_request::RequestUnion;
use tricorn_proto::etcdserverpb::*;
use tricorn_proto::mvccpb::Event;

/// What one server said, line by line.
#[derive(Default)]
struct Transcript(Vec<String>);

/// Messages whose header names cluster, member and term: those differ between servers.
trait Headed: Debug {
    fn plain(&mut self);
}

macro_rules! headed {
    ($($message:ty),*) => {$(impl Headed for $message {
        fn plain(&mut self) {
            self.header = self.header.map(|header| ResponseHeader { revision: header.revision, ..ResponseHeader::default() });
        }
    })*};
}

headed!(RangeResponse, PutResponse, DeleteRangeResponse, CompactionResponse, LeaseRevokeResponse, LeaseGrantResponse);
headed!(LeaseTimeToLiveResponse, LeaseLeasesResponse, LeaseKeepAliveResponse, WatchResponse);

impl Headed for TxnResponse {
    fn plain(&mut self) {
        use response_op::Response as R;
        self.header = self.header.map(|header| ResponseHeader { revision: header.revision, ..ResponseHeader::default() });
        for response in &mut self.responses {
            match &mut response.response {
                Some(R::ResponseRange(inner)) => inner.plain(),
                Some(R::ResponsePut(inner)) => inner.plain(),
                Some(R::ResponseDeleteRange(inner)) => inner.plain(),
                Some(R::ResponseTxn(inner)) => inner.plain(),
                None => {}
            }
        }
    }
}

impl Transcript {
    fn note<T: Headed>(&mut self, what: &str, answer: Result<Response<T>, Status>) {
        let line = match answer {
            Ok(answer) => {
                let mut answer = answer.into_inner();
                answer.plain();
                format!("{answer:?}")
            }
            Err(status) => format!("{:?} {}", status.code(), status.message()),
        };
        self.0.push(format!("{what}: {line}"));
    }
}

fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn range(key: &str, end: &str) -> RangeRequest {
    RangeRequest { key: b(key), range_end: b(end), ..RangeRequest::default() }
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: b(key), value: b(value), ..PutRequest::default() }
}

fn delete(key: &str, end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: b(key), range_end: b(end), prev_kv: true }
}

fn op(op: Op) -> RequestOp {
    RequestOp { request: Some(op) }
}

fn compare(key: &str, result: CompareResult, target: TargetUnion) -> Compare {
    let kind = match target {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
        TargetUnion::Lease(_) => CompareTarget::Lease,
    };
    Compare { result: result.into(), target: kind.into(), key: b(key), range_end: Bytes::new(), target_union: Some(target) }
}

async fn writes(c: &mut Clients, t: &mut Transcript) {
    t.note("first", c.kv.put(put("a", "1")).await);
    t.note("again", c.kv.put(PutRequest { prev_kv: true, ..put("a", "2") }).await);
    t.note("empty value", c.kv.put(put("b", "")).await);
    t.note("no key", c.kv.put(put("", "x")).await);
    t.note("keep value, missing", c.kv.put(PutRequest { ignore_value: true, ..put("none", "") }).await);
    t.note("keep value, given", c.kv.put(PutRequest { ignore_value: true, ..put("a", "x") }).await);
    t.note("keep lease, given", c.kv.put(PutRequest { ignore_lease: true, lease: 5, ..put("a", "x") }).await);
    t.note("keep value", c.kv.put(PutRequest { ignore_value: true, prev_kv: true, ..put("a", "") }).await);
    t.note("keep lease", c.kv.put(PutRequest { ignore_lease: true, ..put("a", "3") }).await);
    t.note("unknown lease", c.kv.put(PutRequest { lease: 4242, ..put("a", "x") }).await);
    t.note("delete", c.kv.delete_range(delete("a", "")).await);
    t.note("delete nothing", c.kv.delete_range(delete("a", "")).await);
    t.note("delete no key", c.kv.delete_range(delete("", "")).await);
    t.note("born again", c.kv.put(put("a", "4")).await);
    for n in 0..6 {
        t.note("fill", c.kv.put(put(&format!("r/{n}"), &format!("{}", 9 - n))).await);
    }
    t.note("touch", c.kv.put(put("r/2", "touched")).await);
    t.note("delete range", c.kv.delete_range(delete("r/4", "r/6")).await);
    t.note("delete empty range", c.kv.delete_range(delete("r/6", "r/4")).await);
}

async fn reads(c: &mut Clients, t: &mut Transcript) {
    t.note("one", c.kv.range(range("a", "")).await);
    t.note("missing", c.kv.range(range("none", "")).await);
    t.note("no key", c.kv.range(range("", "")).await);
    t.note("prefix", c.kv.range(range("r/", "r0")).await);
    t.note("from key", c.kv.range(range("r/1", "\0")).await);
    t.note("everything", c.kv.range(range("\0", "\0")).await);
    t.note("backwards", c.kv.range(range("r/9", "r/0")).await);
    t.note("limit", c.kv.range(RangeRequest { limit: 2, ..range("r/", "r0") }).await);
    t.note("limit exactly", c.kv.range(RangeRequest { limit: 4, ..range("r/", "r0") }).await);
    t.note("keys only", c.kv.range(RangeRequest { keys_only: true, ..range("r/", "r0") }).await);
    t.note("count only", c.kv.range(RangeRequest { count_only: true, limit: 1, ..range("r/", "r0") }).await);
    t.note("serializable", c.kv.range(RangeRequest { serializable: true, ..range("a", "") }).await);
    for target in [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value] {
        for order in [SortOrder::None, SortOrder::Ascend, SortOrder::Descend] {
            let request = RangeRequest { sort_order: order.into(), sort_target: target.into(), limit: 3, ..range("r/", "r0") };
            t.note(&format!("sort {target:?} {order:?}"), c.kv.range(request).await);
        }
    }
    for revision in [1, 2, 5, 9, 15] {
        t.note(&format!("at {revision}"), c.kv.range(RangeRequest { revision, ..range("\0", "\0") }).await);
    }
    t.note("future", c.kv.range(RangeRequest { revision: 1_000_000, ..range("a", "") }).await);
    t.note("negative", c.kv.range(RangeRequest { revision: -3, ..range("a", "") }).await);
    for (n, filter) in [(12, "min mod"), (12, "max mod"), (10, "min create"), (10, "max create")] {
        let mut request = range("r/", "r0");
        match filter {
            "min mod" => request.min_mod_revision = n,
            "max mod" => request.max_mod_revision = n,
            "min create" => request.min_create_revision = n,
            _ => request.max_create_revision = n,
        }
        t.note(filter, c.kv.range(request.clone()).await);
        t.note(&format!("{filter}, limited"), c.kv.range(RangeRequest { limit: 1, ..request }).await);
    }
}

async fn transactions(c: &mut Clients, t: &mut Transcript) {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    let txn = |compare: Vec<Compare>, success: Vec<Op>, failure: Vec<Op>| TxnRequest {
        compare,
        success: success.into_iter().map(op).collect(),
        failure: failure.into_iter().map(op).collect(),
    };
    t.note("empty", c.kv.txn(TxnRequest::default()).await);
    let create = txn(
        vec![compare("t/1", Equal, TargetUnion::ModRevision(0))],
        vec![Op::RequestPut(put("t/1", "new")), Op::RequestRange(range("t/1", ""))],
        vec![Op::RequestRange(range("t/1", ""))],
    );
    t.note("create", c.kv.txn(create.clone()).await);
    t.note("create again", c.kv.txn(create).await);
    for result in [Equal, NotEqual, Greater, Less] {
        for target in [
            TargetUnion::Version(1),
            TargetUnion::CreateRevision(0),
            TargetUnion::ModRevision(1),
            TargetUnion::Value(b("new")),
            TargetUnion::Lease(0),
        ] {
            for key in ["t/1", "t/none"] {
                let name = format!("{key} {result:?} {target:?}");
                t.note(&name, c.kv.txn(txn(vec![compare(key, result, target.clone())], vec![], vec![])).await);
            }
        }
    }
    for (key, end) in [("t/", "t0"), ("none/", "none0"), ("\0", "\0")] {
        let over = Compare { range_end: b(end), ..compare(key, Greater, TargetUnion::Version(0)) };
        t.note(&format!("all of {key:?}"), c.kv.txn(txn(vec![over], vec![], vec![])).await);
    }
    let nested = txn(
        vec![],
        vec![
            Op::RequestPut(put("t/2", "outer")),
            Op::RequestTxn(txn(
                vec![compare("t/2", Equal, TargetUnion::Value(b("outer")))],
                vec![Op::RequestPut(put("t/3", "inner")), Op::RequestDeleteRange(delete("t/1", ""))],
                vec![Op::RequestPut(put("t/4", "else"))],
            )),
            Op::RequestRange(range("t/", "t0")),
        ],
        vec![],
    );
    t.note("nested", c.kv.txn(nested).await);
    let twice = vec![Op::RequestPut(put("d", "1")), Op::RequestPut(put("d", "2"))];
    t.note("put twice", c.kv.txn(txn(vec![], twice, vec![])).await);
    let overlap = vec![Op::RequestDeleteRange(delete("d", "e")), Op::RequestPut(put("d5", "2"))];
    t.note("put and delete", c.kv.txn(txn(vec![], overlap, vec![])).await);
    let deletes = vec![Op::RequestDeleteRange(delete("d", "e")), Op::RequestDeleteRange(delete("d", "f"))];
    t.note("delete twice", c.kv.txn(txn(vec![], deletes, vec![])).await);
    t.note("bad inside", c.kv.txn(txn(vec![], vec![Op::RequestPut(put("", "1"))], vec![])).await);
    t.note("empty operation", c.kv.txn(TxnRequest { success: vec![RequestOp { request: None }], ..TxnRequest::default() }).await);
    let many = (0..129).map(|n| Op::RequestPut(put(&format!("m/{n}"), ""))).collect();
    t.note("too many", c.kv.txn(txn(vec![], many, vec![])).await);
    let most = (0..128).map(|n| Op::RequestPut(put(&format!("m/{n}"), ""))).collect();
    t.note("most", c.kv.txn(txn(vec![], most, vec![])).await);
    let past = vec![Op::RequestPut(put("t/5", "x")), Op::RequestRange(RangeRequest { revision: 2, ..range("a", "") })];
    t.note("read the past", c.kv.txn(txn(vec![], past, vec![])).await);
    let future = vec![Op::RequestPut(put("t/6", "x")), Op::RequestRange(RangeRequest { revision: 1_000_000, ..range("a", "") })];
    t.note("read the future", c.kv.txn(txn(vec![], future, vec![])).await);
    t.note("nothing was written", c.kv.range(range("t/6", "")).await);
    t.note("large", c.kv.put(PutRequest { value: vec![b'x'; 1_400_000].into(), ..put("large", "") }).await);
    t.note("too large", c.kv.put(PutRequest { value: vec![b'x'; 1_600_000].into(), ..put("large", "") }).await);
    t.note("gone", c.kv.delete_range(DeleteRangeRequest { prev_kv: false, ..delete("large", "") }).await);
}

async fn leases(c: &mut Clients, t: &mut Transcript) {
    let id = 7_000;
    t.note("grant", c.lease.lease_grant(LeaseGrantRequest { ttl: 600, id }).await);
    t.note("grant again", c.lease.lease_grant(LeaseGrantRequest { ttl: 600, id }).await);
    t.note("too long", c.lease.lease_grant(LeaseGrantRequest { ttl: 9_000_000_001, id: 1 }).await);
    t.note("very short", c.lease.lease_grant(LeaseGrantRequest { ttl: 1, id: 7_001 }).await);
    t.note("attach", c.kv.put(PutRequest { lease: id, ..put("l/1", "x") }).await);
    t.note("attach", c.kv.put(PutRequest { lease: id, ..put("l/2", "x") }).await);
    t.note("keep lease", c.kv.put(PutRequest { ignore_lease: true, ..put("l/2", "y") }).await);
    t.note("keys", c.kv.range(range("l/", "l0")).await);
    t.note("left", c.lease.lease_time_to_live(LeaseTimeToLiveRequest { id, keys: true }).await.map(about));
    t.note("detach", c.kv.put(put("l/1", "z")).await);
    t.note("left", c.lease.lease_time_to_live(LeaseTimeToLiveRequest { id, keys: true }).await.map(about));
    t.note("missing", c.lease.lease_time_to_live(LeaseTimeToLiveRequest { id: 99, keys: true }).await);
    t.note("revoke", c.lease.lease_revoke(LeaseRevokeRequest { id }).await);
    t.note("revoke again", c.lease.lease_revoke(LeaseRevokeRequest { id }).await);
    t.note("keys after", c.kv.range(range("l/", "l0")).await);
    t.note("short goes too", c.lease.lease_revoke(LeaseRevokeRequest { id: 7_001 }).await);
    t.note("none left", c.lease.lease_leases(LeaseLeasesRequest {}).await);
    t.note("renewable", c.lease.lease_grant(LeaseGrantRequest { ttl: 300, id: 7_002 }).await);
    let asks = futures::stream::iter([7_002, 99, 7_002].map(|id| LeaseKeepAliveRequest { id })).chain(futures::stream::pending());
    let mut answers = c.lease.lease_keep_alive(asks).await.unwrap().into_inner();
    for _ in 0..3 {
        t.note("renewed", within(answers.message()).await.map(|answer| Response::new(answer.unwrap())));
    }
    t.note("clear", c.lease.lease_revoke(LeaseRevokeRequest { id: 7_002 }).await);
}

/// Seconds go by while the test runs.
fn about(answer: Response<LeaseTimeToLiveResponse>) -> Response<LeaseTimeToLiveResponse> {
    let mut answer = answer.into_inner();
    assert!((590..=600).contains(&answer.ttl), "{answer:?}");
    answer.ttl = 0;
    answer.keys.sort();
    Response::new(answer)
}

/// A watch stream with what has been asked on it. etcd answers to the stream itself only with its first message.
struct Watching {
    ask: mpsc::Sender<WatchRequest>,
    opening: Option<tokio::task::JoinHandle<Result<Response<Streaming<WatchResponse>>, Status>>>,
    answers: Option<Streaming<WatchResponse>>,
}

impl Watching {
    fn open(c: &Clients) -> Self {
        let (ask, asked) = mpsc::channel(8);
        let mut watch = c.watch.clone();
        let opening = tokio::spawn(async move { watch.watch(ReceiverStream::new(asked)).await });
        Self { ask, opening: Some(opening), answers: None }
    }

    async fn send(&self, request: RequestUnion) {
        self.ask.send(WatchRequest { request_union: Some(request) }).await.unwrap();
    }

    async fn next(&mut self) -> WatchResponse {
        if let Some(opening) = self.opening.take() {
            self.answers = Some(within(opening).await.unwrap().unwrap().into_inner());
        }
        within(self.answers.as_mut().unwrap().message()).await.unwrap().unwrap()
    }

    async fn create(&mut self, t: &mut Transcript, name: &str, request: WatchCreateRequest) -> i64 {
        self.send(RequestUnion::CreateRequest(request)).await;
        let answer = self.next().await;
        let id = answer.watch_id;
        t.note(name, Ok(Response::new(answer)));
        id
    }

    /// The next events, `wanted` of them.
    async fn events(&mut self, t: &mut Transcript, name: &str, wanted: usize) {
        let mut events: Vec<(i64, Event)> = Vec::new();
        while events.len() < wanted {
            let answer = self.next().await;
            assert!(!answer.canceled && !answer.created, "{name}: {answer:?}");
            let last = answer.events.last().and_then(|event| event.kv.as_ref()).map_or(0, |kv| kv.mod_revision);
            assert!(answer.header.unwrap().revision >= last, "{name}: {answer:?}");
            events.extend(answer.events.into_iter().map(|event| (answer.watch_id, event)));
        }
        events.truncate(wanted);
        t.0.push(format!("{name}: {events:?}"));
    }
}

async fn watches(c: &mut Clients, t: &mut Transcript) {
    let mut w = Watching::open(c);
    let create = |key: &str, end: &str| WatchCreateRequest { key: b(key), range_end: b(end), ..WatchCreateRequest::default() };
    let first = w.create(t, "live", create("w/", "w0")).await;
    t.note("put", c.kv.put(put("w/1", "1")).await);
    t.note("put", c.kv.put(put("w/1", "2")).await);
    t.note("elsewhere", c.kv.put(put("x", "2")).await);
    let both = TxnRequest {
        success: vec![op(Op::RequestPut(put("w/2", "t"))), op(Op::RequestDeleteRange(delete("w/1", "")))],
        ..TxnRequest::default()
    };
    t.note("txn", c.kv.txn(both).await);
    w.events(t, "live events", 4).await;
    w.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: first })).await;
    let end = w.next().await;
    t.note("canceled", Ok(Response::new(end)));

    w.create(t, "history with previous", WatchCreateRequest { start_revision: 2, prev_kv: true, ..create("a", "") }).await;
    w.events(t, "history", 6).await;
    let puts = WatchCreateRequest { start_revision: 2, filters: vec![FilterType::Nodelete.into()], ..create("a", "") };
    w.create(t, "puts only", puts).await;
    w.events(t, "puts", 5).await;
    let deletes = WatchCreateRequest { start_revision: 2, filters: vec![FilterType::Noput.into()], watch_id: 77, ..create("a", "b") };
    w.create(t, "deletes only, own id", deletes.clone()).await;
    w.events(t, "deletes", 1).await;
    w.create(t, "same id", deletes).await;
    w.create(t, "empty range", create("b", "a")).await;
    w.create(t, "all keys", WatchCreateRequest { start_revision: 2, ..create("", "\0") }).await;
    w.events(t, "all events", 20).await;
    drop(w);

    let mut w = Watching::open(c);
    w.create(t, "nothing happens", create("quiet", "")).await;
    t.note("move on", c.kv.put(put("loud", "1")).await);
    w.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    let progress = w.next().await;
    t.note("progress", Ok(Response::new(progress)));
    w.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 12345 })).await;
    let revision = c.kv.range(range("a", "")).await.unwrap().into_inner().header.unwrap().revision;
    w.create(t, "future", WatchCreateRequest { start_revision: revision + 2, ..create("f", "") }).await;
    t.note("too early", c.kv.put(put("f", "1")).await);
    t.note("in time", c.kv.put(put("f", "2")).await);
    w.events(t, "future event", 1).await;
}

async fn fragments(c: &mut Clients, t: &mut Transcript) {
    let from = c.kv.range(range("a", "")).await.unwrap().into_inner().header.unwrap().revision + 1;
    // One revision that is larger than any answer may be.
    let puts = (0..3).map(|n| op(Op::RequestPut(PutRequest { value: vec![n; 400_000].into(), ..put(&format!("frag/{n}"), "") })));
    c.kv.txn(TxnRequest { success: puts.collect(), ..TxnRequest::default() }).await.unwrap();
    for n in 0..3 {
        c.kv.put(PutRequest { value: vec![9; 1_000_000].into(), ..put(&format!("frag/{n}"), "") }).await.unwrap();
    }
    let mut w = Watching::open(c);
    let request = WatchCreateRequest {
        key: b("frag/"),
        range_end: b("frag0"),
        start_revision: from,
        fragment: true,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    w.create(t, "large history in pieces", request).await;
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let answer = w.next().await;
        assert!(answer.fragment || seen.len() + answer.events.len() <= 6);
        seen.extend(answer.events.into_iter().map(|event| {
            let kv = event.kv.unwrap();
            (kv.key, kv.mod_revision, kv.value.len(), event.prev_kv.map(|kv| (kv.mod_revision, kv.value.len())))
        }));
    }
    t.0.push(format!("pieces: {seen:?}"));
    c.kv.delete_range(DeleteRangeRequest { prev_kv: false, ..delete("frag/", "frag0") }).await.unwrap();
}

async fn compaction(c: &mut Clients, t: &mut Transcript) {
    let hash = |revision| HashKvRequest { revision };
    for revision in [0, 10, 25] {
        let answer = c.maintenance.hash_kv(hash(revision)).await.map(tonic::Response::into_inner);
        t.0.push(format!("hash at {revision}: {:?}", answer.map(|h| (h.hash, h.compact_revision))));
    }
    t.note("compact", c.kv.compact(CompactionRequest { revision: 12, physical: true }).await);
    t.note("same again", c.kv.compact(CompactionRequest { revision: 12, physical: false }).await);
    t.note("earlier", c.kv.compact(CompactionRequest { revision: 5, physical: false }).await);
    t.note("future", c.kv.compact(CompactionRequest { revision: 1_000_000, physical: false }).await);
    for revision in [5, 11, 12, 13] {
        t.note(&format!("read at {revision}"), c.kv.range(RangeRequest { revision, ..range("r/", "r0") }).await);
    }
    for revision in [0, 11, 13, 25] {
        let answer = c.maintenance.hash_kv(hash(revision)).await.map(tonic::Response::into_inner);
        let line = match answer {
            Ok(h) => format!("{} {}", h.hash, h.compact_revision),
            Err(status) => format!("{:?} {}", status.code(), status.message()),
        };
        t.0.push(format!("hash after, at {revision}: {line}"));
    }
    let mut w = Watching::open(c);
    let request = WatchCreateRequest { key: b("a"), start_revision: 3, ..WatchCreateRequest::default() };
    w.create(t, "watch the past", request).await;
    let end = w.next().await;
    t.0.push(format!("ends: {} {} {}", end.canceled, end.compact_revision, end.cancel_reason));
    let request = WatchCreateRequest { key: b("r/"), range_end: b("r0"), start_revision: 13, ..WatchCreateRequest::default() };
    w.create(t, "watch what is left", request).await;
    w.events(t, "left", 5).await;
}

async fn the_rest(c: &mut Clients, t: &mut Transcript) {
    let alarms = c.maintenance.alarm(AlarmRequest::default()).await.unwrap().into_inner();
    t.0.push(format!("no alarms: {:?}", alarms.alarms));
    let wait = tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
    assert!(wait.is_err());
    let stream = c.maintenance.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let chunks: Vec<_> = within(stream.collect::<Vec<_>>()).await;
    let bytes: usize = chunks.iter().map(|chunk| chunk.as_ref().unwrap().blob.len()).sum();
    t.0.push(format!("snapshot ends in a checksum: {}", bytes % 512));
}

async fn run(c: &mut Clients) -> Vec<(&'static str, Vec<String>)> {
    let mut all = Vec::new();
    macro_rules! run {
        ($($case:ident),*) => {$({
            let mut transcript = Transcript::default();
            $case(c, &mut transcript).await;
            all.push((stringify!($case), transcript.0));
        })*};
    }
    run!(writes, reads, transactions, leases, watches, fragments, compaction, the_rest);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_the_same() {
    let Some(theirs) = Theirs::start().await else {
        println!("skipped: there is no etcd on this machine (package etcd-server)");
        return;
    };
    let ours = Ours::start(|_| {}).await;
    let (mut their_clients, mut our_clients) = (theirs.clients().await, ours.clients().await);
    let deadline = Duration::from_secs(90);
    let expected = tokio::time::timeout(deadline, run(&mut their_clients)).await.expect("etcd took too long");
    let found = tokio::time::timeout(deadline, run(&mut our_clients)).await.expect("our server took too long");
    let mut differences = String::new();
    let mut compared = 0;
    for ((case, expected), (_, found)) in expected.iter().zip(&found) {
        for (expected, found) in expected.iter().zip(found) {
            compared += 1;
            if expected != found {
                differences += &format!("{case}\n  etcd: {}\n  ours: {}\n", short(expected), short(found));
            }
        }
        assert_eq!(expected.len(), found.len(), "{case}");
    }
    assert!(compared > 150, "{compared}");
    assert!(differences.is_empty(), "{differences}");
    ours.stop().await;
}

/// etcd 3.4 sorts by an order that is none, and by a target that is none it ends in a panic: later versions refuse both.
#[tokio::test]
async fn sorting_by_what_there_is_not_is_refused() {
    let ours = Ours::start(|_| {}).await;
    let mut c = ours.clients().await;
    for request in [RangeRequest { sort_target: 9, ..range("a", "b") }, RangeRequest { sort_order: 9, ..range("a", "b") }] {
        let refused = c.kv.range(request).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (tonic::Code::InvalidArgument, "etcdserver: invalid sort option"));
    }
    ours.stop().await;
}

fn short(line: &str) -> String {
    line.chars().take(1200).collect()
}
