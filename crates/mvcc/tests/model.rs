//! The machine against a naive model that keeps every revision of every key.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rows;

use proptest::prelude::*;
use rows::{Host, delete, op, put, range, txn};
use std::collections::BTreeMap;
use tricorn_mvcc::{Error, HistoryLimits, Span};
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::{CompactionRequest, RangeRequest};
use tricorn_proto::mvccpb::event::EventType;
use tricorn_proto::peer::command::Op;

/// A key at one revision: create, mod, version, value.
type Record = (i64, i64, i64, String);
type Snapshot = BTreeMap<String, Record>;

struct Model {
    /// The keys at each revision; the first is revision 1.
    revisions: Vec<Snapshot>,
    compacted: i64,
}

impl Model {
    fn new() -> Self {
        Self { revisions: vec![Snapshot::new()], compacted: -1 }
    }

    fn revision(&self) -> i64 {
        self.revisions.len() as i64
    }

    fn at(&self, revision: i64) -> &Snapshot {
        &self.revisions[usize::try_from(revision - 1).unwrap()]
    }

    fn write(&mut self, change: impl FnOnce(&mut Snapshot, i64) -> bool) {
        let mut next = self.revisions.last().unwrap().clone();
        let revision = self.revision() + 1;
        if change(&mut next, revision) {
            self.revisions.push(next);
        }
    }
}

fn model_put(keys: &mut Snapshot, revision: i64, key: &str, value: &str) {
    let old = keys.get(key);
    let record = (old.map_or(revision, |old| old.0), revision, old.map_or(0, |old| old.2) + 1, value.to_owned());
    keys.insert(key.to_owned(), record);
}

fn model_delete(keys: &mut Snapshot, start: &str, end: &str) -> bool {
    let before = keys.len();
    keys.retain(|key, _| key.as_str() < start || key.as_str() >= end);
    keys.len() != before
}

#[derive(Debug, Clone)]
enum Step {
    Put(String, String),
    Delete(String, String),
    Both(String, String, String),
    Compact(u8),
    Sweep(usize),
}

fn key() -> impl Strategy<Value = String> {
    "[a-d]{1,2}"
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (key(), "[a-z]{0,3}").prop_map(|(key, value)| Step::Put(key, value)),
        2 => (key(), key()).prop_map(|(start, end)| Step::Delete(start, end)),
        2 => (key(), key(), key()).prop_map(|(put, start, end)| Step::Both(put, start, end)),
        1 => any::<u8>().prop_map(Step::Compact),
        1 => (1_usize..9).prop_map(Step::Sweep),
    ]
}

fn run(host: &mut Host, model: &mut Model, step: &Step) {
    match step {
        Step::Put(key, value) => {
            host.put(key, value).answer.unwrap();
            model.write(|keys, revision| {
                model_put(keys, revision, key, value);
                true
            });
        }
        Step::Delete(start, end) => {
            host.delete(start, end).answer.unwrap();
            model.write(|keys, _| model_delete(keys, start, end));
        }
        Step::Both(key, start, end) => {
            if key >= start && key < end {
                return;
            }
            let ops = vec![op(Request::RequestDeleteRange(delete(start, end))), op(Request::RequestPut(put(key, "t")))];
            host.txn(txn(vec![], ops, vec![])).unwrap();
            model.write(|keys, revision| {
                model_delete(keys, start, end);
                model_put(keys, revision, key, "t");
                true
            });
        }
        Step::Compact(share) => {
            let revision = 1 + (model.revision() - 1) * i64::from(*share) / 255;
            let result = host.apply(Op::Compact(CompactionRequest { revision, physical: false })).answer;
            if revision > model.compacted {
                result.unwrap();
                model.compacted = revision;
            } else {
                assert_eq!(result.unwrap_err(), Error::Compacted);
            }
        }
        Step::Sweep(rows) => {
            host.sweep(*rows);
        }
    }
}

fn compare(host: &Host, model: &Model) {
    assert_eq!(host.machine.revision(), model.revision());
    for revision in 1..=model.revision() {
        let request = RangeRequest { revision, ..range("a", "\0") };
        let found = host.reader().range(&request);
        if revision < model.compacted {
            assert_eq!(found.unwrap_err(), Error::Compacted);
            continue;
        }
        let text = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let found: Snapshot = found
            .unwrap()
            .kvs
            .iter()
            .map(|kv| (text(&kv.key), (kv.create_revision, kv.mod_revision, kv.version, text(&kv.value))))
            .collect();
        assert_eq!(&found, model.at(revision), "at {revision}");
        for key in ["a", "b", "cd"] {
            let one = host.reader().range(&RangeRequest { revision, ..range(key, "") }).unwrap();
            assert_eq!(one.count == 1, model.at(revision).contains_key(key), "{key} at {revision}");
        }
    }
    replay(host, model);
}

/// History, read in small pieces, leads from the first readable revision to the present.
fn replay(host: &Host, model: &Model) {
    let start = model.compacted.max(1);
    let mut keys = model.at(start).clone();
    let mut next = start + 1;
    while next <= model.revision() {
        let history = host.reader().history(next, Span::From(b"\0"), HistoryLimits { rows: 2, bytes: 1000 }).unwrap();
        assert!(history.next > next, "it goes on");
        for (revision, events) in &history.revisions {
            for event in events {
                let kv = event.kv.as_ref().unwrap();
                let key = String::from_utf8(kv.key.to_vec()).unwrap();
                assert_eq!(event.prev_kv.as_ref().map(|kv| kv.mod_revision), keys.get(&key).map(|old| old.1), "{key} at {revision}");
                if event.r#type() == EventType::Put {
                    let value = String::from_utf8(kv.value.to_vec()).unwrap();
                    keys.insert(key, (kv.create_revision, kv.mod_revision, kv.version, value));
                } else {
                    keys.remove(&key);
                }
            }
            assert_eq!(&keys, model.at(*revision), "after {revision}");
        }
        next = history.next;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_is_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut host = Host::new();
        let mut model = Model::new();
        for step in &steps {
            run(&mut host, &mut model, step);
        }
        compare(&host, &model);
        let hash = host.reader().hash(0).unwrap();
        while !host.sweep(3) {}
        prop_assert_eq!(host.reader().hash(0).unwrap(), hash);
        compare(&host, &model);
    }
}
