//! A history told again, revision by revision, against what etcd would hold.
//!
//! Every acknowledged write says its revision, so their order is known. What nobody acknowledged (writes whose end is unknown, leases that
//! ran out) gets a place when something that was seen asks for it: see `search.rs`.

use super::Options;
use super::compare::{Difference, Lens, Need, compared_key, need_of};
use super::sightings::{Calls, KvCall, Shown, Sightings};
use super::store::{Store, branch, changed};
use crate::kv::{Answer, OpResult, Range, Request, Result, Txn};
use std::collections::{BTreeMap, HashSet};

/// Why something changed at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// An acknowledged transaction.
    Acknowledged(usize),
    /// An acknowledged end of a lease; at this revision only if the lease had keys.
    Revoked(usize),
    /// A call whose end is unknown.
    Unknown(usize),
    /// A lease that ran out.
    RanOut(i64),
}

/// Something that the replay must agree with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Claim {
    /// The answer of the transaction that wrote at this revision.
    Step(i64),
    /// That something which was seen at this revision was asked for by somebody.
    Asked(i64),
    /// What was seen of a key at a revision.
    Shown(i64, String),
    /// The answer of a call that changed nothing.
    Answer(usize),
}

/// Where the replay and the history part.
#[derive(Debug, Clone)]
pub(super) struct Conflict {
    pub(super) revision: i64,
    pub(super) claim: Claim,
    /// The keys that are not what they should be.
    pub(super) keys: Vec<String>,
    pub(super) need: Need,
    pub(super) what: String,
    pub(super) indexes: Vec<usize>,
}

/// The replay, and how far it is.
pub(super) struct Replay<'a> {
    pub(super) calls: &'a [KvCall],
    pub(super) sightings: &'a Sightings,
    pub(super) keys: HashSet<&'a str>,
    pub(super) options: Options,
    pub(super) store: Store,
    pub(super) steps: Steps,
    /// Calls that changed nothing, by the revision that they speak of.
    reads: Reads,
    /// Claims that were found wrong and are not asked again.
    pub(super) waived: HashSet<Claim>,
    pub(super) cursor: i64,
    /// How many revisions were gone through.
    pub(super) work: usize,
}

/// Two acknowledged writes at one revision.
pub(super) struct Collision {
    pub(super) revision: i64,
    pub(super) calls: (usize, usize),
}

type Steps = BTreeMap<i64, Cause>;
type Reads = BTreeMap<i64, Vec<usize>>;

/// The writes by their revisions, and the calls that changed nothing by the revision that they speak of.
fn sort(calls: &[KvCall]) -> (Steps, Reads, Vec<Collision>) {
    let (mut steps, mut reads, mut collisions) = (Steps::new(), Reads::new(), Vec::new());
    for (place, call) in calls.iter().enumerate() {
        let Some(Answer { revision, result }) = call.answer() else { continue };
        match (&call.request, result) {
            (_, Result::Refused(_)) => {}
            (Request::Range(range), _) => {
                reads.entry(if range.revision > 0 { range.revision } else { *revision }).or_default().push(place);
            }
            (Request::Txn(_), Result::Txn { results, .. }) if changed(results) => {
                if let Some(Cause::Acknowledged(before)) = steps.insert(*revision, Cause::Acknowledged(place)) {
                    collisions.push(Collision { revision: *revision, calls: (before, place) });
                }
            }
            (Request::Txn(_) | Request::Revoke { .. }, _) => reads.entry(*revision).or_default().push(place),
            _ => {}
        }
    }
    (steps, reads, collisions)
}

impl<'a> Replay<'a> {
    pub(super) fn new(calls: &'a Calls, sightings: &'a Sightings, options: Options) -> (Self, Vec<Collision>) {
        let (mut steps, reads, collisions) = sort(&calls.kv);
        for (place, call) in calls.kv.iter().enumerate() {
            if let (Request::Revoke { .. }, Some(Answer { revision, result: Result::Done })) = (&call.request, call.answer()) {
                steps.entry(*revision).or_insert(Cause::Revoked(place));
            }
        }
        let keys = calls.keys();
        let (store, waived) = (Store::default(), HashSet::new());
        (Self { calls: &calls.kv, sightings, keys, options, store, steps, reads, waived, cursor: 0, work: 0 }, collisions)
    }

    fn next(&self) -> Option<i64> {
        let from = self.cursor + 1..;
        let step = self.steps.range(from.clone()).next().map(|(revision, _)| *revision);
        let shown = self.sightings.shown.range(from.clone()).next().map(|(revision, _)| *revision);
        let read = self.reads.range(from).next().map(|(revision, _)| *revision);
        step.into_iter().chain(shown).chain(read).min()
    }

    /// Goes on until the end, or until the history says otherwise.
    pub(super) fn forward(&mut self) -> std::result::Result<(), Conflict> {
        while let Some(revision) = self.next() {
            self.cursor = revision;
            self.work += 1;
            self.step(revision)?;
            self.look(revision)?;
            for place in self.reads.get(&revision).cloned().unwrap_or_default() {
                if let Some(conflict) = self.read(place, revision).filter(|conflict| !self.waived.contains(&conflict.claim)) {
                    return Err(conflict);
                }
            }
        }
        Ok(())
    }

    /// Goes back to right before a revision.
    pub(super) fn back_to(&mut self, revision: i64) {
        self.store.roll_back(revision);
        self.cursor = self.cursor.min(revision - 1);
    }

    /// What was seen at a revision, of keys that are ours.
    pub(super) fn shown(&self, revision: i64) -> impl Iterator<Item = (&'a String, &'a Shown)> {
        let shown = self.sightings.shown.get(&revision);
        shown.into_iter().flatten().filter(|(key, _)| self.keys.contains(key.as_str()))
    }

    fn step(&mut self, revision: i64) -> std::result::Result<(), Conflict> {
        let before = self.store.len();
        let cause = self.steps.get(&revision).cloned();
        match &cause {
            Some(Cause::Acknowledged(place)) => return self.acknowledged(*place, revision),
            Some(Cause::RanOut(lease)) => self.store.end(*lease, revision),
            Some(Cause::Unknown(place) | Cause::Revoked(place)) => match &self.calls[*place].request {
                Request::Txn(txn) => {
                    let succeeded = self.store.compare(txn);
                    self.store.run(branch(txn, succeeded), revision);
                }
                Request::Revoke { id } if self.fits(*place, *id, revision) => self.store.end(*id, revision),
                _ => {}
            },
            None => {}
        }
        let changed = self.store.len() > before;
        if !changed && matches!(cause, Some(Cause::Unknown(_) | Cause::RanOut(_))) {
            // What was tried here explains nothing, unless its comparisons can be made to hold.
            let keys = match cause {
                Some(Cause::Unknown(place)) if self.shown(revision).next().is_some() => self.compared(place),
                _ => Vec::new(),
            };
            let what = format!("nothing would have changed at revision {revision}");
            let indexes = self.shown(revision).map(|(_, shown)| shown.index).collect();
            return Err(Conflict { revision, claim: Claim::Step(revision), keys, need: Need::Any, what, indexes });
        }
        if !changed && self.shown(revision).next().is_some() {
            return self.unasked(revision);
        }
        Ok(())
    }

    /// Whether what was seen at a revision can be the end of a lease that a call asked for.
    fn fits(&self, place: usize, lease: i64, revision: i64) -> bool {
        let asked = self.sightings.seen_before(self.calls[place].begun).0 < revision;
        asked && self.shown(revision).all(|(key, shown)| shown.value.is_none() && self.store.get(key).is_some_and(|kv| kv.lease == lease))
    }

    /// Something was seen at a revision where nobody is known to have written.
    fn unasked(&mut self, revision: i64) -> std::result::Result<(), Conflict> {
        if self.waived.contains(&Claim::Asked(revision)) {
            let shown: Vec<_> = self.shown(revision).collect();
            shown.into_iter().for_each(|(key, shown)| self.store.set(revision, key, shown.value.clone()));
            return Ok(());
        }
        let seen: Vec<String> = self.shown(revision).map(|(key, shown)| describe(key, shown)).collect();
        Err(Conflict {
            revision,
            claim: Claim::Asked(revision),
            keys: self.shown(revision).map(|(key, _)| key.clone()).collect(),
            need: Need::Any,
            what: format!("at revision {revision} was seen what nobody can have written then: {}", seen.join(", ")),
            indexes: self.shown(revision).map(|(_, shown)| shown.index).collect(),
        })
    }

    fn acknowledged(&mut self, place: usize, revision: i64) -> std::result::Result<(), Conflict> {
        let call = &self.calls[place];
        let (Request::Txn(txn), Some(Answer { result: Result::Txn { succeeded, results }, .. })) = (&call.request, call.answer()) else {
            return Ok(());
        };
        let before = self.store.len();
        let difference = self.differs(txn, *succeeded, results, revision);
        if difference.is_none() {
            return Ok(());
        }
        self.store.truncate(before);
        let claim = Claim::Step(revision);
        if self.waived.contains(&claim) {
            self.store.run(branch(txn, *succeeded), revision);
            return Ok(());
        }
        let (need, keys) = (difference.need(), Vec::from_iter(difference.keys));
        let what =
            format!("the transaction at revision {revision} was answered as if something else had been there than {}", self.held(&keys));
        let indexes = std::iter::once(call.invoked).chain(call.returned).collect();
        Err(Conflict { revision, claim, keys, need, what, indexes })
    }

    fn lens(&self) -> Lens<'_> {
        Lens { store: &self.store, keys: &self.keys, alone: self.options.alone }
    }

    /// Runs a transaction the way it was answered, and says where it differs.
    fn differs(&mut self, txn: &Txn, succeeded: bool, results: &[OpResult], revision: i64) -> Difference {
        let difference = self.lens().compares(txn, succeeded);
        if !difference.is_none() {
            return difference;
        }
        let expected = self.store.run(branch(txn, succeeded), revision);
        self.lens().results(txn, succeeded, &expected, results)
    }

    /// Keys with what they hold.
    fn held(&self, keys: &[String]) -> String {
        let held = keys.iter().take(3).map(|key| match self.store.get(key) {
            Some(kv) => {
                format!("{key}={:?} (made at {}, changed at {}, version {})", kv.value, kv.create_revision, kv.mod_revision, kv.version)
            }
            None => format!("{key}, not there,"),
        });
        held.collect::<Vec<_>>().join(" and ")
    }

    /// The keys that a call compares.
    fn compared(&self, place: usize) -> Vec<String> {
        match &self.calls[place].request {
            Request::Txn(txn) => txn.compares.iter().map(|compare| compared_key(compare).to_owned()).collect(),
            _ => Vec::new(),
        }
    }

    /// What was seen at a revision must be what the replay came to.
    fn look(&mut self, revision: i64) -> std::result::Result<(), Conflict> {
        let shown: Vec<_> = self.shown(revision).collect();
        for (key, shown) in shown {
            let is = self.store.past(key).last().filter(|(changed, _)| *changed == revision).map(|(_, value)| value.as_deref());
            if is == Some(shown.value.as_ref()) {
                continue;
            }
            let claim = Claim::Shown(revision, key.clone());
            if self.waived.contains(&claim) {
                self.store.set(revision, key, shown.value.clone());
                continue;
            }
            let instead = match is {
                None => "it was not changed then".into(),
                Some(None) => "it was deleted then".into(),
                Some(Some(_)) => format!("it should be {}", self.held(std::slice::from_ref(key))),
            };
            let what = format!("at revision {revision} was seen {}, but {instead}", describe(key, shown));
            let need = need_of(shown, is);
            return Err(Conflict { revision, claim, keys: vec![key.clone()], need, what, indexes: vec![shown.index] });
        }
        Ok(())
    }

    /// Judges a call that changed nothing.
    fn read(&mut self, place: usize, revision: i64) -> Option<Conflict> {
        let call = &self.calls[place];
        let before = self.store.len();
        let difference = match (&call.request, &call.answer()?.result) {
            (Request::Range(range), Result::Range(got)) => {
                let expected = self.store.range(&Range { revision: 0, ..range.clone() });
                self.lens().range(range, &expected, got)
            }
            (Request::Txn(txn), Result::Txn { succeeded, results }) => self.differs(txn, *succeeded, results, revision),
            (Request::Revoke { id }, Result::Done) => {
                let mut difference = Difference::default();
                self.store.leased(*id).into_iter().for_each(|key| difference.add(key, Need::Any));
                difference
            }
            (request, result) => {
                let mut difference = Difference::default();
                difference.add(format!("{result:?}, no answer to {request:?}"), Need::Nothing);
                difference
            }
        };
        self.store.truncate(before);
        if difference.is_none() {
            return None;
        }
        let (need, keys) = (difference.need(), Vec::from_iter(difference.keys));
        let what = format!("the answer at revision {revision} does not fit what was there: {}", self.held(&keys));
        let indexes = std::iter::once(call.invoked).chain(call.returned).collect();
        Some(Conflict { revision, claim: Claim::Answer(place), keys, need, what, indexes })
    }
}

fn describe(key: &str, shown: &Shown) -> String {
    match &shown.value {
        Some(kv) => {
            format!("{key}={:?} (made at {}, changed at {}, version {})", kv.value, kv.create_revision, kv.mod_revision, kv.version)
        }
        None => format!("{key} deleted"),
    }
}
