//! A lease never ends early (etcd's Lease API: the server deletes the keys of a lease if it has not been kept alive within its time to
//! live). Whoever was told that a lease lives for so long may count on it from the moment that they asked.

use super::Invariant;
use crate::event::Event;
use crate::ledger::{Ended, Ledger};
use std::collections::BTreeMap;

/// Until when each lease was promised to live, and when that was asked for.
#[derive(Default)]
pub struct Leases {
    promised: BTreeMap<i64, Vec<(u64, u64)>>,
    looked: BTreeMap<i64, u64>,
}

fn early(lease: i64, ended: Ended, promises: &[(u64, u64)]) -> Result<(), String> {
    if !ended.expired {
        return Ok(());
    }
    match promises.iter().find(|(_, until)| ended.at_ms < *until) {
        None => Ok(()),
        Some((asked, until)) => {
            Err(format!("lease {lease:x} was asked for at {asked} and promised until {until}, and ended at {}", ended.at_ms))
        }
    }
}

impl Invariant for Leases {
    fn name(&self) -> &'static str {
        "leases are never early"
    }

    fn after(&mut self, event: &Event, ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        match event {
            Event::Renewed { lease, asked_ms, ttl_ms } => {
                let promises = self.promised.entry(*lease).or_default();
                promises.push((*asked_ms, asked_ms + ttl_ms));
                ledger.ended.get(lease).map_or(Ok(()), |ended| early(*lease, *ended, promises))
            }
            Event::Applied { .. } => {
                for (lease, ended) in &ledger.ended {
                    if self.looked.insert(*lease, ended.at_ms).is_none() {
                        early(*lease, *ended, self.promised.get(lease).map(Vec::as_slice).unwrap_or_default())?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
