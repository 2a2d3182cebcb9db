//! Where an answer and the replay differ, and what kind of unseen change might be behind it.

use super::sightings::Shown;
use super::store::{Store, branch, covers};
use crate::kv::{Compare, KeyValue, Op, OpResult, Range, Ranged, Txn};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What kind of change that nobody saw could explain a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// None: who saw a key saw its last change.
    Nothing,
    /// The keys went.
    Gone,
    /// The keys were put.
    Put,
    /// Any.
    Any,
}

/// The keys that are not what they should be.
#[derive(Debug, Clone, Default)]
pub(super) struct Difference {
    pub(super) keys: BTreeSet<String>,
    need: Option<Need>,
}

impl Difference {
    pub(super) fn is_none(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn need(&self) -> Need {
        self.need.unwrap_or(Need::Nothing)
    }

    pub(super) fn add(&mut self, key: impl Into<String>, need: Need) {
        self.keys.insert(key.into());
        self.need = Some(match (self.need, need) {
            (None, need) => need,
            (Some(Need::Nothing), _) | (_, Need::Nothing) => Need::Nothing,
            (Some(before), need) if before == need => need,
            _ => Need::Any,
        });
    }
}

pub(super) fn compared_key(compare: &Compare) -> &str {
    match compare {
        Compare::ModRevision(key, _) | Compare::CreateRevision(key, _) | Compare::Version(key, _) | Compare::Value(key, _) => key,
    }
}

/// How to look at answers: with what store, at which keys.
pub(super) struct Lens<'a> {
    pub(super) store: &'a Store,
    pub(super) keys: &'a HashSet<&'a str>,
    pub(super) alone: bool,
}

impl Lens<'_> {
    /// The keys whose comparisons do not come out as they were answered.
    pub(super) fn compares(&self, txn: &Txn, succeeded: bool) -> Difference {
        let mut difference = Difference::default();
        match (self.store.compare(txn), succeeded) {
            (true, false) if txn.compares.is_empty() => difference.add("a transaction without comparisons", Need::Nothing),
            (true, false) => txn.compares.iter().for_each(|compare| difference.add(compared_key(compare), Need::Any)),
            (false, true) => {
                for compare in txn.compares.iter().filter(|compare| !self.store.holds(compare)) {
                    let need = match compare {
                        Compare::ModRevision(_, 0) | Compare::CreateRevision(_, 0) | Compare::Version(_, 0) => Need::Gone,
                        // It was changed after that.
                        Compare::ModRevision(key, revision) if self.store.past(key).last().is_some_and(|(last, _)| last > revision) => {
                            Need::Nothing
                        }
                        _ => Need::Any,
                    };
                    difference.add(compared_key(compare), need);
                }
            }
            _ => {}
        }
        difference
    }

    /// The keys for which a transaction's results are not what they should be.
    pub(super) fn results(&self, txn: &Txn, succeeded: bool, expected: &[OpResult], got: &[OpResult]) -> Difference {
        let mut difference = Difference::default();
        if expected.len() != got.len() {
            difference.add(format!("{} results instead of {}", got.len(), expected.len()), Need::Nothing);
        }
        for ((op, expected), got) in branch(txn, succeeded).iter().zip(expected).zip(got) {
            match (op, expected, got) {
                (Op::Range(range), OpResult::Range(expected), OpResult::Range(got)) => {
                    self.range_into(&mut difference, range, expected, got);
                }
                (Op::Delete { key, end }, OpResult::Deleted(expected), OpResult::Deleted(got)) if expected != got => {
                    let need = if got < expected { Need::Gone } else { Need::Put };
                    self.covered(key, end.as_deref()).for_each(|key| difference.add(key, need));
                }
                (_, OpResult::Put, OpResult::Put) | (_, OpResult::Deleted(_), OpResult::Deleted(_)) => {}
                _ => difference.add("a result of another kind", Need::Nothing),
            }
        }
        difference
    }

    fn covered<'a>(&'a self, key: &'a str, end: Option<&'a str>) -> impl Iterator<Item = &'a str> {
        self.keys.iter().copied().filter(move |other| covers(key, end, other))
    }

    /// The keys that a read does not have as it should.
    pub(super) fn range(&self, range: &Range, expected: &Ranged, got: &Ranged) -> Difference {
        let mut difference = Difference::default();
        self.range_into(&mut difference, range, expected, got);
        difference
    }

    fn range_into(&self, difference: &mut Difference, range: &Range, expected: &Ranged, got: &Ranged) {
        if expected == got {
            return;
        }
        let ours = |ranged: &Ranged| -> BTreeMap<String, KeyValue> {
            let ours = ranged.kvs.iter().filter(|kv| self.alone || self.keys.contains(kv.key.as_str()));
            ours.map(|kv| (kv.key.clone(), kv.clone())).collect()
        };
        let (expected_kvs, got_kvs) = (ours(expected), ours(got));
        let foreign = got_kvs.len() < got.kvs.len();
        let before = difference.keys.len();
        for (key, kv) in &got_kvs {
            if expected_kvs.get(key) != Some(kv) && (self.store.get(key) != Some(kv) || !expected_kvs.contains_key(key)) {
                // Past a limit, a key is where it should not be because another one is not there.
                let is = self.store.get(key) == Some(kv);
                difference.add(key, if is { Need::Gone } else { Need::Nothing });
            }
        }
        for key in expected_kvs.keys().filter(|key| !got_kvs.contains_key(*key)) {
            let cut = range.limit > 0 && got.kvs.last().is_some_and(|last| last.key < *key);
            // Of keys past the limit nothing was said; keys that are not ours may have taken their place.
            if !cut || !foreign {
                difference.add(key, if cut { Need::Put } else { Need::Gone });
            }
        }
        if difference.keys.len() == before && !foreign && (expected.count != got.count || expected.kvs != got.kvs) {
            let need = if got.count < expected.count { Need::Gone } else { Need::Put };
            self.covered(&range.key, range.end.as_deref()).for_each(|key| difference.add(key, need));
            if expected.count == got.count {
                difference.add("the order of keys", Need::Nothing);
            }
        }
    }
}

/// What could explain that a key was seen so at a revision where the replay has it otherwise, or did not change it.
pub(super) fn need_of(shown: &Shown, is: Option<Option<&KeyValue>>) -> Need {
    match (&shown.value, is) {
        (Some(seen), Some(Some(is))) if seen.value == is.value && seen.lease == is.lease => {
            match (seen.create_revision == is.create_revision, seen.version) {
                (true, version) if version > is.version => Need::Put,
                (true, _) => Need::Nothing,
                (false, 1) => Need::Gone,
                (false, _) => Need::Any,
            }
        }
        (None, None) => Need::Put,
        _ => Need::Nothing,
    }
}
