//! Revisions: for a client and for a member they never go back, and one revision shows one thing, whoever shows it.

use super::kv::realtime::may_be_stale;
use super::kv::sightings::{Calls, Contradiction, KvCall, Shown, Sightings, shown};
use super::kv::store::branch;
use super::{Judge, Verdict};
use crate::history::{History, Process};
use crate::kv::{Answer, Op, Request, Result};
use std::collections::{BTreeMap, HashMap};

/// Judges the revisions of `kv` answers and watches.
pub fn check(history: &History) -> Verdict {
    let calls = match Calls::of(history) {
        Ok(calls) => calls,
        Err(error) => return Verdict::malformed("revisions", &error),
    };
    let mut judge = Judge::new("revisions");
    judge.checked(calls.kv.len() + calls.watches.len());
    let sightings = Sightings::of(&calls);
    check_contents(&mut judge, &calls, &sightings);
    check_numbers(&mut judge, &calls);
    check_processes(&mut judge, &calls);
    check_members(&mut judge, history, &calls);
    judge.stat("revisions", sightings.shown.len());
    judge.verdict()
}

fn indexes(call: &KvCall) -> impl Iterator<Item = usize> + use<> {
    std::iter::once(call.invoked).chain(call.returned)
}

fn contents(shown: &Shown) -> String {
    match &shown.value {
        Some(kv) => format!("{:?} made at {}, version {}, lease {}", kv.value, kv.create_revision, kv.version, kv.lease),
        None => "a deletion".into(),
    }
}

/// One key has one content at one revision.
fn check_contents(judge: &mut Judge, calls: &Calls, sightings: &Sightings) {
    for Contradiction { key, revision, one, other } in &sightings.contradictions {
        judge.wrong(format!("{key} at revision {revision} is {} and {}", contents(one), contents(other)), [one.index, other.index]);
    }
    for call in &calls.kv {
        let (Request::Txn(txn), Some(Answer { revision, result: Result::Txn { succeeded, .. } })) = (&call.request, call.answer()) else {
            continue;
        };
        for op in branch(txn, *succeeded) {
            let Op::Put { key, value, lease } = op else { continue };
            let Some(shown) = sightings.shown.get(revision).and_then(|shown| shown.get(key)) else { continue };
            if shown.value.as_ref().is_none_or(|kv| kv.value != *value || kv.lease != *lease) {
                let what = format!("{key}={value:?} was written at revision {revision}, and there was seen {}", contents(shown));
                judge.wrong(what, indexes(call).chain([shown.index]));
            }
        }
    }
}

/// In an answer nothing is newer than the answer itself, and every key's numbers fit one another.
fn check_numbers(judge: &mut Judge, calls: &Calls) {
    for call in &calls.kv {
        let Some(answer) = call.answer().filter(|answer| answer.revision > 0) else { continue };
        for kv in shown(answer) {
            let fits = kv.create_revision > 0
                && kv.create_revision <= kv.mod_revision
                && kv.mod_revision <= answer.revision
                && kv.version >= 1
                && (kv.version == 1) == (kv.create_revision == kv.mod_revision);
            if !fits {
                let what = format!(
                    "an answer of revision {} has {} made at {}, changed at {}, version {}",
                    answer.revision, kv.key, kv.create_revision, kv.mod_revision, kv.version
                );
                judge.wrong(what, indexes(call));
            }
        }
    }
}

/// A client that does not ask for the past is not answered with it.
fn check_processes(judge: &mut Judge, calls: &Calls) {
    let mut last: HashMap<Process, (i64, usize)> = HashMap::new();
    for call in calls.kv.iter().filter(|call| !may_be_stale(&call.request)) {
        let Some(revision) = call.answer().map(|answer| answer.revision).filter(|revision| *revision > 0) else { continue };
        let before = last.entry(call.process).or_insert((0, call.invoked));
        if revision < before.0 {
            let what = format!("{:?} was answered at revision {revision}, after revision {}", call.process, before.0);
            judge.wrong(what, [before.1].into_iter().chain(call.returned));
        } else {
            *before = (revision, call.returned.unwrap_or(call.invoked));
        }
    }
}

/// A member that nobody broke does not go back. One that comes back from a crash may, for those who ask for the past.
fn check_members(judge: &mut Judge, history: &History, calls: &Calls) {
    let broken = history.entries.iter().find(|entry| entry.process == Process::Nemesis).map_or(u64::MAX, |entry| entry.time);
    let mut members: BTreeMap<&str, Vec<(u64, u64, i64, usize)>> = BTreeMap::new();
    for call in &calls.kv {
        let local = matches!(call.request, Request::KeepAlive { .. } | Request::Defragment);
        let (Some(node), Some(answer), Some(ended), Some(index)) = (&call.node, call.answer(), call.ended, call.returned) else { continue };
        if !local && answer.revision > 0 && ended < broken {
            members.entry(node).or_default().push((call.begun, ended, answer.revision, index));
        }
    }
    for (node, mut answers) in members {
        answers.sort_unstable_by_key(|(begun, ..)| *begun);
        let mut ends = answers.clone();
        ends.sort_unstable_by_key(|(_, ended, ..)| *ended);
        let mut ends = ends.into_iter().peekable();
        let mut highest = (0, 0);
        for (begun, _, revision, index) in answers {
            while let Some((_, _, revision, index)) = ends.next_if(|(_, ended, ..)| *ended < begun) {
                highest = highest.max((revision, index));
            }
            if revision < highest.0 {
                judge.wrong(format!("{node} answered at revision {revision}, after revision {}", highest.0), [highest.1, index]);
            }
        }
    }
}
