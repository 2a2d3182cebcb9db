//! What must hold, whatever fails: one file each, with the property that it comes from.

mod applied_once;
mod commit_monotonic;
mod election_safety;
mod fences;
mod leader_completeness;
mod leases;
mod log_matching;
mod membership;
mod reads;
mod state_machine_safety;
mod vote_kept;
mod watches;
mod writes;

use crate::event::Event;
use crate::ledger::Ledger;

/// Something that must hold.
pub trait Invariant: Send {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// Looks at an event before the ledger has taken it in.
    fn before(&mut self, _event: &Event, _ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        Ok(())
    }

    /// Looks at an event once the ledger has taken it in.
    fn after(&mut self, _event: &Event, _ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        Ok(())
    }

    /// Looks at everything once nothing happens any more.
    fn at_end(&mut self, _ledger: &Ledger) -> Result<(), String> {
        Ok(())
    }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<election_safety::ElectionSafety>::default(),
        Box::<vote_kept::VoteKept>::default(),
        Box::new(log_matching::LogMatching),
        Box::<leader_completeness::LeaderCompleteness>::default(),
        Box::new(state_machine_safety::StateMachineSafety),
        Box::<commit_monotonic::CommitMonotonic>::default(),
        Box::<membership::MembershipSound>::default(),
        Box::new(applied_once::AppliedOnce),
        Box::<writes::Writes>::default(),
        Box::new(reads::Reads),
        Box::new(fences::Fences),
        Box::<leases::Leases>::default(),
        Box::<watches::Watches>::default(),
    ]
}
