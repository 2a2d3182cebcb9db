//! Every change in its order, as the history tells it.

use super::Options;
use super::replay::Replay;
use super::search::Search;
use super::sightings::{Calls, Sightings};
use crate::history::{History, Malformed};
use crate::kv::{KeyValue, Op, Txn};
use std::collections::BTreeMap;

/// What changed at each revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// By revision: the keys that changed, in order, and what to. None is a deletion.
    pub changes: BTreeMap<i64, Vec<(String, Option<KeyValue>)>>,
    /// Whether everything that was seen fits. If not, changes may be missing.
    pub whole: bool,
}

impl Timeline {
    /// The transactions that make another store the same, each at its own revision: for a store that is new, and has been granted the
    /// leases. None if a revision has no known change, so that the other store's revisions would be others.
    pub fn transactions(&self) -> Option<Vec<(i64, Txn)>> {
        let mut txns = Vec::new();
        for (expected, (revision, changes)) in (2..).zip(&self.changes) {
            if *revision != expected || !self.whole {
                return None;
            }
            let op = |(key, value): &(String, Option<KeyValue>)| match value {
                Some(kv) => Op::Put { key: key.clone(), value: kv.value.clone(), lease: kv.lease },
                None => Op::Delete { key: key.clone(), end: None },
            };
            txns.push((*revision, Txn { then: changes.iter().map(op).collect(), ..Txn::default() }));
        }
        Some(txns)
    }
}

/// Tells a history again.
pub fn timeline(history: &History, options: Options) -> Result<Timeline, Malformed> {
    let calls = Calls::of(history)?;
    let sightings = Sightings::of(&calls);
    let (replay, collisions) = Replay::new(&calls, &sightings, options);
    let mut search = Search::new(replay);
    search.run();
    let mut timeline =
        Timeline { changes: BTreeMap::new(), whole: collisions.is_empty() && search.unexplained.is_empty() && !search.gave_up };
    let store = &search.replay.store;
    for (revision, key) in store.changes() {
        timeline.changes.entry(revision).or_default().push((key.to_owned(), store.at(key, revision).cloned()));
    }
    Ok(timeline)
}
