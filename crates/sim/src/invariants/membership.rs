//! Membership is sound: there is no moment at which two disjoint majorities could decide (Raft, section 6). Every majority of one
//! committed configuration has a member in common with every majority of the next; joint ones need a majority of each half.

use super::Invariant;
use crate::event::Event;
use crate::ledger::Ledger;
use std::collections::BTreeSet;
use tricorn_proto::peer::Membership;

/// How many configurations have been looked at.
#[derive(Default)]
pub struct MembershipSound {
    seen: usize,
}

fn is_quorum(members: &Membership, of: &BTreeSet<u64>) -> bool {
    members.voters.iter().all(|set| set.ids.iter().filter(|id| of.contains(id)).count() > set.ids.len() / 2)
}

/// Whether some quorum of one lies beside some quorum of the other.
fn disjoint(one: &Membership, other: &Membership) -> bool {
    let everybody: BTreeSet<u64> = one.voters.iter().chain(&other.voters).flat_map(|set| set.ids.iter().copied()).collect();
    let everybody: Vec<u64> = everybody.into_iter().collect();
    (0_u32..1 << everybody.len().min(16)).any(|chosen| {
        let (mut inside, mut outside) = (BTreeSet::new(), BTreeSet::new());
        for (place, id) in everybody.iter().enumerate() {
            if chosen & (1 << place) == 0 {
                outside.insert(*id)
            } else {
                inside.insert(*id)
            };
        }
        is_quorum(one, &inside) && is_quorum(other, &outside)
    })
}

impl Invariant for MembershipSound {
    fn name(&self) -> &'static str {
        "membership is sound"
    }

    fn after(&mut self, _event: &Event, ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        while self.seen < ledger.memberships.len() {
            let now = self.seen;
            self.seen += 1;
            let Some(((_, before), (index, after))) =
                now.checked_sub(1).and_then(|last| ledger.memberships.get(last)).zip(ledger.memberships.get(now))
            else {
                continue;
            };
            if after.voters.iter().any(|set| set.ids.is_empty()) || disjoint(before, after) {
                return Err(format!("the configuration of entry {index} can decide without the one before: {before:?}, {after:?}"));
            }
        }
        Ok(())
    }
}
