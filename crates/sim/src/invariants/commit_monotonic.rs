//! What a server has applied only grows while it runs (Raft, section 5.3: the commit index increases monotonically, and entries are
//! applied in log order). A restart may go back to what was durable, and to nothing before that.

use super::Invariant;
use crate::event::Event;
use crate::ledger::Ledger;
use std::collections::BTreeMap;

/// The last entry that each running member has applied.
#[derive(Default)]
pub struct CommitMonotonic {
    applied: BTreeMap<usize, u64>,
}

impl Invariant for CommitMonotonic {
    fn name(&self) -> &'static str {
        "commit is monotonic"
    }

    fn before(&mut self, event: &Event, _ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        let (member, meta) = match event {
            Event::Started { member, .. } => {
                self.applied.remove(member);
                return Ok(());
            }
            Event::Applied { member, meta, .. } | Event::Installed { member, meta } => (member, meta),
            _ => return Ok(()),
        };
        let now = meta.last.unwrap_or_default().index;
        match self.applied.insert(*member, now) {
            Some(before) if before >= now => Err(format!("s{member} had applied {before} and applies {now}")),
            _ => Ok(()),
        }
    }
}
