//! State Machine Safety: if a server has applied a log entry at a given index to its state machine, no other server will ever apply
//! a different log entry for the same index (Raft, figure 3 and section 5.4.3). For entries the ledger says so itself; a snapshot must
//! not hold what nobody has applied.

use super::Invariant;
use crate::event::Event;
use crate::ledger::Ledger;

/// Everything it needs is in the ledger.
pub struct StateMachineSafety;

impl Invariant for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state machine safety"
    }

    fn after(&mut self, event: &Event, ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        let Event::Installed { member, meta } = event else { return Ok(()) };
        let last = meta.last.unwrap_or_default();
        match ledger.term_at(last.index) {
            Some(term) if term == last.term => Ok(()),
            known => Err(format!("s{member} has a snapshot up to entry {} of term {}, where others have {known:?}", last.index, last.term)),
        }
    }
}
