//! A database that is full: while the alarm is on nothing more is written, on any member; when room has been made and the alarm is off
//! everybody writes again; and nothing that was acknowledged is lost over it.

use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Writes a large value under a key of its own. Its request is a [`Fill`], its answer a [`Done`].
pub const FILL: &str = "fill";
/// Asks whether the alarm is on, and not for the past. Its request is not looked at, its answer is an [`Alarm`].
pub const ALARM: &str = "alarm";
/// Deletes all keys below one. Its request is a [`Clear`], its answer a [`Done`].
pub const CLEAR: &str = "clear";
/// Turns the alarm off. Neither request nor answer is looked at.
pub const DISARM: &str = "disarm";
/// Reads which keys there are, and not from the past. Its request is not looked at, its answer is a [`Kept`].
pub const KEPT: &str = "kept";
/// What etcd says when it is full.
pub const FULL: &str = "database space exceeded";

/// For so long after it was asked for, a request without an answer may still take effect, in nanoseconds: members give up sooner.
const LATE: u64 = 15_000_000_000;
/// So many writes that are told that there is no room, and none that finds some, show that there is none.
const TRIES: usize = 5;

/// `{"key": 7}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The key's number; nobody else writes it.
    pub key: u64,
}

/// `{"below": 7}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clear {
    /// The first number that stays.
    pub below: u64,
}

/// `{"revision": 12}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The revision that was made.
    pub revision: i64,
}

/// `{"on": true}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Whether the database is full.
    pub on: bool,
}

/// `{"keys": [7, 8]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The numbers of the keys that are there.
    pub keys: BTreeSet<u64>,
}

type FillCall = Call<Fill, Done>;
type ClearCall = Call<Clear, Done>;

/// Judges a history of a database that is full now and then.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("quota", &error))
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("quota");
    let fills: Vec<FillCall> = history.calls(FILL)?;
    let clears: Vec<ClearCall> = history.calls(CLEAR)?;
    let alarms: Vec<Call<Value, Alarm>> = history.calls(ALARM)?;
    let disarms: Vec<Call<Value, Value>> = history.calls(DISARM)?;
    let kept: Vec<Call<Value, Kept>> = history.calls(KEPT)?;
    check_full(&mut judge, &fills, &alarms, &disarms);
    check_cured(&mut judge, &fills, &alarms, &disarms);
    check_kept(&mut judge, &fills, &clears, &kept);
    judge.stat("written", fills.iter().filter(|fill| fill.answer().is_some()).count());
    judge.stat("refused", fills.iter().filter(|fill| is_full(fill)).count());
    judge.stat("disarmed", disarms.iter().filter(|disarm| disarm.answer().is_some()).count());
    Ok(judge.verdict())
}

fn is_full(fill: &FillCall) -> bool {
    matches!(&fill.outcome, Outcome::Failed(why) if why.contains(FULL))
}

/// Until when something may take effect.
fn over<Q, A>(call: &Call<Q, A>) -> u64 {
    match call.outcome {
        Outcome::Unknown(_) => call.begun.saturating_add(LATE),
        _ => call.ended.unwrap_or(u64::MAX),
    }
}

/// Between an alarm that was seen and the next attempt to turn it off, nothing is written.
fn check_full(judge: &mut Judge, fills: &[FillCall], alarms: &[Call<Value, Alarm>], disarms: &[Call<Value, Value>]) {
    for alarm in alarms {
        let (Some(Alarm { on: true }), Some(seen), Some(shows)) = (alarm.answer(), alarm.ended, alarm.returned) else { continue };
        // One that was under way may have turned it off since.
        if disarms.iter().any(|disarm| disarm.begun < seen && over(disarm) > alarm.begun) {
            continue;
        }
        let until = disarms.iter().map(|disarm| disarm.begun).filter(|begun| *begun > seen).min().unwrap_or(u64::MAX);
        judge.checked(1);
        for fill in fills.iter().filter(|fill| fill.begun > seen && fill.ended.is_some_and(|ended| ended < until)) {
            if let (Some(done), Some(index)) = (fill.answer(), fill.returned) {
                judge.wrong(
                    format!("{} was written at revision {}, while the alarm was on", fill.request.key, done.revision),
                    [shows, index],
                );
            }
        }
    }
}

/// After the alarm has been turned off, and until it is seen again, somebody finds room.
fn check_cured(judge: &mut Judge, fills: &[FillCall], alarms: &[Call<Value, Alarm>], disarms: &[Call<Value, Value>]) {
    for disarm in disarms {
        let (Some(_), Some(off), Some(shows)) = (disarm.answer(), disarm.ended, disarm.returned) else { continue };
        let seen_again = |alarm: &&Call<Value, Alarm>| alarm.answer().is_some_and(|alarm| alarm.on) && alarm.begun > off;
        let until = alarms.iter().filter(seen_again).map(|alarm| alarm.begun).min().unwrap_or(u64::MAX);
        let tried: Vec<&FillCall> = fills.iter().filter(|fill| fill.begun > off && fill.ended.is_some_and(|ended| ended < until)).collect();
        judge.checked(1);
        let full: Vec<usize> = tried.iter().filter(|fill| is_full(fill)).filter_map(|fill| fill.returned).collect();
        if full.len() >= TRIES && !tried.iter().any(|fill| fill.answer().is_some()) {
            judge.wrong(format!("after the alarm was turned off {} writes found no room, and none did", full.len()), [shows, full[0]]);
        }
    }
}

/// What was acknowledged is there, unless it was deleted; what was deleted is not.
fn check_kept(judge: &mut Judge, fills: &[FillCall], clears: &[ClearCall], kept: &[Call<Value, Kept>]) {
    let by_key: BTreeMap<u64, &FillCall> = fills.iter().map(|fill| (fill.request.key, fill)).collect();
    for look in kept {
        let (Some(Kept { keys }), Some(shows)) = (look.answer(), look.returned) else { continue };
        judge.checked(1);
        for fill in fills.iter().filter(|fill| !keys.contains(&fill.request.key) && fill.ended.is_some_and(|ended| ended < look.begun)) {
            let (Some(done), Some(index)) = (fill.answer(), fill.returned) else { continue };
            let deleted = clears.iter().any(|clear| may_delete(clear, fill.request.key, done.revision));
            if !deleted {
                judge.wrong(format!("{} was written at revision {} and is lost", fill.request.key, done.revision), [index, shows]);
            }
        }
        for key in keys {
            let Some(fill) = by_key.get(key) else {
                judge.wrong(format!("{key} is there, and nobody wrote it"), [shows]);
                continue;
            };
            if matches!(fill.outcome, Outcome::Failed(_)) {
                judge.wrong(format!("{key} was refused, and is there"), [fill.invoked, shows]);
            }
            let gone = clears.iter().find(|clear| must_have_deleted(clear, fill) && clear.ended.is_some_and(|ended| ended < look.begun));
            if let Some(clear) = gone {
                judge.wrong(format!("{key} was deleted, and is there"), [clear.invoked, shows]);
            }
        }
    }
}

fn may_delete(clear: &ClearCall, key: u64, written_at: i64) -> bool {
    key < clear.request.below
        && match &clear.outcome {
            Outcome::Ok(done) => done.revision > written_at,
            Outcome::Unknown(_) => true,
            Outcome::Failed(_) => false,
        }
}

fn must_have_deleted(clear: &ClearCall, fill: &FillCall) -> bool {
    let after = clear.answer().zip(fill.answer()).is_some_and(|(clear, fill)| clear.revision > fill.revision);
    after && fill.request.key < clear.request.below
}
