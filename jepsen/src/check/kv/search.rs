//! A place for what nobody acknowledged.
//!
//! Where the replay and the history part, something may have happened in between that nobody was told of: a write whose end is unknown, or
//! the end of a lease. Each that could explain it is tried at the revisions that nobody else wrote at; if none does, and no earlier choice
//! for the same keys was open, the history is impossible there.

use super::explain::Explanations;
use super::replay::{Cause, Claim, Conflict, Replay};
use super::store::puts;
use crate::history::Outcome;
use crate::kv::{Op, Request};
use std::collections::{BTreeSet, HashMap, HashSet};

/// With more than so many writes to place that nobody saw, that none of them explains a conflict is no proof: writes can stand in one
/// another's way in more ways than are tried.
const MAX_CERTAIN: usize = 2;
/// Impossible places that are told of one history; then the search stops.
const MAX_CONFLICTS: usize = 20;
/// So many revisions are gone through, for each that the history has, before the search gives up.
const MAX_WORK_PER_REVISION: usize = 40;
/// And at least so many.
const MIN_WORK: usize = 2_000_000;

/// A conflict, what might explain it, and what is being tried.
pub(super) struct Choice {
    pub(super) conflict: Conflict,
    explanations: Vec<(i64, Cause)>,
    next: usize,
    tried: Option<(i64, Cause, Option<Cause>)>,
    /// Revisions that might have served, but for what is tried there for another conflict.
    taken: BTreeSet<i64>,
    cut: bool,
}

/// What the search says of one conflict.
pub(super) struct Unexplained {
    pub(super) conflict: Conflict,
    /// Whether everything was tried.
    pub(super) certain: bool,
}

/// The search over a replay.
pub(super) struct Search<'a> {
    pub(super) replay: Replay<'a>,
    /// Calls whose end is unknown, by a key that they put.
    pub(super) by_key: HashMap<&'a str, Vec<usize>>,
    /// Calls whose end is unknown, that delete.
    pub(super) deleting: Vec<usize>,
    /// Calls whose end is unknown, that end a lease.
    pub(super) revoking: HashMap<i64, Vec<usize>>,
    /// Leases that may have been granted, and so may run out.
    pub(super) granted: HashSet<i64>,
    /// Calls whose writes were seen, each at one revision only.
    pub(super) seen: HashSet<usize>,
    pub(super) used: HashSet<usize>,
    pub(super) choices: Vec<Choice>,
    furthest: Option<Conflict>,
    cut: bool,
    /// What was tried in vain where nobody saw it.
    tried: HashSet<Cause>,
    pub(super) unexplained: Vec<Unexplained>,
    pub(super) gave_up: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(replay: Replay<'a>) -> Self {
        let mut search = Self {
            replay,
            by_key: HashMap::new(),
            deleting: Vec::new(),
            revoking: HashMap::new(),
            granted: HashSet::new(),
            seen: HashSet::new(),
            used: HashSet::new(),
            choices: Vec::new(),
            furthest: None,
            cut: false,
            tried: HashSet::new(),
            unexplained: Vec::new(),
            gave_up: false,
        };
        let seen_puts = search.replay.sightings.puts();
        let mut writers: HashMap<(&str, &str), usize> = HashMap::new();
        for call in search.replay.calls {
            if let Request::Txn(txn) = &call.request {
                puts(txn).for_each(|put| *writers.entry(put).or_insert(0) += 1);
            }
        }
        for (place, call) in search.replay.calls.iter().enumerate() {
            if let (Request::Grant { id, .. }, Outcome::Ok(_) | Outcome::Unknown(_)) = (&call.request, &call.outcome) {
                search.granted.insert(*id);
            }
            let Outcome::Unknown(_) = call.outcome else { continue };
            match &call.request {
                Request::Txn(txn) => {
                    for (key, _) in puts(txn) {
                        search.by_key.entry(key).or_default().push(place);
                    }
                    if txn.then.iter().chain(&txn.otherwise).any(|op| matches!(op, Op::Delete { .. })) {
                        search.deleting.push(place);
                    }
                    // A value that only this call writes tells where it was written.
                    if puts(txn).any(|put| seen_puts.contains_key(&put) && writers.get(&put) == Some(&1)) {
                        search.seen.insert(place);
                    }
                }
                Request::Revoke { id } => search.revoking.entry(*id).or_default().push(place),
                _ => {}
            }
        }
        search
    }

    /// How many calls whose end is unknown have a place.
    pub(super) fn placed(&self) -> usize {
        self.used.len()
    }

    /// Calls whose end is unknown, that could have written where nobody saw it.
    pub(super) fn movable(&self) -> impl Iterator<Item = usize> {
        let seen = |(revision, cause): (&i64, &Cause)| match cause {
            Cause::Unknown(place) if !self.may_be_elsewhere(*revision) => Some(*place),
            _ => None,
        };
        let seen: BTreeSet<usize> = self.replay.steps.iter().filter_map(seen).collect();
        let all: BTreeSet<usize> =
            self.by_key.values().flatten().chain(&self.deleting).chain(self.revoking.values().flatten()).copied().collect();
        all.into_iter().filter(move |place| !seen.contains(place))
    }

    /// Whether nobody is known to have written at a revision, but for what was placed there and might be elsewhere.
    pub(super) fn may_be_elsewhere(&self, revision: i64) -> bool {
        match self.replay.steps.get(&revision) {
            Some(Cause::Acknowledged(_) | Cause::Revoked(_)) => false,
            Some(Cause::Unknown(_) | Cause::RanOut(_)) => self.replay.shown(revision).next().is_none(),
            None => true,
        }
    }

    /// Goes through the whole history.
    pub(super) fn run(&mut self) {
        let revisions = self.replay.steps.len() + self.replay.sightings.shown.len();
        let max_work = MIN_WORK.max(revisions * MAX_WORK_PER_REVISION);
        while let Err(conflict) = self.replay.forward() {
            if self.replay.work > max_work {
                self.gave_up = true;
                return;
            }
            let keys: HashSet<String> = conflict.keys.iter().cloned().collect();
            if !keys.is_empty() {
                if self.furthest.as_ref().is_none_or(|furthest| furthest.revision <= conflict.revision) {
                    self.furthest = Some(conflict.clone());
                }
                let Explanations { all, taken, cut } = self.explanations(&conflict);
                self.choices.push(Choice { conflict: conflict.clone(), explanations: all, next: 0, tried: None, taken, cut });
            }
            if self.advance(keys) {
                continue;
            }
            let conflict = self.furthest.take().unwrap_or(conflict);
            // What was tried for it last explains nothing.
            if let Some(place) = self.choices.iter().position(|choice| choice.conflict.claim == conflict.claim) {
                self.pop_to(place);
            }
            self.replay.waived.insert(conflict.claim.clone());
            let tried = std::mem::take(&mut self.tried).len();
            let certain = !std::mem::take(&mut self.cut) && tried <= MAX_CERTAIN;
            self.unexplained.push(Unexplained { conflict, certain });
            if self.unexplained.len() >= MAX_CONFLICTS {
                return;
            }
        }
    }

    /// Tries the next explanation of the last conflict that has to do with these keys. Without keys: of the last one.
    fn advance(&mut self, mut keys: HashSet<String>) -> bool {
        if keys.is_empty() {
            keys.extend(self.choices.last().into_iter().flat_map(|choice| choice.conflict.keys.iter().cloned()));
        }
        // First look whether there is one, so that nothing is undone in vain.
        let mut taken: BTreeSet<i64> = BTreeSet::new();
        let open = self.choices.iter().rposition(|choice| {
            let in_the_way =
                choice.tried.as_ref().is_some_and(|(revision, cause, _)| taken.contains(revision) || self.changes(cause, &keys));
            if !in_the_way && !choice.conflict.keys.iter().any(|key| keys.contains(key)) {
                return false;
            }
            keys.extend(choice.conflict.keys.iter().cloned());
            taken.extend(&choice.taken);
            choice.next < choice.explanations.len()
        });
        let keep = open.map_or_else(|| self.choices.len().saturating_sub(1), |open| open + 1);
        self.pop_to(keep);
        let Some(place) = open else { return false };
        let choice = &mut self.choices[place];
        let (revision, cause) = choice.explanations[choice.next].clone();
        choice.next += 1;
        let before = choice.tried.take();
        self.withdraw(before);
        let replaced = self.replay.steps.insert(revision, cause.clone());
        if let Cause::Unknown(place) = cause {
            self.used.insert(place);
        }
        self.choices[place].tried = Some((revision, cause, replaced));
        self.replay.back_to(revision);
        true
    }

    fn pop_to(&mut self, keep: usize) {
        while self.choices.len() > keep {
            let Some(choice) = self.choices.pop() else { return };
            self.cut |= choice.cut;
            if !matches!(choice.conflict.claim, Claim::Asked(_)) {
                self.tried.extend(choice.explanations.into_iter().map(|(_, cause)| cause));
            }
            self.withdraw(choice.tried);
            self.replay.back_to(choice.conflict.revision);
        }
    }

    fn withdraw(&mut self, tried: Option<(i64, Cause, Option<Cause>)>) {
        let Some((revision, cause, replaced)) = tried else { return };
        if let Cause::Unknown(place) = cause {
            self.used.remove(&place);
        }
        match replaced {
            Some(replaced) => self.replay.steps.insert(revision, replaced),
            None => self.replay.steps.remove(&revision),
        };
        self.replay.back_to(revision);
    }
}
