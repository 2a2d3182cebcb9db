//! Leader Completeness: if a log entry is committed in a given term, then that entry will be present in the logs of the leaders for
//! all higher-numbered terms (Raft, figure 3 and section 5.4). Seen when the first entry of a term is written: it stands behind
//! everything that was committed before, and nothing committed later in an older term may stand at its place.

use super::Invariant;
use crate::event::Event;
use crate::ledger::Ledger;

/// The newest term that has entries.
#[derive(Default)]
pub struct LeaderCompleteness {
    term: u64,
}

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn before(&mut self, event: &Event, ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        let Event::Logged { member, rows } = event else { return Ok(()) };
        for row in rows {
            if row.term <= self.term {
                continue;
            }
            self.term = row.term;
            if row.index < ledger.length() {
                return Err(format!(
                    "term {} begins at entry {} in the log of s{member}, and {} entries have been committed before",
                    row.term,
                    row.index,
                    ledger.length()
                ));
            }
        }
        Ok(())
    }
}
