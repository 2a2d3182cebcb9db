//! A fenced write happens in the very term that it was made for, or not at all (`Store::txn`): two leaders' controllers can never
//! both act.

use super::Invariant;
use crate::event::{Event, Told};
use crate::ledger::Ledger;

/// Everything it needs is in the ledger.
pub struct Fences;

impl Invariant for Fences {
    fn name(&self) -> &'static str {
        "fences hold"
    }

    fn after(&mut self, event: &Event, ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        let Event::Wrote { value, told: Told::Done, fence: Some(fence), .. } = event else { return Ok(()) };
        let done = ledger.written.get(value).into_iter().flatten().find(|write| write.revision > 0);
        match done {
            Some(write) if write.term != *fence => {
                Err(format!("{} was made for term {fence}, and was written in term {}", String::from_utf8_lossy(value), write.term))
            }
            _ => Ok(()),
        }
    }
}
