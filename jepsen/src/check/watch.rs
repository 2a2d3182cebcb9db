//! Watches: told in order, once, all of it, whole revisions at a time; and a watch that broke can be taken up where it ended.
//!
//! The operation is `watch`, a [`Watch`] with what it was told, a [`Watched`](crate::kv::Watched), when it ends. What there was to tell is
//! known from `kv` answers and from all watches together.

use super::kv::sightings::{Calls, Sightings, WatchCall};
use super::kv::store::{branch, changed, covers};
use super::kv::{self, Options};
use super::{Judge, Verdict};
use crate::history::{History, Process};
use crate::kv::{Answer, Event, Op, OpResult, Request, Result, Watch, WatchMessage};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Every change that is known: by revision the keys, with an entry that shows it.
struct Known {
    changes: BTreeMap<i64, BTreeMap<String, usize>>,
    of_key: HashMap<String, BTreeSet<i64>>,
    compacted: bool,
}

impl Known {
    fn of(history: &History, calls: &Calls, sightings: &Sightings) -> Self {
        let mut written = HashSet::new();
        let mut known = Self { changes: BTreeMap::new(), of_key: HashMap::new(), compacted: false };
        for (revision, shown) in &sightings.shown {
            shown.iter().for_each(|(key, shown)| known.add(*revision, key, shown.index));
        }
        for call in &calls.kv {
            let Some(Answer { revision, result }) = call.answer() else { continue };
            let index = call.returned.unwrap_or(call.invoked);
            match (&call.request, result) {
                (Request::Txn(txn), Result::Txn { succeeded, results }) if changed(results) => {
                    written.insert(*revision);
                    for (op, result) in branch(txn, *succeeded).iter().zip(results) {
                        match (op, result) {
                            (Op::Put { key, .. }, _) | (Op::Delete { key, end: None }, OpResult::Deleted(1)) => {
                                known.add(*revision, key, index);
                            }
                            _ => {}
                        }
                    }
                }
                (Request::Compact { .. }, Result::Done) => known.compacted = true,
                _ => {}
            }
        }
        // The timeline knows, of ranges that were deleted, which keys there were.
        if let Ok(timeline) = kv::timeline(history, Options::default())
            && timeline.whole
        {
            for (revision, changes) in timeline.changes.iter().filter(|(revision, _)| written.contains(revision)) {
                changes.iter().for_each(|(key, _)| known.add(*revision, key, 0));
            }
        }
        known
    }

    fn add(&mut self, revision: i64, key: &str, index: usize) {
        self.changes.entry(revision).or_default().entry(key.to_owned()).or_insert(index);
        self.of_key.entry(key.to_owned()).or_default().insert(revision);
    }
}

/// A watch, while it is looked at.
struct Told<'a> {
    watch: &'a Watch,
    name: String,
    index: usize,
    start: i64,
    /// The last revision of an event, and of a word on progress.
    last_event: i64,
    progress: i64,
    events: HashSet<(i64, &'a str)>,
}

/// Judges the watches of a history.
pub fn check(history: &History) -> Verdict {
    check_with(history, None)
}

/// Judges the watches of a history. With `tail_seconds`, a watch that its client ended must by then have been told everything that was
/// seen so many seconds before, if nothing was broken meanwhile.
pub fn check_with(history: &History, tail_seconds: Option<f64>) -> Verdict {
    let calls = match Calls::of(history) {
        Ok(calls) => calls,
        Err(error) => return Verdict::malformed("watch", &error),
    };
    let mut judge = Judge::new("watch");
    let sightings = Sightings::of(&calls);
    let known = Known::of(history, &calls, &sightings);
    let mut events = 0;
    for call in &calls.watches {
        let (Some(watched), Some(index)) = (call.answer(), call.returned) else { continue };
        judge.checked(1);
        let start = if call.request.from > 0 { call.request.from } else { watched.created_at + 1 };
        let name = format!("{} from {start}", if call.request.watcher.is_empty() { "a watch" } else { call.request.watcher.as_str() });
        let mut told = Told { watch: &call.request, name, index, start, last_event: 0, progress: 0, events: HashSet::new() };
        for (place, message) in watched.messages.iter().enumerate() {
            // The last word of a watch that was ended is no word on progress.
            let farewell = watched.error.is_some() && place + 1 == watched.messages.len() && message.events.is_empty();
            if !farewell || message.compact_revision > 0 {
                told.hear(&mut judge, &known, message);
            }
        }
        events += told.events.len();
        let until = told.last_event.max(told.progress).max(tail(history, call, &sightings, tail_seconds));
        told.check_whole(&mut judge, &known, until);
    }
    for contradiction in &sightings.contradictions {
        let what = format!("{} at revision {} was told in two ways", contradiction.key, contradiction.revision);
        judge.wrong(what, [contradiction.one.index, contradiction.other.index]);
    }
    judge.stat("events", events);
    judge.verdict()
}

/// The revision that a watch must have come to when its client ended it.
fn tail(history: &History, call: &WatchCall, sightings: &Sightings, tail_seconds: Option<f64>) -> i64 {
    let (Some(seconds), Some(ended), Some(None)) = (tail_seconds, call.ended, call.answer().map(|watched| watched.error.as_ref())) else {
        return 0;
    };
    let from = ended.saturating_sub((seconds * 1e9) as u64);
    let compacted = call.answer().is_some_and(|watched| watched.messages.iter().any(|message| message.compact_revision > 0));
    let quiet = |entry: &&crate::history::Entry| entry.process == Process::Nemesis && entry.time > from && entry.time < ended;
    if compacted || call.begun > from || history.entries.iter().any(|entry| quiet(&entry)) {
        return 0;
    }
    sightings.seen_before(from).0
}

impl<'a> Told<'a> {
    fn hear(&mut self, judge: &mut Judge, known: &Known, message: &'a WatchMessage) {
        let name = self.name.clone();
        let index = self.index;
        let mut wrong = |what: String| judge.wrong(format!("{name}: {what}"), [index]);
        if message.compact_revision > 0 {
            let next = self.start.max(self.last_event + 1);
            if next >= message.compact_revision {
                wrong(format!("it was ended as compacted at {}, though {next} was still there", message.compact_revision));
            }
            return;
        }
        let Some(first) = message.events.first() else {
            if message.revision < self.progress {
                wrong(format!("progress went back from {} to {}", self.progress, message.revision));
            }
            if self.watch.from > 0 && message.revision < self.watch.from - 1 {
                wrong(format!("progress was told up to {}, before it begins", message.revision));
            }
            self.progress = self.progress.max(message.revision);
            return;
        };
        if first.kv.mod_revision == self.last_event {
            wrong(format!("revision {} was told in two parts", self.last_event));
        }
        for event in &message.events {
            let (revision, key) = (event.kv.mod_revision, event.kv.key.as_str());
            if revision < self.last_event {
                wrong(format!("{key} at revision {revision} was told after revision {}", self.last_event));
            }
            if revision <= self.progress {
                wrong(format!("{key} at revision {revision} was told after progress up to {}", self.progress));
            }
            if revision < self.start {
                wrong(format!("{key} at revision {revision} was told, before it begins"));
            }
            if revision > message.revision {
                wrong(format!("{key} at revision {revision} was told in a message of revision {}", message.revision));
            }
            if !self.events.insert((revision, key)) {
                wrong(format!("{key} at revision {revision} was told twice"));
            }
            if !covers(&self.watch.key, self.watch.end.as_deref(), key) {
                wrong(format!("{key} was told, which it does not watch"));
            }
            if let Some(what) = self.event_is_odd(known, event) {
                wrong(format!("{key} at revision {revision}: {what}"));
            }
            self.last_event = self.last_event.max(revision);
        }
    }

    /// What is wrong with an event by itself: its numbers, and what it says was before.
    fn event_is_odd(&self, known: &Known, Event { deleted, kv, prev }: &Event) -> Option<String> {
        let made = kv.create_revision == kv.mod_revision;
        if !deleted && (kv.version < 1 || kv.create_revision > kv.mod_revision || made != (kv.version == 1)) {
            return Some(format!("made at {}, version {}", kv.create_revision, kv.version));
        }
        let Some(prev) = prev else {
            // What was before a compaction may be gone.
            let was = *deleted || kv.version > 1;
            return (self.watch.prev_kv && was && !known.compacted).then(|| "it does not say what was before".to_owned());
        };
        if !deleted && kv.version == 1 {
            return Some(format!("it was made then, and still there was {:?} before", prev.value));
        }
        let follows = prev.key == kv.key
            && prev.mod_revision < kv.mod_revision
            && (*deleted || (prev.version + 1 == kv.version && prev.create_revision == kv.create_revision));
        let between = known
            .of_key
            .get(&kv.key)
            .and_then(|of_key| of_key.range(prev.mod_revision + 1..kv.mod_revision.max(prev.mod_revision + 1)).next());
        match (follows, between) {
            (false, _) => {
                Some(format!("what was before, of revision {} and version {}, does not come before it", prev.mod_revision, prev.version))
            }
            (true, Some(between)) => Some(format!("what was before is of revision {}, but there was one of {between}", prev.mod_revision)),
            (true, None) => None,
        }
    }

    /// Whether everything from the first to the last revision was told.
    fn check_whole(&self, judge: &mut Judge, known: &Known, until: i64) {
        if until < self.start {
            return;
        }
        for (revision, keys) in known.changes.range(self.start..=until) {
            for (key, shows) in keys.iter().filter(|(key, _)| covers(&self.watch.key, self.watch.end.as_deref(), key)) {
                if !self.events.contains(&(*revision, key.as_str())) {
                    judge.wrong(
                        format!("{}: {key} at revision {revision} was not told, and it came to {until}", self.name),
                        [self.index, *shows],
                    );
                }
            }
        }
    }
}
