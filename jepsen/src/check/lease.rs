//! Leases: kept as long as was promised, gone soon after.
//!
//! Grants, renewals, ends and the keys that go with them are `kv` operations; what is left of a lease is asked for with [`TIME_TO_LIVE`].

use super::kv::realtime::may_be_stale;
use super::kv::sightings::{Calls, KvCall, Sightings, shown};
use super::kv::store::{branch, touches};
use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Outcome, Process};
use crate::kv::{Answer, Op, Request, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Asks what is left of a lease. Its request is a [`TimeToLive`], its answer a [`Remaining`].
pub const TIME_TO_LIVE: &str = "time-to-live";

/// `{"id": 7}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeToLive {
    /// The lease.
    pub id: i64,
}

/// `{"ttl": 4, "granted": 5, "keys": ["a"]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Remaining {
    /// Seconds that are left; less than 0 when the lease is not there.
    pub ttl: i64,
    /// Seconds that it is granted for.
    #[serde(default)]
    pub granted: i64,
    /// The keys that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// How exact leases have to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Seconds that a lease may end before its time: clocks of hosts do not tick alike.
    pub early_seconds: f64,
    /// Seconds after its time, and after the last heal and once more its time, until a lease must have ended.
    pub late_seconds: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { early_seconds: 0.1, late_seconds: 5.0 }
    }
}

const SECOND: f64 = 1e9;

/// What is known of one lease.
#[derive(Default)]
struct Lease {
    granted: i64,
    grants: usize,
    /// The entry that shows that it was granted: before it nobody need find it.
    granted_by: Option<usize>,
    /// It is there until then at least: the last acknowledged renewal was asked for its time before. With the entry that shows it.
    kept_until: f64,
    kept_by: usize,
    /// It may be there until then: the last renewal that may have been done ended its time before.
    may_last_until: f64,
    /// When it was first asked to end, and when that was first acknowledged, with the entry that shows it.
    revoked_from: Option<u64>,
    revoked_by: Option<(u64, usize)>,
}

impl Lease {
    /// Whether it had certainly been granted before the entry `index`.
    fn there_before(&self, index: usize) -> bool {
        self.granted_by.is_some_and(|granted| granted < index)
    }

    fn renew(&mut self, call: &KvCall, ttl: i64) {
        let kept = call.begun as f64 + ttl as f64 * SECOND;
        if kept > self.kept_until {
            (self.kept_until, self.kept_by) = (kept, call.returned.unwrap_or(call.invoked));
        }
    }
}

fn leases(judge: &mut Judge, calls: &Calls) -> BTreeMap<i64, Lease> {
    let mut leases: BTreeMap<i64, Lease> = BTreeMap::new();
    for call in &calls.kv {
        let ended = call.ended.map_or(f64::INFINITY, |ended| ended as f64);
        let failed = matches!(call.outcome, Outcome::Failed(_)) || matches!(call.answer(), Some(Answer { result: Result::Refused(_), .. }));
        let answered = if let Some(Answer { result: Result::Lease { ttl }, .. }) = call.answer() { Some(*ttl) } else { None };
        match &call.request {
            _ if failed => {}
            Request::Grant { id, ttl } => {
                let lease = leases.entry(*id).or_default();
                lease.grants += 1;
                lease.granted = lease.granted.max(answered.unwrap_or(*ttl));
                lease.may_last_until = lease.may_last_until.max(ended + lease.granted as f64 * SECOND);
                if let Some(granted) = answered {
                    judge.checked(1);
                    lease.renew(call, granted);
                    lease.granted_by = call.returned;
                    if granted < *ttl {
                        judge.wrong(format!("lease {id} was granted for {granted} s instead of {ttl}"), call.returned);
                    }
                }
            }
            Request::KeepAlive { id } => {
                let lease = leases.entry(*id).or_default();
                if answered.is_none_or(|ttl| ttl > 0) {
                    lease.may_last_until = lease.may_last_until.max(ended + lease.granted as f64 * SECOND);
                }
                if let Some(ttl) = answered.filter(|ttl| *ttl > 0) {
                    lease.renew(call, ttl);
                }
            }
            Request::Revoke { id } => {
                let lease = leases.entry(*id).or_default();
                lease.revoked_from = lease.revoked_from.into_iter().chain([call.begun]).min();
                if let (Some(_), Some(ended), Some(index)) = (call.answer(), call.ended, call.returned) {
                    lease.revoked_by = lease.revoked_by.into_iter().chain([(ended, index)]).min();
                }
            }
            _ => {}
        }
    }
    // One that is granted again after it ended is two leases of one name; nobody can say which a key goes with.
    leases.retain(|_, lease| lease.grants == 1);
    leases
}

/// Judges with the default bounds.
pub fn check(history: &History) -> Verdict {
    check_with(history, Bounds::default())
}

/// Judges the leases of a history.
pub fn check_with(history: &History, bounds: Bounds) -> Verdict {
    judge(history, bounds).unwrap_or_else(|error| Verdict::malformed("lease", &error))
}

fn judge(history: &History, bounds: Bounds) -> std::result::Result<Verdict, Malformed> {
    let mut judge = Judge::new("lease");
    let calls = Calls::of(history)?;
    let leases = leases(&mut judge, &calls);
    let asked: Vec<Call<TimeToLive, Remaining>> = history.calls(TIME_TO_LIVE)?;
    check_answers(&mut judge, &calls, &leases, bounds);
    check_remaining(&mut judge, &asked, &leases, bounds);
    check_ends(&mut judge, &calls, &leases, bounds);
    check_late(&mut judge, history, &calls, &leases, bounds);
    judge.stat("leases", leases.len());
    Ok(judge.verdict())
}

/// A renewal finds a lease that must be there, for the time that it was granted for, and none that is known to have ended.
fn check_answers(judge: &mut Judge, calls: &Calls, leases: &BTreeMap<i64, Lease>, bounds: Bounds) {
    for call in &calls.kv {
        let (Request::KeepAlive { id }, Some(Answer { result: Result::Lease { ttl }, .. })) = (&call.request, call.answer()) else {
            continue;
        };
        let (Some(lease), Some(ended), Some(index)) = (leases.get(id), call.ended, call.returned) else { continue };
        judge.checked(1);
        if *ttl > lease.granted {
            judge.wrong(format!("lease {id} was renewed for {ttl} s, and granted for {}", lease.granted), [index]);
        }
        match lease.revoked_by {
            Some((by, shows)) if *ttl > 0 && call.begun > by => {
                judge.wrong(format!("lease {id} was renewed after it had been ended"), [shows, index]);
            }
            _ if *ttl <= 0 && lease.there_before(call.invoked) => gone(judge, lease, *id, ended, index, bounds, "could not be renewed"),
            _ => {}
        }
    }
}

/// Somebody saw by `time` that a lease was not there.
fn gone(judge: &mut Judge, lease: &Lease, id: i64, time: u64, index: usize, bounds: Bounds, what: &str) {
    let revoked = lease.revoked_from.is_some_and(|from| from < time);
    let early = (lease.kept_until - time as f64) / SECOND;
    if !revoked && early > bounds.early_seconds {
        judge.wrong(format!("lease {id} {what} {early:.1} s before its time"), [lease.kept_by, index]);
    }
}

/// What is left of a lease is no more than it was granted for, and no less than its renewals say.
fn check_remaining(judge: &mut Judge, asked: &[Call<TimeToLive, Remaining>], leases: &BTreeMap<i64, Lease>, bounds: Bounds) {
    for call in asked {
        let id = call.request.id;
        let (Some(remaining), Some(ended), Some(index)) = (call.answer(), call.ended, call.returned) else { continue };
        let Some(lease) = leases.get(&id) else { continue };
        judge.checked(1);
        if remaining.ttl < 0 {
            if lease.there_before(call.invoked) {
                gone(judge, lease, id, ended, index, bounds, "was not there");
            }
            continue;
        }
        if remaining.ttl > lease.granted || (remaining.granted > 0 && remaining.granted != lease.granted) {
            let what = format!("lease {id} has {} of {} s left, and was granted for {}", remaining.ttl, remaining.granted, lease.granted);
            judge.wrong(what, [index]);
        }
        if let Some((_, shows)) = lease.revoked_by.filter(|(by, _)| call.begun > *by) {
            judge.wrong(format!("lease {id} was there after it had been ended"), [shows, index]);
        }
    }
}

/// The lease that a key goes with at each of its revisions, as far as anybody saw.
fn attached(calls: &Calls, sightings: &Sightings) -> HashMap<String, BTreeMap<i64, i64>> {
    let mut attached: HashMap<String, BTreeMap<i64, i64>> = HashMap::new();
    for (revision, shown) in &sightings.shown {
        for (key, shown) in shown {
            attached.entry(key.clone()).or_default().insert(*revision, shown.value.as_ref().map_or(0, |kv| kv.lease));
        }
    }
    for call in &calls.kv {
        let (Request::Txn(txn), Some(Answer { revision, result: Result::Txn { succeeded, .. } })) = (&call.request, call.answer()) else {
            continue;
        };
        for op in branch(txn, *succeeded) {
            if let Op::Put { key, lease, .. } = op {
                attached.entry(key.clone()).or_default().insert(*revision, *lease);
            }
        }
    }
    attached
}

/// A key that was deleted while its lease must have been there was deleted by somebody.
fn check_ends(judge: &mut Judge, calls: &Calls, leases: &BTreeMap<i64, Lease>, bounds: Bounds) {
    let sightings = Sightings::of(calls);
    let attached = attached(calls, &sightings);
    let txns = || calls.kv.iter().filter_map(|call| if let Request::Txn(txn) = &call.request { Some((call, txn)) } else { None });
    let written: HashSet<i64> = txns().filter_map(|(call, _)| Some(call.answer()?.revision)).collect();
    let unknown: Vec<_> = txns().filter(|(call, _)| matches!(call.outcome, Outcome::Unknown(_))).collect();
    // By key and revision: when it was first told.
    let mut told: BTreeMap<(&str, i64), (u64, usize)> = BTreeMap::new();
    for call in &calls.watches {
        let (Some(watched), Some(index)) = (call.answer(), call.returned) else { continue };
        for message in &watched.messages {
            for event in message.events.iter().filter(|event| event.deleted && !written.contains(&event.kv.mod_revision)) {
                let first = told.entry((&event.kv.key, event.kv.mod_revision)).or_insert((message.time, index));
                *first = (*first).min((message.time, index));
            }
        }
    }
    for ((key, revision), (time, index)) in told {
        let before = attached.get(key).and_then(|revisions| revisions.range(..revision).next_back());
        let Some((id, lease)) = before.and_then(|(_, id)| Some((*id, leases.get(id)?))) else { continue };
        judge.checked(1);
        if !unknown.iter().any(|(call, txn)| call.begun < time && touches(txn, key)) {
            gone(judge, lease, id, time, index, bounds, &format!("ended, with {key},"));
        }
    }
}

/// After its time, when all is healed, a lease has ended and its keys are gone.
fn check_late(judge: &mut Judge, history: &History, calls: &Calls, leases: &BTreeMap<i64, Lease>, bounds: Bounds) {
    let broken = history.entries.iter().rev().find(|entry| entry.process == Process::Nemesis).map_or(0, |entry| entry.time);
    for call in calls.kv.iter().filter(|call| !may_be_stale(&call.request)) {
        let at_revision = matches!(&call.request, Request::Range(range) if range.revision > 0);
        let (Some(answer), Some(index)) = (call.answer().filter(|_| !at_revision), call.returned) else { continue };
        for kv in shown(answer).filter(|kv| kv.lease != 0) {
            let Some(lease) = leases.get(&kv.lease) else { continue };
            // Who takes over may begin the lease's time anew.
            let due = lease.may_last_until.max(broken as f64 + lease.granted as f64 * SECOND);
            let late = (call.begun as f64 - due) / SECOND;
            if late > bounds.late_seconds {
                judge.wrong(format!("{} was there {late:.1} s after the time of lease {}", kv.key, kv.lease), [lease.kept_by, index]);
            }
        }
    }
}
