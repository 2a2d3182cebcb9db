//! What could explain a conflict: which writes that nobody acknowledged, at which revisions.

use super::compare::Need;
use super::replay::{Cause, Claim, Conflict};
use super::search::Search;
use super::store::{branch, covers, puts, touches};
use crate::kv::{Compare, Op, Request, Txn};
use std::collections::{BTreeSet, HashSet};

/// So many writes that nobody knows of are tried together to explain one answer.
const MAX_TOGETHER: usize = 4;
/// So many explanations are tried of one conflict.
const MAX_EXPLANATIONS: usize = 256;
/// So many free revisions between two changes of a key are tried: more than there are writes to place would make no difference.
const MAX_GAPS: usize = 6;
/// So many revisions are looked at for a free one.
const MAX_PROBES: i64 = 2_000;

/// What might explain a conflict.
#[derive(Default)]
pub(super) struct Explanations {
    pub(super) all: Vec<(i64, Cause)>,
    pub(super) taken: BTreeSet<i64>,
    /// Whether something was left out.
    pub(super) cut: bool,
}

/// Revisions where something might be placed.
#[derive(Default)]
struct Gaps {
    free: BTreeSet<i64>,
    taken: BTreeSet<i64>,
    cut: bool,
}

impl Search<'_> {
    /// What could explain a conflict, likeliest first.
    pub(super) fn explanations(&self, conflict: &Conflict) -> Explanations {
        let asked = matches!(conflict.claim, Claim::Asked(_));
        let together = self.choices.iter().rev().take_while(|choice| choice.conflict.claim == conflict.claim).count();
        let causes = self.causes(conflict);
        if together >= MAX_TOGETHER {
            return Explanations { cut: !causes.is_empty(), ..Explanations::default() };
        }
        let gaps =
            if asked { Gaps { free: [conflict.revision].into(), ..Gaps::default() } } else { self.gaps(conflict, self.most_gaps(&causes)) };
        let mut explanations = Explanations { all: Vec::new(), taken: gaps.taken, cut: gaps.cut && !causes.is_empty() };
        for gap in gaps.free.into_iter().rev() {
            let mut kinds = HashSet::new();
            for cause in &causes {
                if let Cause::Unknown(place) = cause {
                    let call = &self.replay.calls[*place];
                    // Puts of one key that nobody saw differ in nothing that matters.
                    let again = plain_put(&call.request).is_some_and(|kind| !asked && kinds.contains(&kind));
                    if again || self.replay.sightings.seen_before(call.begun).0 >= gap {
                        continue;
                    }
                    kinds.extend(plain_put(&call.request));
                }
                explanations.all.push((gap, cause.clone()));
            }
        }
        explanations.cut |= explanations.all.len() > MAX_EXPLANATIONS;
        explanations.all.truncate(MAX_EXPLANATIONS);
        explanations
    }

    /// More free revisions than there are writes to place make no difference, if each of these changes one key.
    fn most_gaps(&self, causes: &[Cause]) -> usize {
        let one_key = |cause: &Cause| match cause {
            Cause::Unknown(place) => matches!(&self.replay.calls[*place].request, Request::Txn(txn) if changes_one_key(txn)),
            _ => false,
        };
        if causes.iter().all(one_key) { causes.len() + 1 } else { usize::MAX }
    }

    /// What could have changed the keys of a conflict. Those that were asked for last come first.
    fn causes(&self, conflict: &Conflict) -> Vec<Cause> {
        let asked = if let Claim::Asked(revision) = conflict.claim { Some(revision) } else { None };
        let (mut calls, mut leases) = (BTreeSet::new(), BTreeSet::new());
        for key in &conflict.keys {
            calls.extend(self.by_key.get(key.as_str()).into_iter().flatten());
            let past = self.replay.store.past(key);
            leases.extend(past.iter().rev().take(4).filter_map(|(_, kv)| kv.as_ref()).map(|kv| kv.lease).filter(|lease| *lease != 0));
        }
        calls.extend(self.deleting.iter().filter(|place| self.deletes(**place, &conflict.keys)));
        calls.extend(leases.iter().filter_map(|lease| self.revoking.get(lease)).flatten());
        calls.retain(|place| !self.used.contains(place) && self.serves(*place, conflict));
        match asked {
            Some(revision) => calls.retain(|place| self.explains(*place, revision)),
            None => calls.retain(|place| !self.seen.contains(place)),
        }
        let deleted_only = asked.is_some_and(|revision| self.replay.shown(revision).all(|(_, shown)| shown.value.is_none()));
        let mut causes: Vec<Cause> = calls.into_iter().rev().map(Cause::Unknown).collect();
        if asked.is_some() {
            // Of two that write the same the first is the likelier: the other one may have come later.
            causes.reverse();
        }
        if deleted_only || (asked.is_none() && matches!(conflict.need, Need::Gone | Need::Any)) {
            causes.extend(leases.into_iter().filter(|lease| self.granted.contains(lease)).map(Cause::RanOut));
        }
        causes
    }

    /// Whether a cause can have changed one of these keys.
    pub(super) fn changes(&self, cause: &Cause, keys: &HashSet<String>) -> bool {
        let lease = match cause {
            Cause::Unknown(place) | Cause::Acknowledged(place) | Cause::Revoked(place) => match &self.replay.calls[*place].request {
                Request::Txn(txn) => return keys.iter().any(|key| touches(txn, key)),
                Request::Revoke { id } => *id,
                _ => return false,
            },
            Cause::RanOut(lease) => *lease,
        };
        keys.iter().flat_map(|key| self.replay.store.past(key)).any(|(_, kv)| kv.as_ref().is_some_and(|kv| kv.lease == lease))
    }

    /// Whether a call can do what a conflict needs.
    fn serves(&self, place: usize, conflict: &Conflict) -> bool {
        let puts_it = |txn: &Txn| puts(txn).any(|(key, _)| conflict.keys.iter().any(|other| key == other));
        match (conflict.need, &self.replay.calls[place].request) {
            (Need::Nothing, _) => false,
            (Need::Any, _) => true,
            (Need::Put, Request::Txn(txn)) => puts_it(txn),
            (Need::Put, _) => false,
            (Need::Gone, Request::Txn(_)) => self.deleting.contains(&place) && self.deletes(place, &conflict.keys),
            (Need::Gone, _) => true,
        }
    }

    fn deletes(&self, place: usize, keys: &[String]) -> bool {
        matches!(&self.replay.calls[place].request, Request::Txn(txn) if keys.iter().any(|key| touches(txn, key)))
    }

    /// Whether a call can have done what was seen at a revision.
    fn explains(&self, place: usize, revision: i64) -> bool {
        let Request::Txn(txn) = &self.replay.calls[place].request else { return true };
        [true, false].into_iter().any(|succeeded| self.branch_explains(txn, succeeded, revision))
    }

    fn branch_explains(&self, txn: &Txn, succeeded: bool, revision: i64) -> bool {
        let ops = branch(txn, succeeded);
        self.replay.shown(revision).all(|(shown_key, shown)| {
            ops.iter().any(|op| match (op, &shown.value) {
                (Op::Put { key, value, lease }, Some(kv)) => key == shown_key && *value == kv.value && *lease == kv.lease,
                (Op::Delete { key, end }, None) => covers(key, end.as_deref(), shown_key),
                _ => false,
            })
        })
    }

    /// Revisions that nobody wrote at and where a write could explain a conflict: the last ones before it, and before each change of its
    /// keys back to the last one that somebody saw.
    fn gaps(&self, conflict: &Conflict, most: usize) -> Gaps {
        let mut gaps = Gaps::default();
        for key in &conflict.keys {
            let mut until = conflict.revision;
            for (changed, _) in self.replay.store.past(key).iter().rev() {
                self.free(*changed, until, most, &mut gaps);
                until = changed - 1;
                if let Some(Cause::Revoked(_)) = self.replay.steps.get(changed) {
                    gaps.free.insert(*changed);
                }
                let seen = self.replay.sightings.shown.get(changed).is_some_and(|shown| shown.contains_key(key));
                if seen && *changed < conflict.revision {
                    until = 0;
                    break;
                }
            }
            self.free(0, until, most, &mut gaps);
        }
        for hint in self.hints(&conflict.claim) {
            self.free(hint - 1, hint, most, &mut gaps);
        }
        gaps
    }

    /// Revisions that a conflict itself names: who saw a key says where it was made, and who compares says what was found.
    fn hints(&self, claim: &Claim) -> Vec<i64> {
        let place = match claim {
            Claim::Shown(revision, key) => {
                let seen = self.replay.sightings.shown.get(revision).and_then(|shown| shown.get(key)?.value.as_ref());
                return seen.map(|kv| kv.create_revision).into_iter().collect();
            }
            Claim::Step(revision) => match self.replay.steps.get(revision) {
                Some(Cause::Acknowledged(place) | Cause::Unknown(place)) => *place,
                _ => return Vec::new(),
            },
            Claim::Answer(place) => *place,
            Claim::Asked(_) => return Vec::new(),
        };
        let Request::Txn(txn) = &self.replay.calls[place].request else { return Vec::new() };
        let named = txn.compares.iter().map(|compare| match compare {
            Compare::ModRevision(_, revision) | Compare::CreateRevision(_, revision) => *revision,
            Compare::Version(..) | Compare::Value(..) => 0,
        });
        named.collect()
    }

    /// Adds the last free revisions after `after`, up to `until`. Nobody writes at revision 1.
    fn free(&self, after: i64, until: i64, most: usize, gaps: &mut Gaps) {
        let mut found = 0;
        let lowest = after.max(until - MAX_PROBES).max(1);
        for revision in (lowest + 1..=until).rev() {
            match self.replay.steps.get(&revision) {
                Some(Cause::Unknown(_) | Cause::RanOut(_)) => _ = gaps.taken.insert(revision),
                // An end of a lease may as well have found no keys, and somebody else have written.
                None if self.replay.shown(revision).next().is_some() => {}
                None | Some(Cause::Revoked(_)) => {
                    gaps.free.insert(revision);
                    found += 1;
                }
                Some(Cause::Acknowledged(_)) => {}
            }
            if found >= most.min(MAX_GAPS) {
                gaps.cut |= most > MAX_GAPS && revision > lowest + 1;
                return;
            }
        }
        gaps.cut |= lowest > after.max(1) && found == 0;
    }
}

fn changes_one_key(txn: &Txn) -> bool {
    let writes: Vec<&Op> = txn.then.iter().chain(&txn.otherwise).filter(|op| !matches!(op, Op::Range(_))).collect();
    matches!(writes.as_slice(), [Op::Put { .. } | Op::Delete { end: None, .. }])
}

/// The key and lease of a request that puts one key, whatever was there.
fn plain_put(request: &Request) -> Option<(&str, i64)> {
    match request {
        Request::Txn(Txn { compares, then, .. }) if compares.is_empty() => match then.as_slice() {
            [Op::Put { key, lease, .. }] => Some((key, *lease)),
            _ => None,
        },
        _ => None,
    }
}
