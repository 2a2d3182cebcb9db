//! What was seen of the store: which revision showed which contents, and by when a revision was there.

use crate::history::{Call, History, Malformed};
use crate::kv::{Answer, Event, KeyValue, OpResult, Request, Result, Watch, Watched};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A call for keys and values.
pub(crate) type KvCall = Call<Request, Answer>;
/// A watch.
pub(crate) type WatchCall = Call<Watch, Watched>;

/// Contents of a key at the revision of a change, as somebody saw them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// What it was changed to; none if it was deleted.
    pub(crate) value: Option<KeyValue>,
    /// The entry that shows it.
    pub(crate) index: usize,
}

/// Two who saw different contents of one key at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contradiction {
    pub(crate) key: String,
    pub(crate) revision: i64,
    pub(crate) one: Shown,
    pub(crate) other: Shown,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    /// By revision and key.
    pub(crate) shown: BTreeMap<i64, BTreeMap<String, Shown>>,
    /// Where sightings do not agree.
    pub(crate) contradictions: Vec<Contradiction>,
    /// Revisions that were seen by a time: the time, the highest revision by then, and the entry that shows it. Times and revisions rise.
    floors: Vec<(u64, i64, usize)>,
}

/// The calls of a history that tell of keys.
pub(crate) struct Calls {
    pub(crate) kv: Vec<KvCall>,
    pub(crate) watches: Vec<WatchCall>,
}

impl Calls {
    pub(crate) fn of(history: &History) -> std::result::Result<Self, Malformed> {
        Ok(Self { kv: history.calls("kv")?, watches: history.calls("watch")? })
    }

    /// The keys that are put by `kv` calls: those whose every change is in the history.
    pub(crate) fn keys(&self) -> HashSet<&str> {
        let txns = self.kv.iter().filter_map(|call| if let Request::Txn(txn) = &call.request { Some(txn) } else { None });
        txns.flat_map(super::store::puts).map(|(key, _)| key).collect()
    }
}

/// The keys that an answer shows.
pub(crate) fn shown(answer: &Answer) -> impl Iterator<Item = &KeyValue> {
    let (alone, results) = match &answer.result {
        Result::Range(ranged) => (Some(ranged), &[][..]),
        Result::Txn { results, .. } => (None, results.as_slice()),
        Result::Lease { .. } | Result::Done | Result::Refused(_) => (None, &[][..]),
    };
    let within = results.iter().filter_map(|result| if let OpResult::Range(ranged) = result { Some(ranged) } else { None });
    alone.into_iter().chain(within).flat_map(|ranged| &ranged.kvs)
}

impl Sightings {
    pub(crate) fn of(calls: &Calls) -> Self {
        let mut sightings = Self::default();
        let mut times: Vec<(u64, i64, usize)> = Vec::new();
        for call in &calls.kv {
            let (Some(answer), Some(index), Some(ended)) = (call.answer(), call.returned, call.ended) else { continue };
            times.push((ended, answer.revision, index));
            for kv in shown(answer) {
                sightings.add(kv.mod_revision, &kv.key, Some(kv), index);
            }
        }
        for call in &calls.watches {
            let (Some(watched), Some(index)) = (call.answer(), call.returned) else { continue };
            for message in &watched.messages {
                let highest = message.events.iter().map(|event| event.kv.mod_revision).max().unwrap_or(0);
                times.push((message.time, message.revision.max(highest), index));
                for event in &message.events {
                    sightings.add_event(event, index);
                }
            }
        }
        times.sort_unstable();
        let mut highest = 0;
        times.retain(|(_, revision, _)| {
            let more = *revision > highest;
            highest = highest.max(*revision);
            more
        });
        sightings.floors = times;
        sightings
    }

    fn add_event(&mut self, event: &Event, index: usize) {
        self.add(event.kv.mod_revision, &event.kv.key, Some(&event.kv).filter(|_| !event.deleted), index);
        if let Some(prev) = &event.prev {
            self.add(prev.mod_revision, &prev.key, Some(prev), index);
        }
    }

    fn add(&mut self, revision: i64, key: &str, value: Option<&KeyValue>, index: usize) {
        match self.shown.entry(revision).or_default().entry(key.to_owned()) {
            Entry::Vacant(place) => _ = place.insert(Shown { value: value.cloned(), index }),
            Entry::Occupied(place) if place.get().value.as_ref() == value => {}
            Entry::Occupied(place) => {
                let (one, other) = (place.get().clone(), Shown { value: value.cloned(), index });
                self.contradictions.push(Contradiction { key: key.to_owned(), revision, one, other });
            }
        }
    }

    /// The highest revision that somebody had seen before a time, and the entry that shows it.
    pub(crate) fn seen_before(&self, time: u64) -> (i64, Option<usize>) {
        let place = self.floors.partition_point(|(seen, ..)| *seen < time);
        place.checked_sub(1).and_then(|place| self.floors.get(place)).map_or((0, None), |(_, revision, index)| (*revision, Some(*index)))
    }

    /// The highest revision that anybody saw.
    pub(crate) fn highest(&self) -> i64 {
        self.floors.last().map_or(0, |(_, revision, _)| *revision)
    }

    /// Which key and value was seen to be put, how often.
    pub(crate) fn puts(&self) -> HashMap<(&str, &str), usize> {
        let mut puts = HashMap::new();
        for kv in self.shown.values().flat_map(|keys| keys.values()).filter_map(|shown| shown.value.as_ref()) {
            *puts.entry((kv.key.as_str(), kv.value.as_str())).or_insert(0) += 1;
        }
        puts
    }
}
