//! Each entry is applied exactly once, also over crashes: the state that a server writes says how far it goes, in the same write
//! (`docs/` of the house, decision 1). Applying twice or leaving out would show in the revision, which counts changes.

use super::Invariant;
use crate::event::Event;
use crate::ledger::Ledger;

/// Everything it needs is in the ledger.
pub struct AppliedOnce;

impl Invariant for AppliedOnce {
    fn name(&self) -> &'static str {
        "applied once"
    }

    fn after(&mut self, event: &Event, ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        let Event::Applied { member, meta, revision: Some(revision) } = event else { return Ok(()) };
        let index = meta.last.unwrap_or_default().index;
        match ledger.revision_at(index) {
            Some(right) if right != *revision => {
                Err(format!("s{member} is at revision {revision} after entry {index}, and should be at {right}"))
            }
            _ => Ok(()),
        }
    }
}
