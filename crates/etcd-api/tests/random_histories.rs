//! Histories that nobody thought of: the same random requests to our server and to the machine's etcd get the same answers, and leave
//! the same checksum behind. A history that fails is made smaller before it is shown. With `TRICORN_RANDOM` set, the histories are new
//! ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use support::{Clients, Ours, Theirs};
use tonic::{Response, Status};
use tricorn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tricorn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tricorn_proto::etcdserverpb::request_op::Request as Op;
use tricorn_proto::etcdserverpb::*;

/// Histories, and requests in each at most.
const HISTORIES: u32 = 8;
const REQUESTS: usize = 400;
/// Attempts to make a failing history smaller; each starts two servers.
const SHRINKS: u32 = 120;
const DEADLINE: Duration = Duration::from_secs(60);

/// One request. Revisions are relative: so far back from the newest.
#[derive(Clone, Debug)]
enum Step {
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Range(RangeRequest, i64),
    Txn(TxnRequest),
    Compact(i64),
    Grant(i64),
    Revoke(i64),
    Leased(i64),
    Hash(i64),
}

fn key() -> impl Strategy<Value = Bytes> {
    // Few keys, so that they meet; some of them prefixes of others, some with a zero byte. No more than twelve in all: beyond that Go's
    // sort does not keep equal ones in their order.
    let usual = (4..12_u8).prop_map(|n| Bytes::from(format!("k{n}")));
    prop_oneof![8 => usual, 1 => Just(Bytes::from_static(b"k1\0")), 1 => Just(Bytes::from_static(b"k1\0\xff")), 1 => Just(Bytes::from_static(b"a"))]
}

fn span() -> impl Strategy<Value = (Bytes, Bytes)> {
    prop_oneof![
        4 => key().prop_map(|key| (key, Bytes::new())),
        3 => (key(), key()),
        1 => key().prop_map(|key| (key, Bytes::from_static(b"\0"))),
        1 => Just((Bytes::from_static(b"\0"), Bytes::from_static(b"\0"))),
        1 => Just((Bytes::from_static(b"k"), Bytes::from_static(b"l"))),
    ]
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0), 1 => 1..4_i64]
}

fn put() -> impl Strategy<Value = PutRequest> {
    (key(), "[a-c]{0,3}", lease(), any::<bool>(), 0..10_u8).prop_map(|(key, value, lease, prev_kv, odd)| {
        let (ignore_value, ignore_lease) = (odd == 0, odd == 1);
        PutRequest {
            key,
            value: if ignore_value { Bytes::new() } else { value.into() },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        }
    })
}

/// Never of the last key, for two reasons. etcd lets a transaction delete everything from a key on and put one of those keys, and some
/// such transactions end it (`semantics.rs` in mvcc's tests). And a checksum where nothing can be read counts the tombstone of the
/// compaction's own revision in 3.6 and in ours, but not in 3.4, which has dropped it.
fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (span(), any::<bool>()).prop_map(|((key, range_end), prev_kv)| {
        let range_end = if range_end == "\0" { Bytes::from_static(b"l") } else { range_end };
        DeleteRangeRequest { key, range_end, prev_kv }
    })
}

/// The key that always stays.
fn last() -> Step {
    Step::Put(PutRequest { key: "z".into(), ..PutRequest::default() })
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let bounds = (0..4_u8, 0..60_i64);
    (span(), 0..5_i64, 0..3_i32, 0..5_i32, any::<[bool; 3]>(), bounds).prop_map(|(span, limit, order, target, flags, (bound, revision))| {
        let mut request = RangeRequest {
            key: span.0,
            range_end: span.1,
            limit,
            sort_order: SortOrder::try_from(order).unwrap_or_default().into(),
            sort_target: SortTarget::try_from(target).unwrap_or_default().into(),
            serializable: flags[0],
            keys_only: flags[1],
            count_only: flags[2] && flags[1],
            ..RangeRequest::default()
        };
        match bound {
            0 => request.min_mod_revision = revision,
            1 => request.max_create_revision = revision,
            _ => {}
        }
        request
    })
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        (0..4_i64).prop_map(TargetUnion::Version),
        (0..60_i64).prop_map(TargetUnion::ModRevision),
        (0..60_i64).prop_map(TargetUnion::CreateRevision),
        "[a-c]{0,2}".prop_map(|value| TargetUnion::Value(value.into())),
        lease().prop_map(TargetUnion::Lease),
    ];
    (span(), 0..4_i32, target).prop_map(|((key, range_end), result, union)| {
        let target = match union {
            TargetUnion::Version(_) => CompareTarget::Version,
            TargetUnion::CreateRevision(_) => CompareTarget::Create,
            TargetUnion::ModRevision(_) => CompareTarget::Mod,
            TargetUnion::Value(_) => CompareTarget::Value,
            TargetUnion::Lease(_) => CompareTarget::Lease,
        };
        let result = CompareResult::try_from(result).unwrap_or_default().into();
        Compare { result, target: target.into(), key, range_end, target_union: Some(union) }
    })
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = prop_oneof![
        4 => put().prop_map(Op::RequestPut),
        2 => delete().prop_map(Op::RequestDeleteRange),
        3 => range().prop_map(Op::RequestRange),
    ];
    let ops = |op: BoxedStrategy<Op>| proptest::collection::vec(op.prop_map(|op| RequestOp { request: Some(op) }), 0..4);
    let flat = (proptest::collection::vec(compare(), 0..3), ops(leaf.clone().boxed()), ops(leaf.clone().boxed()))
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
        .boxed();
    let inner = prop_oneof![4 => leaf, 1 => flat.clone().prop_map(Op::RequestTxn)];
    (proptest::collection::vec(compare(), 0..3), ops(inner.clone().boxed()), ops(inner.boxed()))
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => put().prop_map(Step::Put),
        10 => delete().prop_map(Step::Delete),
        20 => (range(), prop_oneof![3 => Just(0), 2 => 0..30_i64]).prop_map(|(request, back)| Step::Range(request, back)),
        25 => txn().prop_map(Step::Txn),
        2 => (0..20_i64).prop_map(Step::Compact),
        3 => (1..4_i64).prop_map(Step::Grant),
        2 => (1..4_i64).prop_map(Step::Revoke),
        2 => (1..4_i64).prop_map(Step::Leased),
        4 => (0..12_i64).prop_map(Step::Hash),
    ]
}

/// An answer as text: without what differs between servers, and what nobody compares.
fn said<T: Debug>(answer: Result<Response<T>, Status>) -> String {
    match answer {
        Ok(answer) => {
            let text = format!("{:?}", answer.into_inner());
            ["cluster_id: ", "member_id: ", "raft_term: "].iter().fold(text, |text, field| without(&text, field))
        }
        Err(status) => format!("{:?} {}", status.code(), status.message()),
    }
}

/// `text` with the number behind each `field` taken out.
fn without(text: &str, field: &str) -> String {
    let mut parts = text.split(field);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out
}

async fn newest(c: &mut Clients) -> i64 {
    let request = RangeRequest { key: "none".into(), serializable: true, ..RangeRequest::default() };
    c.kv.range(request).await.unwrap().into_inner().header.unwrap().revision
}

fn compacted() -> Status {
    Status::out_of_range("etcdserver: mvcc: required revision has been compacted")
}

async fn perform(c: &mut Clients, step: Step) -> String {
    match step {
        Step::Put(request) => said(c.kv.put(request).await),
        Step::Delete(request) => said(c.kv.delete_range(request).await),
        Step::Range(request, 0) => said(c.kv.range(request).await),
        Step::Range(request, back) => {
            let revision = (newest(c).await - back).max(1);
            said(c.kv.range(RangeRequest { revision, ..request }).await)
        }
        Step::Txn(request) => said(c.kv.txn(request).await),
        Step::Compact(back) => {
            let revision = newest(c).await - back;
            said(c.kv.compact(CompactionRequest { revision, physical: true }).await)
        }
        Step::Grant(id) => said(c.lease.lease_grant(LeaseGrantRequest { ttl: 1000, id }).await),
        Step::Revoke(id) => said(c.lease.lease_revoke(LeaseRevokeRequest { id }).await),
        Step::Leased(id) => {
            let answer = c.lease.lease_time_to_live(LeaseTimeToLiveRequest { id, keys: true }).await;
            // Seconds go by while a history runs, and etcd keeps the keys in no order.
            let answer = answer.map(|answer| answer.into_inner()).map(|mut answer| {
                answer.keys.sort();
                Response::new((answer.granted_ttl, answer.keys))
            });
            said(answer)
        }
        Step::Hash(back) => {
            let revision = if back == 0 { 0 } else { (newest(c).await - back).max(1) };
            let answer = c.maintenance.hash_kv(HashKvRequest { revision }).await.map(Response::into_inner);
            match answer {
                // 3.4 refuses the very revision of the compaction, later versions answer.
                Ok(answer) if revision > 0 && answer.compact_revision == revision => said::<()>(Err(compacted())),
                answer => said(answer.map(|answer| Response::new((answer.hash, answer.compact_revision)))),
            }
        }
    }
}

async fn both(steps: Vec<Step>) -> Result<(), String> {
    let theirs = Theirs::start().await.ok_or("etcd has gone")?;
    let ours = Ours::start(|_| {}).await;
    let (mut their_clients, mut our_clients) = (theirs.clients().await, ours.clients().await);
    let compared = async {
        for step in [last()].into_iter().chain(steps).chain([Step::Hash(0)]) {
            let expected = perform(&mut their_clients, step.clone()).await;
            let found = perform(&mut our_clients, step.clone()).await;
            if expected != found {
                return Err(format!("{step:?}\n  etcd: {expected}\n  ours: {found}"));
            }
        }
        Ok(())
    };
    let compared = tokio::time::timeout(DEADLINE, compared).await.map_err(|_| "it took too long".to_owned());
    ours.stop().await;
    compared?
}

#[test]
fn random_histories_come_out_the_same() {
    if !Theirs::is_there() {
        println!("skipped: there is no etcd on this machine (package etcd-server)");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: HISTORIES, max_shrink_iters: SHRINKS, failure_persistence: None, ..Config::default() };
    let history = proptest::collection::vec(step(), REQUESTS / 2..REQUESTS);
    let run = |steps: Vec<Step>| runtime.block_on(both(steps)).map_err(TestCaseError::fail);
    // The same histories every time, so that a failure is the change's; others when they are asked for.
    let mut runner = match std::env::var_os("TRICORN_RANDOM") {
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        Some(_) => TestRunner::new(config),
    };
    if let Err(failure) = runner.run(&history, run) {
        panic!("{failure}");
    }
}
