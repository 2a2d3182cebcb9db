//! Histories of a store that works, and of one that does not.

use super::Scene;
use super::kv::{all, delete, get, get_at, put, put_op, stale};
use crate::check::kv::store::{Store, branch, changed};
use crate::check::kv::{Options, check_with};
use crate::check::wgl::{Model, Search, search};
use crate::check::{Validity, available, kv as checker, lease, revisions, watch};
use crate::history::{Entry, History, Phase, Process};
use crate::kv::{Answer, Compare, Event, Op, Range, Request, Result, Txn, WatchMessage, Watched};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// etcd, one call after the other.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Etcd {
    store: Store,
    revision: i64,
}

impl Etcd {
    fn new() -> Self {
        Self { store: Store::default(), revision: 1 }
    }

    fn ask(&mut self, request: &Request) -> Answer {
        let result = match request {
            Request::Range(range) => Result::Range(self.store.range(range)),
            Request::Txn(txn) => {
                let succeeded = self.store.compare(txn);
                let results = self.store.run(branch(txn, succeeded), self.revision + 1);
                self.revision += i64::from(changed(&results));
                Result::Txn { succeeded, results }
            }
            Request::Revoke { id } => {
                let keys = self.store.leased(*id).len();
                self.store.end(*id, self.revision + 1);
                self.revision += i64::from(keys > 0);
                Result::Done
            }
            Request::Grant { ttl, .. } => Result::Lease { ttl: *ttl },
            _ => Result::Done,
        };
        Answer { revision: self.revision, result }
    }
}

/// The same as a model, for the search that knows nothing of revisions.
struct Slow;

impl Model for Slow {
    type State = Etcd;
    type Request = Request;
    type Answer = Answer;

    fn step(&self, state: &Etcd, request: &Request, answer: Option<&Answer>) -> Option<Etcd> {
        let mut next = state.clone();
        let expected = next.ask(request);
        answer.is_none_or(|answer| *answer == expected).then_some(next)
    }
}

/// What a client does: what, with which key, and for how long.
#[derive(Debug, Clone)]
struct Doing {
    client: u64,
    what: u8,
    key: u8,
    /// The end is unknown: 0 it did not happen, 1 it did.
    end: u8,
    before: u8,
    after: u8,
}

fn doings(most: usize) -> impl Strategy<Value = Vec<Doing>> {
    let one = (0u64..4, 0u8..12, 0u8..3, 0u8..14, 0u8..6, 0u8..6);
    let one = one.prop_map(|(client, what, key, end, before, after)| Doing { client, what, key, end, before, after });
    prop::collection::vec(one, 1..most)
}

/// The request: of a client that knows what it last saw of the key.
fn request(doing: &Doing, n: usize, etcd: &Etcd) -> Request {
    let key = ["a", "b", "c"][usize::from(doing.key)];
    let value = n.to_string();
    let compare = |revision| vec![Compare::ModRevision(key.into(), revision)];
    match doing.what {
        0..=2 => put(key, &value),
        3 => delete(key),
        4 => Request::Txn(Txn { then: vec![put_op("a", &value, 0), put_op("b", &value, 0)], ..Txn::default() }),
        5 => {
            let revision = etcd.store.get(key).map_or(0, |kv| kv.mod_revision);
            Request::Txn(Txn { compares: compare(revision), then: vec![put_op(key, &value, 0)], ..Txn::default() })
        }
        6 => {
            let otherwise = vec![Op::Range(Range { key: key.into(), ..Range::default() })];
            Request::Txn(Txn { compares: compare(0), then: vec![put_op(key, &value, 5)], otherwise })
        }
        7 => Request::Revoke { id: 5 },
        8 => get_at(key, (etcd.revision - 1).max(1)),
        9 => Request::Range(Range { key: "a".into(), end: Some("z".into()), ..Range::default() }),
        10 => Request::Txn(Txn { then: vec![Op::Delete { key: "a".into(), end: Some("c".into()) }], ..Txn::default() }),
        _ => get(key),
    }
}

fn history(doings: &[Doing]) -> History {
    run(doings).0
}

/// Adds a watch that was told everything.
fn testify(history: &mut History, etcd: &Etcd) {
    let mut messages: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    for (revision, key) in etcd.store.changes() {
        let event = match etcd.store.at(key, revision) {
            Some(kv) => super::kv::event(kv.clone()),
            None => super::kv::gone(key, revision),
        };
        messages.entry(revision).or_default().push(event);
    }
    let time = history.entries.last().map_or(0, |entry| entry.time) + 1;
    let message = |(revision, events)| WatchMessage { time, revision, events, compact_revision: 0 };
    let watched = Watched { created_at: 1, messages: messages.into_iter().map(message).collect(), error: None };
    for (phase, value) in [(Phase::Invoke, serde_json::to_value(all(1))), (Phase::Ok, serde_json::to_value(watched))] {
        let (index, process, f, value) = (history.entries.len(), Process::Client(99), "watch".to_owned(), value.unwrap());
        history.entries.push(Entry { index, time, process, node: None, phase, f, value, error: None });
    }
}

/// Runs a store that works. Calls take effect in the order of `doings`, and overlap as these say.
fn run(doings: &[Doing]) -> (History, Etcd) {
    let mut etcd = Etcd::new();
    let mut entries: Vec<(u64, Process, Phase, serde_json::Value)> = Vec::new();
    let mut free: BTreeMap<u64, u64> = BTreeMap::new();
    for (n, doing) in doings.iter().enumerate() {
        let at = 100 + n as u64 * 10;
        let request = request(doing, n, &etcd);
        let begun = (at - u64::from(doing.before) * 10).max(free.get(&doing.client).copied().unwrap_or(0) + 1);
        if begun >= at {
            continue;
        }
        let ended = at + 5 + u64::from(doing.after) * 10;
        let process = Process::Client(doing.client);
        entries.push((begun, process, Phase::Invoke, serde_json::to_value(&request).unwrap()));
        let answer = (doing.end != 0).then(|| etcd.ask(&request));
        match answer.filter(|_| doing.end > 1) {
            Some(answer) => entries.push((ended, process, Phase::Ok, serde_json::to_value(answer).unwrap())),
            None => entries.push((ended, process, Phase::Info, serde_json::Value::Null)),
        }
        free.insert(doing.client, ended);
    }
    entries.sort_by_key(|(time, ..)| *time);
    let entry = |(index, (time, process, phase, value)): (usize, (u64, Process, Phase, serde_json::Value))| Entry {
        index,
        time: time * 16 + index as u64 % 16,
        process,
        node: None,
        phase,
        f: "kv".into(),
        value,
        error: None,
    };
    (History { entries: entries.into_iter().enumerate().map(entry).collect() }, etcd)
}

/// Whether there is an order, by trying.
fn possible(history: &History) -> Option<bool> {
    let calls = history.calls::<Request, Answer>("kv").unwrap();
    match search(&Slow, Etcd::new(), &calls.iter().collect::<Vec<_>>(), 300_000) {
        Search::Found(_) => Some(true),
        Search::Impossible { .. } => Some(false),
        Search::GaveUp => None,
    }
}

/// Breaks one answer.
fn corrupt(history: &mut History, which: usize, how: u8) -> bool {
    let answers: Vec<usize> = history.entries.iter().filter(|entry| entry.phase == Phase::Ok).map(|entry| entry.index).collect();
    let Some(index) = (!answers.is_empty()).then(|| answers[which % answers.len()]) else { return false };
    let entry = &mut history.entries[index];
    let mut answer: Answer = serde_json::from_value(entry.value.clone()).unwrap();
    match (&mut answer.result, how) {
        (_, 0) => answer.revision -= 1,
        (_, 1) => answer.revision += 1,
        (Result::Range(ranged), 2) => {
            ranged.kvs.pop();
            ranged.count = ranged.kvs.len() as i64;
        }
        (Result::Range(ranged), 3) => ranged.kvs.iter_mut().for_each(|kv| kv.version += 1),
        (Result::Range(ranged), 4) => ranged.kvs.iter_mut().for_each(|kv| kv.value = "lost".into()),
        (Result::Txn { succeeded, .. }, 2..=4) => *succeeded = !*succeeded,
        _ => return false,
    }
    entry.value = serde_json::to_value(&answer).unwrap();
    answer.revision > 0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_a_store_that_works_does_is_good(doings in doings(60)) {
        let history = history(&doings);
        let verdict = check_with(&history, Options { alone: true });
        prop_assert_ne!(verdict.valid, Validity::Invalid, "{}", verdict);
    }

    /// With a watch of everything there is nothing to guess.
    #[test]
    fn with_a_witness_there_is_no_doubt(doings in doings(60)) {
        let (mut history, etcd) = run(&doings);
        testify(&mut history, &etcd);
        let verdict = check_with(&history, Options { alone: true });
        prop_assert!(matches!(verdict.valid, Validity::Valid | Validity::NothingToCheck), "{}", verdict);
        let transactions = checker::timeline(&history, Options { alone: true }).unwrap().transactions().unwrap();
        prop_assert_eq!(transactions.len() as i64, etcd.revision - 1);
    }

    /// An event that is left out, told twice, told too late or told wrong is always found, if something comes after it.
    #[test]
    fn a_watch_that_is_wrong_is_found(doings in doings(60), which in 0usize..1000, how in 0u8..4) {
        let (mut history, etcd) = run(&doings);
        testify(&mut history, &etcd);
        // A second watch, so that what the first one does not tell is known.
        let mut other: Vec<Entry> = history.entries.iter().filter(|entry| entry.f == "watch").cloned().collect();
        let mut watched: Watched = serde_json::from_value(other[1].value.clone()).unwrap();
        prop_assert_ne!(watch::check(&history).valid, Validity::Invalid);
        let messages = watched.messages.len();
        if messages < 2 {
            return Ok(());
        }
        let place = which % (messages - 1);
        match how {
            0 => _ = watched.messages.remove(place),
            1 => watched.messages.insert(place, watched.messages[place].clone()),
            2 => watched.messages.swap(place, messages - 1),
            _ => watched.messages[place].events[0].kv.mod_revision += 1,
        }
        other[1].value = serde_json::to_value(watched).unwrap();
        for mut entry in other {
            (entry.index, entry.process) = (history.entries.len(), Process::Client(98));
            history.entries.push(entry);
        }
        prop_assert_eq!(watch::check(&history).valid, Validity::Invalid);
    }

    /// What revisions decide is what trying every order comes to.
    #[test]
    fn it_agrees_with_a_search_that_knows_no_revisions(doings in doings(14), which in 0usize..100, how in 0u8..5) {
        let mut history = history(&doings);
        if !corrupt(&mut history, which, how) {
            return Ok(());
        }
        let Some(possible) = possible(&history) else { return Ok(()) };
        let verdict = check_with(&history, Options { alone: true });
        prop_assert!(verdict.valid != Validity::Invalid || !possible, "{}", verdict);
        // Where a revision has no known writer, only the number of those who may have written is looked at.
        let highest = history.calls::<Request, Answer>("kv").unwrap().iter().filter_map(|call| Some(call.answer()?.revision)).max();
        let timeline = checker::timeline(&history, Options { alone: true }).unwrap();
        let whole = timeline.transactions().is_some() && timeline.changes.keys().max().copied().unwrap_or(1) >= highest.unwrap_or(1);
        prop_assert!(verdict.valid != Validity::Valid || possible || !whole, "{:#?}", history.entries);
    }
}

/// A history of so many calls by clients that overlap, with a watch of everything.
fn long(calls: usize, keys: u64, one_in: u64) -> History {
    let mut etcd = Etcd::new();
    let mut scene = Scene::new();
    let mut seed = 1u64;
    let mut dice = |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    let mut open: Vec<Option<(Request, Option<Answer>)>> = vec![None; 16];
    for n in 0..calls {
        let client = dice(16);
        if let Some((_, answer)) = open[client as usize].take() {
            match answer {
                Some(answer) => scene.ok(client, "kv", answer),
                None => scene.info(client, "kv"),
            };
        }
        let key = format!("k{}", dice(keys));
        let request = match dice(10) {
            0..=4 => put(&key, &n.to_string()),
            5 => delete(&key),
            6 => stale(&key),
            7 => Request::Range(Range { key: "k".into(), end: Some("l".into()), ..Range::default() }),
            _ => get(&key),
        };
        scene.invoke(client, "kv", &request);
        let happened = dice(one_in);
        let answer = (happened > 0).then(|| etcd.ask(&request)).filter(|_| happened > 1);
        open[client as usize] = Some((request, answer));
    }
    let mut history = scene.history();
    testify(&mut history, &etcd);
    history
}

/// What takes seconds would take hours if a checker looked at every pair.
#[test]
fn a_hundred_thousand_calls_are_judged() {
    let history = long(100_000, 50, 200);
    for judge in
        [|history: &History| check_with(history, Options { alone: true }), revisions::check, watch::check, lease::check, available::check]
    {
        let verdict = judge(&history);
        assert!(matches!(verdict.valid, Validity::Valid | Validity::NothingToCheck), "{verdict}");
    }
}

/// Without a watch, and with many calls that nobody knows the end of, one lost write is still found for certain.
#[test]
fn a_lost_write_among_many_unknown_ones_is_found() {
    let mut history = long(20_000, 50, 200);
    history.entries.retain(|entry| entry.f == "kv");
    assert_ne!(check_with(&history, Options::default()).valid, Validity::Invalid);
    let old =
        |entry: &&mut Entry| entry.index > 15_000 && entry.phase == Phase::Ok && entry.value.pointer("/result/range/kvs/0/value").is_some();
    let entry = history.entries.iter_mut().find(old).unwrap();
    let mut answer: Answer = serde_json::from_value(entry.value.clone()).unwrap();
    if let Result::Range(ranged) = &mut answer.result {
        ranged.kvs[0].value = "lost".into();
        ranged.kvs[0].mod_revision -= 1;
    }
    entry.value = serde_json::to_value(answer).unwrap();
    assert_eq!(check_with(&history, Options::default()).valid, Validity::Invalid);
}

/// Five keys that everybody writes, and a fifth of the ends unknown: what takes moments would take for ever if all orders were tried.
#[test]
fn many_unknown_ends_on_few_keys_are_judged() {
    for witness in [true, false] {
        let mut history = long(20_000, 5, 10);
        history.entries.retain(|entry| witness || entry.f == "kv");
        let verdict = check_with(&history, Options::default());
        assert_ne!(verdict.valid, Validity::Invalid, "{verdict}");
        assert!(!witness || verdict.valid == Validity::Valid, "{verdict}");
    }
}
