//! Availability: after everything is healed all members serve again within a bound, and while a minority is cut off the majority does.
//!
//! A nemesis notes what it does as `info` entries with the fault's name as `f`: `{"begin": {...}}` when a fault begins and `{"end": {...}}`
//! when it ends; in between, `{"done": {...}}` may say what was done. A cut that leaves a majority names its members in either:
//! `{"begin": {"majority": ["s1", "s2"]}}`. When nothing is broken any more,
//! it notes [`HEAL`], `{"end": {"members": ["s1", "s2"]}}` if not all who were asked are members still.

use super::{Judge, Verdict};
use crate::history::{Entry, History, Phase, Process};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What a nemesis notes when nothing is broken any more.
pub const HEAL: &str = "heal";

/// What a nemesis notes of a fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// It begins.
    Begin(Value),
    /// It ends.
    End(Value),
}

/// How soon the store must serve again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Seconds after the last heal until every member has answered an operation of each kind that it is asked for.
    pub after_heal_seconds: f64,
    /// Seconds after a cut until the majority's side has answered; none to not look at it.
    #[serde(default)]
    pub majority_seconds: Option<f64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { after_heal_seconds: 30.0, majority_seconds: None }
    }
}

/// When faults begin and end, with what the nemesis said of them. One that has no end lasts until the next heal.
pub fn faults(history: &History) -> Vec<Interval> {
    let mut faults: Vec<Interval> = Vec::new();
    let mut open: HashMap<&str, Vec<usize>> = HashMap::new();
    for entry in history.entries.iter().filter(|entry| entry.process == Process::Nemesis) {
        if entry.f == HEAL {
            open.drain().flat_map(|(_, places)| places).for_each(|place| faults[place].end = Some(entry.time));
            continue;
        }
        match serde_json::from_value(entry.value.clone()) {
            Ok(Fault::Begin(value)) => {
                open.entry(&entry.f).or_default().push(faults.len());
                faults.push(Interval { f: entry.f.clone(), begin: entry.time, end: None, value, index: entry.index });
            }
            Ok(Fault::End(_)) => {
                let place = open.get_mut(entry.f.as_str()).and_then(Vec::pop);
                place.into_iter().for_each(|place| faults[place].end = Some(entry.time));
            }
            // More of what is under way, or something that has no length.
            Err(_) => {
                if let Some(place) = open.get(entry.f.as_str()).and_then(|places| places.last()) {
                    faults[*place].value = entry.value.get("done").unwrap_or(&entry.value).clone();
                    continue;
                }
                let (value, end) = (entry.value.clone(), Some(entry.time));
                faults.push(Interval { f: entry.f.clone(), begin: entry.time, end, value, index: entry.index });
            }
        }
    }
    faults
}

/// A fault, from its beginning to its end, in nanoseconds since the run began.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// The fault's name.
    pub f: String,
    /// When it began.
    pub begin: u64,
    /// When it ended; none if it never did.
    pub end: Option<u64>,
    /// What the nemesis said of it.
    pub value: Value,
    /// The entry of its beginning.
    pub index: usize,
}

/// An attempt of a client at one member.
struct Attempt<'a> {
    kind: String,
    node: &'a str,
    begun: u64,
    /// When it ended.
    ended: Option<u64>,
    /// When it was served.
    done: Option<u64>,
}

/// What takes as long as it takes, or asks somebody else than the store.
const PATIENT: [&str; 6] =
    ["watch", super::lock::ACQUIRE, super::lock::OBSERVE, super::election::FOLLOW, super::informer::INFORMER, super::informer::TRUTH];
/// Words of a refusal that only a store that serves can make.
const SERVED: [&str; 7] = ["already exist", "AlreadyExists", "onflict", "not found", "NotFound", "compar", super::quota::FULL];
/// Words of a refusal that a store makes when it does not serve.
const UNSERVED: [&str; 5] = ["no leader", "timed out", "leader changed", "server stopped", "unhealthy cluster"];

/// The kind of an operation: its name, and for `kv` what is asked for.
fn kind(entry: &Entry) -> String {
    match entry.value.as_object().and_then(|request| request.keys().next()) {
        Some(what) if entry.f == "kv" => format!("kv {what}"),
        _ => entry.f.clone(),
    }
}

fn attempts(history: &History) -> Vec<Attempt<'_>> {
    let mut attempts: Vec<Attempt<'_>> = Vec::new();
    let mut open: HashMap<(Process, &str), usize> = HashMap::new();
    for entry in history.entries.iter().filter(|entry| entry.process != Process::Nemesis) {
        let Some(node) = entry.node.as_deref().filter(|_| !PATIENT.contains(&entry.f.as_str())) else { continue };
        if entry.phase == Phase::Invoke {
            open.insert((entry.process, &entry.f), attempts.len());
            attempts.push(Attempt { kind: kind(entry), node, begun: entry.time, ended: None, done: None });
        } else if let Some(place) = open.remove(&(entry.process, entry.f.as_str())) {
            attempts[place].ended = Some(entry.time);
            attempts[place].done = served(entry).then_some(entry.time);
        }
    }
    attempts
}

/// Whether an end shows a store that serves: one that says no for a reason of its own does, one that cannot say does not.
fn served(entry: &Entry) -> bool {
    let refused = entry.value.pointer("/result/refused").and_then(Value::as_str).unwrap_or_default();
    let error = entry.error.as_deref().unwrap_or_default();
    match entry.phase {
        Phase::Ok => !UNSERVED.iter().any(|words| refused.contains(words)),
        Phase::Fail => SERVED.iter().any(|words| error.contains(words)) && !UNSERVED.iter().any(|words| error.contains(words)),
        Phase::Invoke | Phase::Info => false,
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// Judges with the default bounds.
pub fn check(history: &History) -> Verdict {
    check_with(history, Bounds::default())
}

/// Judges how soon the store served again.
pub fn check_with(history: &History, bounds: Bounds) -> Verdict {
    let mut judge = Judge::new("available");
    let attempts = attempts(history);
    after_heal(&mut judge, history, &attempts, bounds);
    if let Some(bound) = bounds.majority_seconds {
        majorities(&mut judge, history, &attempts, bound);
    }
    judge.verdict()
}

fn after_heal(judge: &mut Judge, history: &History, attempts: &[Attempt<'_>], bounds: Bounds) {
    let is_heal = |entry: &&Entry| entry.process == Process::Nemesis && entry.f == HEAL;
    let Some(heal) = history.entries.iter().rev().find(is_heal) else { return };
    let until = heal.time.saturating_add((bounds.after_heal_seconds * 1e9) as u64);
    let after = |attempt: &&Attempt<'_>| {
        (attempt.begun >= heal.time || attempt.ended.is_some_and(|ended| ended > heal.time)) && attempt.begun <= until
    };
    // When each member served for the first time, if that was in time.
    let mut first: HashMap<&str, u64> = HashMap::new();
    for (node, done) in
        attempts.iter().filter(after).filter_map(|attempt| Some((attempt.node, attempt.done.filter(|done| *done <= until)?)))
    {
        first.entry(node).and_modify(|first| *first = done.min(*first)).or_insert(done);
    }
    let mut kinds: BTreeMap<(&str, &str), (usize, Option<u64>)> = BTreeMap::new();
    for attempt in attempts {
        let (tries, soonest) = kinds.entry((attempt.node, &attempt.kind)).or_default();
        let first = first.get(attempt.node).copied();
        // Who was turned away before the member served anybody has learned nothing of what it served then.
        let early = attempt.done.is_none() && attempt.ended.is_some_and(|ended| first.is_some_and(|first| ended < first));
        if after(&attempt) && !early {
            *tries += 1;
            // What is asked for the first time when the member has long served is not late by that.
            let due = if first.is_some_and(|first| first < attempt.begun) { attempt.begun } else { heal.time };
            let took = attempt.done.map(|done| done.saturating_sub(due));
            *soonest = soonest.iter().copied().chain(took).min();
        }
    }
    if let Some(members) = heal.value.pointer("/end/members").and_then(Value::as_array) {
        kinds.retain(|(node, _), _| members.iter().any(|member| member == node));
    }
    let over = history.entries.last().map_or(0, |entry| entry.time);
    let (mut longest, mut in_time) = (0.0f64, 0);
    let served: HashSet<&str> = kinds.iter().filter(|(_, (_, soonest))| soonest.is_some()).map(|((node, _), _)| *node).collect();
    let asked: BTreeSet<&str> = kinds.iter().filter(|(_, (tries, _))| *tries > 0).map(|((node, _), _)| *node).collect();
    for node in asked.into_iter().filter(|node| over < until && !served.contains(node)) {
        judge.unsure(format!("{node} served nothing after the heal, and the run was over before the bound"), [heal.index]);
    }
    for ((node, kind), (tries, soonest)) in kinds {
        judge.checked(usize::from(tries > 0));
        let took = soonest.map(seconds);
        match took {
            Some(took) if took <= bounds.after_heal_seconds => longest = longest.max(took),
            Some(took) => judge.wrong(format!("{node} served its first {kind} {took:.1} s after the heal"), [heal.index]),
            // It might have, if there had been time.
            None if tries > 0 && over < until => in_time += 1,
            None if tries > 0 => {
                judge.wrong(format!("{node} served no {kind} after the heal, asked {tries} times within the bound"), [heal.index]);
            }
            None => {}
        }
    }
    if in_time > 0 {
        judge.stat("not-seen-to-serve-before-the-end", in_time);
    }
    judge.stat("seconds-after-heal", (longest * 1000.0).round() / 1000.0);
}

fn majorities(judge: &mut Judge, history: &History, attempts: &[Attempt<'_>], bound: f64) {
    let mut longest = 0.0f64;
    for fault in faults(history) {
        let Some(majority) = fault.value.get("majority").and_then(Value::as_array) else { continue };
        let majority: Vec<&str> = majority.iter().filter_map(Value::as_str).collect();
        let until = fault.begin.saturating_add((bound * 1e9) as u64);
        // A cut that was healed before is not held to the bound.
        if fault.end.is_some_and(|end| end < until) {
            continue;
        }
        let asked = attempts.iter().filter(|attempt| majority.contains(&attempt.node) && attempt.begun > fault.begin);
        let asked: Vec<_> = asked.filter(|attempt| attempt.begun <= until).collect();
        judge.checked(usize::from(!asked.is_empty()));
        match asked.iter().filter_map(|attempt| attempt.done).min() {
            Some(done) if done <= until => longest = longest.max(seconds(done - fault.begin)),
            None if asked.is_empty() => {}
            _ => judge.wrong(format!("{} served nothing within {bound} s of {}", majority.join(" and "), fault.f), [fault.index]),
        }
    }
    judge.stat("seconds-without-majority-service", (longest * 1000.0).round() / 1000.0);
}
