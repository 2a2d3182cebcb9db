//! No acknowledged write is lost, none that was refused happens, and none happens twice (etcd's KV API guarantees: atomicity and
//! durability). A transaction that looks at a key first succeeds only if the key was as it said.

use super::Invariant;
use crate::event::{Event, Told};
use crate::ledger::Ledger;
use bytes::Bytes;
use std::collections::BTreeSet;

/// Values whose writes were refused for certain.
#[derive(Default)]
pub struct Writes {
    refused: BTreeSet<Bytes>,
}

impl Invariant for Writes {
    fn name(&self) -> &'static str {
        "writes are kept"
    }

    fn after(&mut self, event: &Event, ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        let Event::Wrote { value, told, revision, expected, .. } = event else { return Ok(()) };
        let name = String::from_utf8_lossy(value);
        match told {
            Told::Nothing => Ok(()),
            Told::Refused => {
                self.refused.insert(value.clone());
                Ok(())
            }
            Told::Done => {
                let all = ledger.written.get(value).map(Vec::as_slice).unwrap_or_default();
                let Some(write) = all.iter().find(|write| write.revision == *revision) else {
                    return Err(format!("{name} was acknowledged at revision {revision}, and is not there: {all:?}"));
                };
                match expected {
                    Some(expected) if *expected != write.found => {
                        Err(format!("{name} was to replace revision {expected}, and replaced {}", write.found))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    fn at_end(&mut self, ledger: &Ledger) -> Result<(), String> {
        for (value, all) in &ledger.written {
            let done = all.iter().filter(|write| write.revision > 0).count();
            let name = String::from_utf8_lossy(value);
            if done > 1 {
                return Err(format!("{name} was written {done} times: {all:?}"));
            }
            if done > 0 && self.refused.contains(value) {
                return Err(format!("{name} was refused, and happened: {all:?}"));
            }
        }
        Ok(())
    }
}
