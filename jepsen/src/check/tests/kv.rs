//! Keys and values, with what nobody acknowledged.

use super::{Scene, invalid, valid};
use crate::check::kv::{Options, check, check_with, timeline};
use crate::check::{Validity, Verdict};
use crate::kv::{Answer, Compare, Event, KeyValue, Op, OpResult, Range, Ranged, Request, Result, Txn, Watch, WatchMessage, Watched};

pub(super) fn put(key: &str, value: &str) -> Request {
    Request::Txn(Txn { then: vec![put_op(key, value, 0)], ..Txn::default() })
}

pub(super) fn put_op(key: &str, value: &str, lease: i64) -> Op {
    Op::Put { key: key.into(), value: value.into(), lease }
}

pub(super) fn done(revision: i64) -> Answer {
    Answer { revision, result: Result::Txn { succeeded: true, results: vec![OpResult::Put] } }
}

pub(super) fn delete(key: &str) -> Request {
    Request::Txn(Txn { then: vec![Op::Delete { key: key.into(), end: None }], ..Txn::default() })
}

pub(super) fn deleted(revision: i64, count: i64) -> Answer {
    Answer { revision, result: Result::Txn { succeeded: true, results: vec![OpResult::Deleted(count)] } }
}

pub(super) fn get(key: &str) -> Request {
    Request::Range(Range { key: key.into(), ..Range::default() })
}

pub(super) fn stale(key: &str) -> Request {
    Request::Range(Range { key: key.into(), serializable: true, ..Range::default() })
}

pub(super) fn get_at(key: &str, revision: i64) -> Request {
    Request::Range(Range { key: key.into(), revision, ..Range::default() })
}

pub(super) fn read(revision: i64, kvs: &[KeyValue]) -> Answer {
    Answer { revision, result: Result::Range(Ranged { kvs: kvs.to_vec(), count: kvs.len() as i64 }) }
}

pub(super) fn refused(why: &str) -> Answer {
    Answer { revision: 0, result: Result::Refused(why.into()) }
}

/// A key: its value, where it was made, where it was changed, its version.
pub(super) fn kv(key: &str, value: &str, create_revision: i64, mod_revision: i64, version: i64) -> KeyValue {
    KeyValue { key: key.into(), value: value.into(), create_revision, mod_revision, version, lease: 0 }
}

pub(super) fn event(kv: KeyValue) -> Event {
    Event { deleted: false, kv, prev: None }
}

pub(super) fn gone(key: &str, mod_revision: i64) -> Event {
    Event { deleted: true, kv: KeyValue { key: key.into(), mod_revision, ..KeyValue::default() }, prev: None }
}

pub(super) fn message(time: u64, revision: i64, events: &[Event]) -> WatchMessage {
    WatchMessage { time, revision, events: events.to_vec(), compact_revision: 0 }
}

pub(super) fn all(from: i64) -> Watch {
    Watch { key: "a".into(), end: Some("z".into()), from, ..Watch::default() }
}

impl Scene {
    pub(super) fn kv(&mut self, process: u64, request: Request, answer: Answer) -> &mut Self {
        self.call(process, "kv", request, answer)
    }

    pub(super) fn unknown(&mut self, process: u64, request: Request) -> &mut Self {
        self.invoke(process, "kv", request).info(process, "kv")
    }

    /// A watch that was told all these messages by now.
    pub(super) fn watched(&mut self, process: u64, watch: Watch, created_at: i64, messages: &[WatchMessage]) -> &mut Self {
        self.call(process, "watch", watch, Watched { created_at, messages: messages.to_vec(), error: None })
    }
}

fn alone(scene: &Scene) -> Verdict {
    check_with(&scene.history(), Options { alone: true })
}

#[test]
fn nothing_is_nothing_to_check() {
    assert_eq!(check(&Scene::new().history()).valid, Validity::NothingToCheck);
}

#[test]
fn writes_and_reads_that_fit_are_good() {
    let mut scene = Scene::new();
    scene.kv(1, get("a"), read(1, &[])).kv(1, put("a", "1"), done(2)).kv(2, put("b", "2"), done(3)).kv(1, put("a", "3"), done(4));
    scene.kv(2, get("a"), read(4, &[kv("a", "3", 2, 4, 2)])).kv(2, get_at("a", 3), read(4, &[kv("a", "1", 2, 2, 1)]));
    scene.kv(3, stale("a"), read(2, &[kv("a", "1", 2, 2, 1)]));
    scene.kv(1, delete("a"), deleted(5, 1)).kv(1, delete("a"), deleted(5, 0)).kv(1, get("a"), read(5, &[]));
    scene.kv(1, put("a", "9"), done(6)).kv(1, get("a"), read(6, &[kv("a", "9", 6, 6, 1)]));
    valid(&alone(&scene));
    let timeline = timeline(&scene.history(), Options { alone: true }).unwrap();
    let revisions: Vec<i64> = timeline.transactions().unwrap().into_iter().map(|(revision, _)| revision).collect();
    assert_eq!(revisions, [2, 3, 4, 5, 6]);
}

#[test]
fn a_stale_read_is_bad_unless_it_was_asked_for() {
    let mut scene = Scene::new();
    scene.kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3)).kv(2, stale("a"), read(2, &[kv("a", "1", 2, 2, 1)]));
    valid(&check(&scene.history()));
    scene.kv(2, get("a"), read(2, &[kv("a", "1", 2, 2, 1)]));
    invalid(&check(&scene.history()), "an answer has revision 2, though revision 3");
}

#[test]
fn a_read_of_another_value_is_bad() {
    let mut scene = Scene::new();
    scene.kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3)).kv(2, stale("a"), read(3, &[kv("a", "1", 2, 2, 1)]));
    invalid(&check(&scene.history()), "the answer at revision 3 does not fit");
}

#[test]
fn transactions_compare_what_is_there() {
    let cas = |expected, value: &str| {
        let compares = vec![Compare::ModRevision("a".into(), expected)];
        Request::Txn(Txn {
            compares,
            then: vec![put_op("a", value, 0)],
            otherwise: vec![Op::Range(Range { key: "a".into(), ..Range::default() })],
        })
    };
    let lost = |revision, found: KeyValue| {
        let results = vec![OpResult::Range(Ranged { kvs: vec![found], count: 1 })];
        Answer { revision, result: Result::Txn { succeeded: false, results } }
    };
    let mut scene = Scene::new();
    scene.kv(1, cas(0, "1"), done(2)).kv(1, cas(2, "2"), done(3)).kv(2, cas(2, "3"), lost(3, kv("a", "2", 2, 3, 2)));
    valid(&alone(&scene));
    let mut both = Scene::new();
    both.kv(1, cas(0, "1"), done(2)).kv(1, cas(2, "2"), done(3)).kv(2, cas(2, "3"), done(4));
    invalid(&alone(&both), "the transaction at revision 4");
    let mut neither = Scene::new();
    neither.kv(1, cas(0, "1"), done(2)).kv(2, cas(2, "3"), lost(2, kv("a", "1", 2, 2, 1)));
    invalid(&alone(&neither), "the answer at revision 2 does not fit");
}

#[test]
fn a_write_that_nobody_knows_of_is_placed_where_it_was_seen() {
    let mut scene = Scene::new();
    scene.kv(1, put("a", "1"), done(2)).unknown(2, put("a", "2")).kv(1, put("b", "1"), done(3));
    scene.kv(1, get("a"), read(4, &[kv("a", "2", 2, 4, 2)]));
    valid(&alone(&scene));
    scene.kv(1, get("a"), read(4, &[kv("a", "1", 2, 2, 1)]));
    invalid(&alone(&scene), "does not fit");
}

#[test]
fn a_write_that_nobody_saw_is_placed_where_versions_ask_for_it() {
    let mut scene = Scene::new();
    scene.kv(1, put("a", "1"), done(2)).unknown(2, put("a", "2")).unknown(3, put("a", "3")).kv(1, put("a", "4"), done(5));
    scene.kv(1, get("a"), read(5, &[kv("a", "4", 2, 5, 4)]));
    valid(&alone(&scene));
    let mut bad = Scene::new();
    bad.kv(1, put("a", "1"), done(2)).unknown(2, put("a", "2")).kv(1, put("a", "4"), done(5)).kv(
        1,
        get("a"),
        read(5, &[kv("a", "4", 2, 5, 4)]),
    );
    invalid(&alone(&bad), "at revision 5 was seen a=\"4\"");
}

#[test]
fn a_deletion_that_nobody_knows_of_explains_a_key_that_is_gone() {
    let mut scene = Scene::new();
    scene.kv(1, put("a", "1"), done(2)).unknown(2, delete("a")).kv(1, get("a"), read(2, &[kv("a", "1", 2, 2, 1)])).kv(
        1,
        get("a"),
        read(3, &[]),
    );
    valid(&alone(&scene));
    let mut bad = Scene::new();
    bad.kv(1, put("a", "1"), done(2)).kv(1, get("a"), read(3, &[])).unknown(2, delete("a"));
    invalid(&alone(&bad), "does not fit");
}

#[test]
fn a_lease_that_runs_out_takes_all_its_keys() {
    let lease = |key: &str| KeyValue { lease: 7, ..kv(key, "1", 2, 2, 1) };
    let grant = Answer { revision: 1, result: Result::Lease { ttl: 5 } };
    let both = Request::Txn(Txn { then: vec![put_op("a", "1", 7), put_op("b", "1", 7)], ..Txn::default() });
    let two = Answer { revision: 2, result: Result::Txn { succeeded: true, results: vec![OpResult::Put, OpResult::Put] } };
    let mut scene = Scene::new();
    scene.kv(1, Request::Grant { id: 7, ttl: 5 }, grant).kv(1, both, two).kv(1, get("a"), read(2, &[lease("a")]));
    let mut half = Scene { entries: scene.entries.clone(), ..Scene::default() };
    scene.kv(1, get("a"), read(3, &[])).kv(1, get("b"), read(3, &[]));
    valid(&alone(&scene));
    half.kv(1, get("a"), read(3, &[])).kv(1, get("b"), read(3, &[lease("b")]));
    invalid(&alone(&half), "does not fit");
}

#[test]
fn what_watches_saw_must_have_been_asked_for() {
    let mut scene = Scene::new();
    scene.kv(1, put("a", "1"), done(2)).unknown(2, put("a", "2"));
    let now = scene.now();
    scene.watched(9, all(1), 1, &[message(now, 3, &[event(kv("a", "1", 2, 2, 1)), event(kv("a", "2", 2, 3, 2))])]);
    valid(&alone(&scene));
    scene.watched(9, all(3), 1, &[message(now, 4, &[event(kv("a", "5", 2, 4, 3))])]);
    invalid(&alone(&scene), "what nobody can have written");
}

#[test]
fn what_was_refused_must_not_be_seen() {
    let mut scene = Scene::new();
    scene.kv(1, put("a", "1"), refused("etcdserver: mvcc: required revision has been compacted")).kv(
        1,
        get("a"),
        read(2, &[kv("a", "1", 2, 2, 1)]),
    );
    invalid(&alone(&scene), "was refused, and yet it was seen");
}

#[test]
fn compacted_revisions_are_refused_and_no_others() {
    let compacted = || refused("etcdserver: mvcc: required revision has been compacted");
    let mut scene = Scene::new();
    scene.kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3)).kv(1, put("a", "3"), done(4));
    let mut early = Scene { entries: scene.entries.clone(), ..Scene::default() };
    scene.kv(1, Request::Compact { revision: 3 }, Answer { revision: 4, result: Result::Done });
    scene.kv(1, get_at("a", 2), compacted()).kv(1, get_at("a", 3), read(4, &[kv("a", "2", 2, 3, 2)]));
    valid(&alone(&scene));
    scene.kv(1, get_at("a", 2), read(4, &[kv("a", "1", 2, 2, 1)]));
    invalid(&alone(&scene), "after all before 3 had been compacted");
    early.kv(1, get_at("a", 2), compacted());
    invalid(&alone(&early), "nobody compacted past it");
}

#[test]
fn where_we_are_alone_every_revision_has_a_writer() {
    let mut scene = Scene::new();
    scene.kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(4));
    valid(&check(&scene.history()));
    invalid(&alone(&scene), "nobody wrote at revision 3");
}

#[test]
fn two_writes_have_two_revisions() {
    let mut scene = Scene::new();
    scene.invoke(1, "kv", put("a", "1")).invoke(2, "kv", put("b", "1")).ok(1, "kv", done(2)).ok(2, "kv", done(2));
    invalid(&check(&scene.history()), "two writes have revision 2");
}
