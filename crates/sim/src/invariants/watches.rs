//! Watches are ordered, atomic, reliable and resumable (etcd's watch API guarantees): every matching change, once, in the order of
//! revisions, all changes of one revision together; progress is reported only behind everything before it; history may be refused
//! only if it has been compacted.

use super::Invariant;
use crate::event::Event;
use crate::ledger::Ledger;
use bytes::Bytes;
use std::collections::BTreeMap;

/// What each watch is about, and how far it has come.
#[derive(Default)]
pub struct Watches {
    watches: BTreeMap<usize, ((Bytes, Bytes), i64)>,
}

impl Invariant for Watches {
    fn name(&self) -> &'static str {
        "watches are ordered and complete"
    }

    fn after(&mut self, event: &Event, ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        match event {
            Event::WatchBegan { watch, range, seen } => {
                self.watches.insert(*watch, (range.clone(), *seen));
                Ok(())
            }
            Event::Watched { watch, revision, changes } => {
                let Some((range, seen)) = self.watches.get_mut(watch) else { return Ok(()) };
                let mut right = ledger.changes(range, *seen, *revision);
                match (right.next(), right.next()) {
                    (Some((at, expected)), None) if at == *revision && expected == *changes => {}
                    (Some((at, _)), _) if at < *revision => {
                        return Err(format!("watch {watch} had seen {seen} and is told {revision}: {at} is missing"));
                    }
                    (expected, _) => return Err(format!("watch {watch} is told {changes:?} at {revision}, and there is {expected:?}")),
                }
                drop(right);
                *seen = *revision;
                Ok(())
            }
            Event::Progressed { watch, revision } => {
                let Some((range, seen)) = self.watches.get_mut(watch) else { return Ok(()) };
                if let Some((at, _)) = ledger.changes(range, *seen, *revision).next() {
                    return Err(format!("watch {watch} had seen {seen} and is told that it is at {revision}: {at} is missing"));
                }
                *seen = (*seen).max(*revision);
                Ok(())
            }
            Event::WatchCompacted { watch, compacted } => {
                let Some((_, seen)) = self.watches.get(watch) else { return Ok(()) };
                if *compacted > ledger.compacted || seen + 1 >= *compacted {
                    return Err(format!(
                        "watch {watch} had seen {seen} and is told that {compacted} is compacted; it is {}",
                        ledger.compacted
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
