//! What etcd would hold: keys, their past, and the leases they go with. One thing after another, and back again.

use crate::kv::{Compare, KeyValue, Op, OpResult, Range, Ranged, Txn};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

/// A key's changes: the revision, and what it became.
pub(crate) type Past = Vec<(i64, Option<Rc<KeyValue>>)>;

/// Keys as they are, and as they were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    live: BTreeMap<String, Rc<KeyValue>>,
    leased: BTreeMap<i64, BTreeSet<String>>,
    past: BTreeMap<String, Past>,
    log: Vec<(i64, String)>,
}

/// Whether a range from `key` to `end` holds `other`.
pub(crate) fn covers(key: &str, end: Option<&str>, other: &str) -> bool {
    match end {
        None => key == other,
        Some("\0") => key <= other,
        Some(end) => key <= other && other < end,
    }
}

fn bounds<'a>(key: &'a str, end: Option<&'a str>) -> (Bound<&'a str>, Bound<&'a str>) {
    match end {
        None => (Bound::Included(key), Bound::Included(key)),
        Some("\0") => (Bound::Included(key), Bound::Unbounded),
        // A map refuses a range that ends before it begins; such a one holds nothing.
        Some(end) if end <= key => (Bound::Included(key), Bound::Excluded(key)),
        Some(end) => (Bound::Included(key), Bound::Excluded(end)),
    }
}

impl Store {
    pub(crate) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.live.get(key).map(Rc::as_ref)
    }

    /// The keys that go with a lease.
    pub(crate) fn leased(&self, lease: i64) -> Vec<String> {
        self.leased.get(&lease).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// The changes of a key, with their revisions.
    pub(crate) fn past(&self, key: &str) -> &[(i64, Option<Rc<KeyValue>>)] {
        self.past.get(key).map_or(&[], Vec::as_slice)
    }

    /// All changes in their order.
    pub(crate) fn changes(&self) -> impl DoubleEndedIterator<Item = (i64, &str)> {
        self.log.iter().map(|(revision, key)| (*revision, key.as_str()))
    }

    /// How many changes there are.
    pub(crate) fn len(&self) -> usize {
        self.log.len()
    }

    /// What a key was right after `revision`.
    pub(crate) fn at(&self, key: &str, revision: i64) -> Option<&KeyValue> {
        let past = self.past(key);
        let place = past.partition_point(|(changed, _)| *changed <= revision);
        past.get(place.checked_sub(1)?)?.1.as_deref()
    }

    /// Sets or deletes a key at a revision.
    pub(crate) fn set(&mut self, revision: i64, key: &str, value: Option<KeyValue>) {
        let value = value.map(Rc::new);
        self.past.entry(key.to_owned()).or_default().push((revision, value.clone()));
        self.log.push((revision, key.to_owned()));
        self.place(key, value);
    }

    fn place(&mut self, key: &str, value: Option<Rc<KeyValue>>) {
        let lease = value.as_ref().map_or(0, |value| value.lease);
        let before = match value {
            Some(value) => self.live.insert(key.to_owned(), value),
            None => self.live.remove(key),
        };
        let before = before.map_or(0, |value| value.lease);
        if before == lease {
            return;
        }
        if let Some(keys) = self.leased.get_mut(&before) {
            keys.remove(key);
        }
        if lease != 0 {
            self.leased.entry(lease).or_default().insert(key.to_owned());
        }
    }

    /// Forgets what happened at `revision` and later.
    pub(crate) fn roll_back(&mut self, revision: i64) {
        let kept = self.log.partition_point(|(changed, _)| *changed < revision);
        self.truncate(kept);
    }

    /// Forgets all but the first changes.
    pub(crate) fn truncate(&mut self, kept: usize) {
        while self.log.len() > kept {
            let Some((_, key)) = self.log.pop() else { return };
            let Some(past) = self.past.get_mut(&key) else { continue };
            past.pop();
            let before = past.last().and_then(|(_, value)| value.clone());
            self.place(&key, before);
        }
    }

    /// Reads at a range's own revision, or now.
    pub(crate) fn range(&self, range: &Range) -> Ranged {
        let bounds = bounds(&range.key, range.end.as_deref());
        let latest = self.log.last().map_or(0, |(revision, _)| *revision);
        let limit = if range.limit > 0 { usize::try_from(range.limit).unwrap_or(usize::MAX) } else { usize::MAX };
        let mut kvs = Vec::new();
        let mut count = 0;
        let mut found = |value: &KeyValue| {
            count += 1;
            if kvs.len() < limit {
                kvs.push(value.clone());
            }
        };
        if range.revision > 0 && range.revision < latest {
            let keys = self.past.range::<str, _>(bounds).map(|(key, _)| key);
            keys.filter_map(|key| self.at(key, range.revision)).for_each(&mut found);
        } else {
            self.live.range::<str, _>(bounds).for_each(|(_, value)| found(value));
        }
        Ranged { kvs, count }
    }

    pub(crate) fn holds(&self, compare: &Compare) -> bool {
        let number = |key: &str, of: fn(&KeyValue) -> i64| self.get(key).map_or(0, of);
        match compare {
            Compare::ModRevision(key, expected) => number(key, |kv| kv.mod_revision) == *expected,
            Compare::CreateRevision(key, expected) => number(key, |kv| kv.create_revision) == *expected,
            Compare::Version(key, expected) => number(key, |kv| kv.version) == *expected,
            Compare::Value(key, expected) => self.get(key).is_some_and(|kv| kv.value == *expected),
        }
    }

    /// Whether all comparisons hold.
    pub(crate) fn compare(&self, txn: &Txn) -> bool {
        txn.compares.iter().all(|compare| self.holds(compare))
    }

    /// Does operations one after the other; what they change, they change at `revision`.
    pub(crate) fn run(&mut self, ops: &[Op], revision: i64) -> Vec<OpResult> {
        ops.iter().map(|op| self.run_one(op, revision)).collect()
    }

    fn run_one(&mut self, op: &Op, revision: i64) -> OpResult {
        match op {
            Op::Range(range) => OpResult::Range(self.range(range)),
            Op::Put { key, value, lease } => {
                let before = self.get(key);
                let value = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: before.map_or(revision, |kv| kv.create_revision),
                    mod_revision: revision,
                    version: before.map_or(0, |kv| kv.version) + 1,
                    lease: *lease,
                };
                self.set(revision, key, Some(value));
                OpResult::Put
            }
            Op::Delete { key, end } => {
                let keys: Vec<String> = self.live.range::<str, _>(bounds(key, end.as_deref())).map(|(key, _)| key.clone()).collect();
                keys.iter().for_each(|key| self.set(revision, key, None));
                OpResult::Deleted(i64::try_from(keys.len()).unwrap_or(i64::MAX))
            }
        }
    }

    /// Ends a lease: its keys go, in order, at `revision`.
    pub(crate) fn end(&mut self, lease: i64, revision: i64) {
        self.leased(lease).iter().for_each(|key| self.set(revision, key, None));
    }
}

/// What a transaction does if its comparisons hold, or if they do not.
pub(crate) fn branch(txn: &Txn, succeeded: bool) -> &[Op] {
    if succeeded { &txn.then } else { &txn.otherwise }
}

/// Whether an answered transaction changed anything.
pub(crate) fn changed(results: &[OpResult]) -> bool {
    results.iter().any(|result| match result {
        OpResult::Put => true,
        OpResult::Deleted(count) => *count > 0,
        OpResult::Range(_) => false,
    })
}

/// Whether a transaction can change a key.
pub(crate) fn touches(txn: &Txn, other: &str) -> bool {
    txn.then.iter().chain(&txn.otherwise).any(|op| match op {
        Op::Range(_) => false,
        Op::Put { key, .. } => key == other,
        Op::Delete { key, end } => covers(key, end.as_deref(), other),
    })
}

/// The keys and values that a transaction can put.
pub(crate) fn puts(txn: &Txn) -> impl Iterator<Item = (&str, &str)> {
    txn.then.iter().chain(&txn.otherwise).filter_map(|op| match op {
        Op::Put { key, value, .. } => Some((key.as_str(), value.as_str())),
        Op::Range(_) | Op::Delete { .. } => None,
    })
}
