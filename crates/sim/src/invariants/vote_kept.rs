//! A server votes for at most one candidate in a given term, and its term never goes back (Raft, sections 5.1 and 5.2): what it has
//! written down of a vote and synced holds over a restart.

use super::Invariant;
use crate::event::Event;
use crate::ledger::Ledger;
use std::collections::BTreeMap;

/// The last vote of each member: term, candidate, and whether that one leads.
#[derive(Default)]
pub struct VoteKept {
    votes: BTreeMap<usize, (u64, u64, bool)>,
}

impl Invariant for VoteKept {
    fn name(&self) -> &'static str {
        "a vote is kept"
    }

    fn before(&mut self, event: &Event, _ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        let Event::Voted { member, vote } = event else { return Ok(()) };
        let now = (vote.term, vote.candidate, vote.committed);
        let Some(before) = self.votes.insert(*member, now) else { return Ok(()) };
        if now.0 < before.0 {
            return Err(format!("s{member} was in term {} and votes in term {}", before.0, now.0));
        }
        if now.0 > before.0 || now.1 == before.1 {
            return Ok(());
        }
        // Whoever leads may be followed by those who voted for another.
        if now.2 && !before.2 {
            return Ok(());
        }
        Err(format!("s{member} voted for {:x} in term {}, and votes for {:x} now", before.1, before.0, now.1))
    }
}
