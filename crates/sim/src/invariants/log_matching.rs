//! Log Matching: if two logs contain an entry with the same index and term, then the logs are identical in all entries up through the
//! given index (Raft, figure 3 and section 5.3). By induction it is enough that such entries are the same and stand behind entries of
//! the same term. A log that is read back has no gap, and its terms never go back: a follower deletes what conflicts, and all that
//! follows it (figure 2, AppendEntries).

use super::Invariant;
use crate::event::Event;
use crate::ledger::Ledger;

/// Everything it needs is in the ledger.
pub struct LogMatching;

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn before(&mut self, event: &Event, ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        if let Event::Started { member, log } = event {
            for pair in log.windows(2) {
                let [(before, older), (index, newer)] = pair else { continue };
                if before + 1 != *index || older > newer {
                    return Err(format!("s{member} starts on entry {index} of term {newer} behind entry {before} of term {older}"));
                }
            }
        }
        let Event::Logged { member, rows } = event else { return Ok(()) };
        for row in rows {
            if row.behind.is_some_and(|behind| behind < row.term) {
                return Err(format!("s{member} leaves an entry of term {:?} behind entry {} of term {}", row.behind, row.index, row.term));
            }
            let Some((before, entry)) = ledger.row(row.index, row.term) else { continue };
            if *entry != row.entry {
                return Err(format!("entry {} of term {} is another one in the log of s{member}", row.index, row.term));
            }
            if let (Some(here), Some(there)) = (row.before, before)
                && here != *there
            {
                return Err(format!(
                    "entry {} of term {} stands behind term {here} in the log of s{member}, and behind term {there} in another",
                    row.index, row.term
                ));
            }
        }
        Ok(())
    }
}
