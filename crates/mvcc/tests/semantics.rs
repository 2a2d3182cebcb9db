//! What etcd does, case by case.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rows;

use rows::{Host, bytes, delete, op, put, range, txn};
use tricorn_mvcc::{Error, HistoryLimits, LeaseChange, Limits, Span, Table, check_command, check_range};
use tricorn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tricorn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::response_op::Response;
use tricorn_proto::etcdserverpb::{
    CompactionRequest, Compare, LeaseCheckpoint, LeaseCheckpointRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
};
use tricorn_proto::peer::Command;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::command::Op;

fn compact(revision: i64) -> Op {
    Op::Compact(CompactionRequest { revision, physical: false })
}

fn compare(key: &str, result: CompareResult, target: CompareTarget, union: TargetUnion) -> Compare {
    Compare { key: bytes(key), result: result.into(), target: target.into(), target_union: Some(union), ..Compare::default() }
}

#[test]
fn a_key_counts_its_lives_and_versions() {
    let mut host = Host::new();
    host.put("a", "1");
    host.put("a", "2");
    host.delete("a", "");
    let applied = host.put("a", "3");
    assert_eq!(applied.revision, 5);
    let kv = host.reader().range(&range("a", "")).unwrap().kvs.remove(0);
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (5, 5, 1));
    let old = host.reader().range(&RangeRequest { revision: 3, ..range("a", "") }).unwrap().kvs.remove(0);
    assert_eq!((old.create_revision, old.mod_revision, old.version, old.value.as_ref()), (2, 3, 2, b"2".as_ref()));
    assert!(host.range("a", "", 4).unwrap().is_empty());
    assert!(host.range("a", "", 1).unwrap().is_empty());
    assert_eq!(host.range("a", "", 6), Err(Error::FutureRevision));
}

#[test]
fn ranges_limit_sort_filter_and_count() {
    let mut host = Host::new();
    for (key, value) in [("a", "3"), ("b", "1"), ("c", "2"), ("d", "0")] {
        host.put(key, value);
    }
    host.put("b", "1");
    let keys = |request: RangeRequest| {
        let response = host.reader().range(&request).unwrap();
        let keys: String = response.kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect();
        (keys, response.more, response.count)
    };
    let all = || range("a", "\0");
    assert_eq!(keys(RangeRequest { limit: 2, ..all() }), ("ab".into(), true, 4));
    assert_eq!(keys(RangeRequest { limit: 4, ..all() }), ("abcd".into(), false, 4));
    assert_eq!(keys(range("b", "d")), ("bc".into(), false, 2));
    assert_eq!(keys(range("d", "b")), (String::new(), false, 0));
    assert_eq!(keys(RangeRequest { count_only: true, ..all() }), (String::new(), false, 4));
    let by = |target: SortTarget, order: SortOrder| RangeRequest { sort_target: target.into(), sort_order: order.into(), ..all() };
    assert_eq!(keys(by(SortTarget::Key, SortOrder::Descend)).0, "dcba");
    assert_eq!(keys(by(SortTarget::Value, SortOrder::None)).0, "dbca");
    assert_eq!(keys(by(SortTarget::Mod, SortOrder::Descend)).0, "bdca");
    assert_eq!(keys(by(SortTarget::Version, SortOrder::Descend)).0, "bacd");
    assert_eq!(keys(RangeRequest { limit: 1, ..by(SortTarget::Create, SortOrder::Descend) }), ("d".into(), true, 4));
    assert_eq!(keys(RangeRequest { keys_only: true, ..by(SortTarget::Value, SortOrder::Ascend) }).0, "dbca");
    assert_eq!(keys(RangeRequest { min_mod_revision: 4, max_mod_revision: 5, ..all() }), ("cd".into(), false, 4));
    assert_eq!(keys(RangeRequest { max_create_revision: 3, ..all() }).0, "ab");
    let only = host.reader().range(&RangeRequest { keys_only: true, ..all() }).unwrap();
    assert!(only.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > 1));
}

#[test]
fn puts_can_keep_value_or_lease() {
    let mut host = Host::new();
    let keep = |value: bool, lease: bool| Op::Put(PutRequest { ignore_value: value, ignore_lease: lease, prev_kv: true, ..put("a", "") });
    assert_eq!(host.apply(keep(true, false)).answer.unwrap_err(), Error::KeyNotFound);
    assert_eq!(host.apply(Op::Put(PutRequest { lease: 9, ..put("a", "1") })).answer.unwrap_err(), Error::LeaseNotFound);
    assert_eq!(host.machine.revision(), 1);
    host.apply(Op::LeaseGrant(LeaseGrantRequest { id: 9, ttl: 10 })).answer.unwrap();
    host.apply(Op::Put(PutRequest { lease: 9, ..put("a", "1") })).answer.unwrap();
    host.apply(Op::Put(PutRequest { ignore_lease: true, ..put("a", "2") })).answer.unwrap();
    assert_eq!(host.reader().lease_keys(9).unwrap(), ["a"]);
    let Reply::Put(response) = host.apply(keep(true, false)).answer.unwrap() else { panic!() };
    assert_eq!(response.prev_kv.unwrap().lease, 9);
    let kv = host.reader().range(&range("a", "")).unwrap().kvs.remove(0);
    assert_eq!((kv.value.as_ref(), kv.lease), (b"2".as_ref(), 0));
    assert!(host.reader().lease_keys(9).unwrap().is_empty());
}

#[test]
fn requests_are_checked_before_they_are_proposed() {
    let check = |op: Op| check_command(&Command { op: Some(op), ..Command::default() }, Limits { txn_ops: 2, request_bytes: 100 });
    assert_eq!(check(Op::Put(put("", "x"))), Err(Error::EmptyKey));
    assert_eq!(check(Op::Put(PutRequest { ignore_value: true, ..put("a", "x") })), Err(Error::ValueProvided));
    assert_eq!(check(Op::Put(PutRequest { ignore_lease: true, lease: 1, ..put("a", "x") })), Err(Error::LeaseProvided));
    assert_eq!(check(Op::DeleteRange(delete("", ""))), Err(Error::EmptyKey));
    assert_eq!(check(Op::Put(put("a", &"x".repeat(5000)))), Err(Error::RequestTooLarge));
    assert_eq!(check_range(&range("", "")), Err(Error::EmptyKey));
    assert_eq!(check_range(&RangeRequest { sort_order: 7, ..range("a", "") }), Err(Error::InvalidSortOption));
    let puts = |keys: &[&str]| keys.iter().map(|key| op(Request::RequestPut(put(key, "")))).collect::<Vec<_>>();
    let dels = |key: &str, end: &str| op(Request::RequestDeleteRange(delete(key, end)));
    let inner = |success, failure| op(Request::RequestTxn(txn(vec![], success, failure)));
    let go = |success| check(Op::Txn(txn(vec![], success, vec![])));
    assert_eq!(go(puts(&["a", "b", "c"])), Err(Error::TooManyOps));
    assert_eq!(go(puts(&["a", "a"])), Err(Error::DuplicateKey));
    assert_eq!(go(vec![dels("a", "c"), op(Request::RequestPut(put("b", "")))]), Err(Error::DuplicateKey));
    // An empty range meets nothing. One without an end meets all behind it: what etcd does then ends etcd.
    assert_eq!(go(vec![dels("b", "a"), op(Request::RequestPut(put("b", "")))]), Ok(()));
    assert_eq!(go(vec![dels("a", "\0"), op(Request::RequestPut(put("b", "")))]), Err(Error::DuplicateKey));
    assert_eq!(go(vec![dels("a", "b"), op(Request::RequestPut(put("b", "")))]), Ok(()));
    let deep = |ops| check_command(&Command { op: Some(Op::Txn(txn(vec![], ops, vec![]))), ..Command::default() }, Limits::default());
    assert_eq!(deep(vec![inner(puts(&["a"]), puts(&["a"]))]), Ok(()), "branches exclude each other");
    assert_eq!(deep(vec![inner(puts(&["a"]), vec![]), op(Request::RequestPut(put("a", "")))]), Err(Error::DuplicateKey));
    assert_eq!(deep(vec![inner(puts(&["a"]), vec![]), inner(vec![], puts(&["a"]))]), Err(Error::DuplicateKey));
}

#[test]
fn comparisons_treat_a_missing_key_as_etcd_does() {
    let mut host = Host::new();
    host.put("a", "m");
    let mut holds = |compare: Compare| host.txn(txn(vec![compare], vec![], vec![])).unwrap().succeeded;
    use CompareResult::{Equal, Greater, Less, NotEqual};
    for result in [Equal, NotEqual, Greater, Less] {
        assert!(!holds(compare("none", result, CompareTarget::Value, TargetUnion::Value(bytes("x")))), "{result:?}");
    }
    assert!(holds(compare("none", Equal, CompareTarget::Mod, TargetUnion::ModRevision(0))));
    assert!(holds(compare("none", Less, CompareTarget::Version, TargetUnion::Version(1))));
    assert!(holds(compare("a", Equal, CompareTarget::Create, TargetUnion::CreateRevision(2))));
    assert!(holds(compare("a", Greater, CompareTarget::Value, TargetUnion::Value(bytes("l")))));
    assert!(holds(compare("a", NotEqual, CompareTarget::Lease, TargetUnion::Lease(3))));
    assert!(!holds(compare("a", Less, CompareTarget::Version, TargetUnion::Version(1))));
    let all = Compare { range_end: bytes("z"), ..compare("a", Greater, CompareTarget::Mod, TargetUnion::ModRevision(1)) };
    assert!(holds(all));
}

#[test]
fn a_transaction_sees_its_own_writes_and_happens_at_one_revision() {
    let mut host = Host::new();
    host.put("a", "1");
    let request = txn(
        vec![],
        vec![
            op(Request::RequestRange(range("a", "\0"))),
            op(Request::RequestPut(put("b", "2"))),
            op(Request::RequestRange(range("a", "\0"))),
            op(Request::RequestDeleteRange(delete("a", ""))),
            op(Request::RequestTxn(txn(
                vec![compare("b", CompareResult::Equal, CompareTarget::Version, TargetUnion::Version(0))],
                vec![op(Request::RequestRange(range("a", "\0")))],
                vec![],
            ))),
        ],
        vec![],
    );
    let response = host.txn(request).unwrap();
    let counts: Vec<(i64, i64)> = response
        .responses
        .iter()
        .map(|response| match response.response.as_ref().unwrap() {
            Response::ResponseRange(range) => (range.count, range.header.as_ref().unwrap().revision),
            Response::ResponsePut(put) => (-1, put.header.as_ref().unwrap().revision),
            Response::ResponseDeleteRange(gone) => (gone.deleted, gone.header.as_ref().unwrap().revision),
            // Comparisons were decided before anything was written; the header of a nested transaction tells no revision.
            Response::ResponseTxn(inner) => (i64::from(inner.succeeded), inner.header.as_ref().unwrap().revision),
        })
        .collect();
    assert_eq!(counts, [(1, 2), (-1, 3), (2, 3), (1, 3), (1, 0)]);
    assert_eq!(response.header.unwrap().revision, 3);
    let history = host.reader().history(3, Span::From(b"\0"), HistoryLimits::default()).unwrap();
    assert_eq!(history.revisions.len(), 1);
    assert_eq!(history.revisions[0].1.len(), 2);
    // What cannot work is refused before anything is written.
    let ahead = txn(
        vec![],
        vec![op(Request::RequestPut(put("x", ""))), op(Request::RequestRange(RangeRequest { revision: 99, ..range("a", "") }))],
        vec![],
    );
    assert_eq!(host.txn(ahead).unwrap_err(), Error::FutureRevision);
    assert_eq!(host.machine.revision(), 3);
}

#[test]
fn compaction_forgets_what_no_read_can_reach() {
    let mut host = Host::new();
    for n in 0..10 {
        host.put("a", &n.to_string());
        host.put("b", "x");
        host.delete("b", "");
    }
    assert_eq!(host.apply(compact(99)).answer.unwrap_err(), Error::FutureRevision);
    host.apply(compact(20)).answer.unwrap();
    assert_eq!(host.apply(compact(20)).answer.unwrap_err(), Error::Compacted);
    assert_eq!(host.range("a", "", 19), Err(Error::Compacted));
    let before = (host.range("a", "\0", 20).unwrap(), host.range("a", "\0", 25).unwrap(), host.reader().hash(0).unwrap().hash);
    let mut steps = 0;
    while !host.sweep(3) {
        steps += 1;
        assert!(steps < 100);
    }
    assert_eq!((host.range("a", "\0", 20).unwrap(), host.range("a", "\0", 25).unwrap(), host.reader().hash(0).unwrap().hash), before);
    assert_eq!(host.reader().history(19, Span::From(b"\0"), HistoryLimits::default()).unwrap_err(), Error::Compacted);
    let history = host.reader().history(21, Span::One(b"a"), HistoryLimits::default()).unwrap();
    assert_eq!(history.revisions.len(), 3);
    assert!(history.revisions[0].1[0].prev_kv.is_some());
    host.apply(compact(31)).answer.unwrap();
    while !host.sweep(4) {}
    assert_eq!(host.rows.count(Table::CURRENT), 1);
    assert_eq!(host.rows.count(Table::LOG), 1, "the last revision itself");
    assert!(host.rows.count(Table::OLD) <= 1, "its tombstone");
}

#[test]
fn leases_take_their_keys_along_in_one_revision() {
    let mut host = Host::new();
    assert_eq!(host.apply(Op::LeaseGrant(LeaseGrantRequest { id: 1, ttl: 9_000_000_001 })).answer.unwrap_err(), Error::LeaseTtlTooLarge);
    let granted = host.apply(Op::LeaseGrant(LeaseGrantRequest { id: 1, ttl: 60 }));
    assert!(matches!(granted.leases[..], [LeaseChange::Granted(lease)] if lease.granted == 60));
    assert_eq!(host.apply(Op::LeaseGrant(LeaseGrantRequest { id: 1, ttl: 60 })).answer.unwrap_err(), Error::LeaseExists);
    for key in ["c", "a", "b"] {
        host.apply(Op::Put(PutRequest { lease: 1, ..put(key, "") })).answer.unwrap();
    }
    let mark = LeaseCheckpoint { id: 1, remaining_ttl: 20 };
    host.apply(Op::LeaseCheckpoint(LeaseCheckpointRequest { checkpoints: vec![mark] })).answer.unwrap();
    assert_eq!(host.reader().lease(1).unwrap().unwrap().left(), 20);
    host.delete("b", "");
    let revoked = host.apply(Op::LeaseRevoke(LeaseRevokeRequest { id: 1 }));
    let keys: Vec<_> = revoked.events.iter().map(|event| event.kv.as_ref().unwrap().key.clone()).collect();
    assert_eq!(keys, ["a", "c"]);
    assert!(revoked.events.iter().all(|event| event.kv.as_ref().unwrap().mod_revision == revoked.revision));
    assert_eq!(host.apply(Op::LeaseRevoke(LeaseRevokeRequest { id: 1 })).answer.unwrap_err(), Error::LeaseNotFound);
    assert_eq!((host.rows.count(Table::LEASE), host.rows.count(Table::LEASE_KEY)), (0, 0));
}

#[test]
fn a_fenced_command_changes_nothing_in_another_term() {
    let mut host = Host::new();
    let command = Command { fence: Some(4), op: Some(Op::Put(put("a", "1"))), ..Command::default() };
    assert_eq!(host.apply_in(command.clone(), 5).answer.unwrap_err(), Error::Fenced { fence: 4, term: 5 });
    assert_eq!(host.machine.revision(), 1);
    assert_eq!(host.apply_in(command, 4).revision, 2);
}

#[test]
fn keys_with_zero_bytes_keep_their_order() {
    let mut host = Host::new();
    let keys = ["a", "a\0", "a\0\0", "a\0b", "aa", "b"];
    for _ in 0..2 {
        for key in keys {
            host.put(key, key);
        }
    }
    let found: Vec<String> = host.range("a", "\0", 7).unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, keys);
    assert_eq!(host.range("a\0", "a\0\0\0", 7).unwrap().len(), 2);
}
