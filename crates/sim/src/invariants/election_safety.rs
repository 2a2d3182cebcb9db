//! Election Safety: at most one leader can be elected in a given term (Raft, figure 3 and section 5.2).

use super::Invariant;
use crate::event::Event;
use crate::ledger::Ledger;
use std::collections::BTreeMap;

/// Who was said to lead each term.
#[derive(Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, u64>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn before(&mut self, event: &Event, _ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        let Event::Voted { member, vote } = event else { return Ok(()) };
        if !vote.committed {
            return Ok(());
        }
        let known = *self.leaders.entry(vote.term).or_insert(vote.candidate);
        if known == vote.candidate {
            return Ok(());
        }
        Err(format!("s{member} follows {:x} in term {}, which {known:x} leads", vote.candidate, vote.term))
    }
}
