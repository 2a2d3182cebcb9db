//! Controllers: at most one acts, since two that make up for the same missing pod would make two; and in the end one has acted.

use super::available::HEAL;
use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Outcome, Process};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Sets how many pods a set should have; more than before. Its request is a [`Scale`]; its answer is not looked at.
pub const SCALE: &str = "scale";
/// Takes a pod away. Neither its request nor its answer is looked at.
pub const TAKE_AWAY: &str = "take-away";
/// Counts the pods of a set, and not those of the past. Its request is a [`Of`], its answer a [`Count`].
pub const COUNT: &str = "count";
/// Looks, when nobody changes anything any more, whether a set has come to what it asks for; again until it has, or time is up. Its request
/// is a [`Of`], its answer a [`Settled`].
pub const SETTLED: &str = "settled";
/// Seconds that controllers have for it, from the last fault and the last thing that anybody did.
pub const SETTLES_SECONDS: f64 = 20.0;

/// `{"set": "a", "replicas": 3}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scale {
    /// The set.
    pub set: String,
    /// How many pods it should have.
    pub replicas: i64,
}

/// `{"set": "a"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Of {
    /// The set.
    pub set: String,
}

/// `{"pods": 3}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Pods of the set that are not being deleted.
    pub pods: i64,
}

/// `{"replicas": 3, "pods": 2}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// How many pods the set asks for.
    pub replicas: i64,
    /// Pods of the set that are not being deleted.
    pub pods: i64,
}

/// Judges the counts of a history.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("controllers", &error))
}

type Scales<'a> = BTreeMap<&'a str, Vec<&'a Call<Scale, Value>>>;

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("controllers");
    let scales: Vec<Call<Scale, Value>> = history.calls(SCALE)?;
    let counts: Vec<Call<Of, Count>> = history.calls(COUNT)?;
    let settled: Vec<Call<Of, Settled>> = history.calls(SETTLED)?;
    let mut sets = Scales::new();
    for scale in scales.iter().filter(|scale| !matches!(scale.outcome, Outcome::Failed(_))) {
        sets.entry(&scale.request.set).or_default().push(scale);
    }
    let counted = counts.iter().filter_map(|call| Some((&call.request.set, call.answer()?.pods, call.ended?, call.returned?)));
    let looked = settled.iter().filter_map(|call| Some((&call.request.set, call.answer()?.pods, call.ended?, call.returned?)));
    let mut most = 0;
    for (set, pods, ended, index) in counted.chain(looked) {
        judge.checked(1);
        most = most.max(pods);
        let asked = sets.get(set.as_str()).into_iter().flatten().filter(|scale| scale.begun < ended);
        let wanted = asked.map(|scale| (scale.request.replicas, scale.invoked)).max().unwrap_or((0, index));
        if pods > wanted.0 {
            judge.wrong(format!("{set} has {pods} pods, and never should have had more than {}", wanted.0), [wanted.1, index]);
        }
    }
    judge.stat("most-pods", most);
    ends(&mut judge, &sets, &settled, last_change(history)?);
    Ok(judge.verdict())
}

/// When the last fault was over and the last client had changed something.
fn last_change(history: &History) -> Result<u64, Malformed> {
    let heals = history.entries.iter().filter(|entry| entry.process == Process::Nemesis && entry.f == HEAL);
    let taken: Vec<Call<Value, Value>> = history.calls(TAKE_AWAY)?;
    let scaled: Vec<Call<Value, Value>> = history.calls(SCALE)?;
    let changed = taken.iter().chain(&scaled).filter_map(|call| call.ended);
    Ok(heals.map(|entry| entry.time).chain(changed).max().unwrap_or(0))
}

/// Each set ends with exactly as many pods as it asks for, and asks for what it was scaled to; and does so in time.
fn ends(judge: &mut Judge, sets: &Scales<'_>, settled: &[Call<Of, Settled>], changed: u64) {
    let mut looks: BTreeMap<&str, Vec<&Call<Of, Settled>>> = BTreeMap::new();
    for look in settled {
        looks.entry(&look.request.set).or_default().push(look);
    }
    let mut longest = 0.0f64;
    for (set, looks) in looks {
        let mut answers = looks.iter().filter_map(|look| Some((look.answer()?, look.ended?, look.returned?)));
        let Some((last, ended, index)) = answers.next_back() else {
            judge.unsure(format!("nobody could say how many pods {set} ends with"), looks.iter().map(|look| look.invoked));
            continue;
        };
        let certain = sets.get(set).into_iter().flatten().filter(|scale| scale.answer().is_some());
        let certain = certain.map(|scale| (scale.request.replicas, scale.invoked)).max().unwrap_or((0, index));
        if last.replicas < certain.0 {
            judge.wrong(format!("{set} ends asking for {} pods, and was scaled to {}", last.replicas, certain.0), [certain.1, index]);
        }
        if last.pods != last.replicas {
            judge.wrong(format!("{set} ends with {} pods, and should have {}", last.pods, last.replicas), [index]);
            continue;
        }
        let took = ended.saturating_sub(changed) as f64 / 1e9;
        longest = longest.max(took);
        if took > SETTLES_SECONDS {
            judge.wrong(format!("{set} had its {} pods only {took:.1} s after the last change", last.pods), [index]);
        }
    }
    judge.stat("seconds-to-settle", (longest * 1000.0).round() / 1000.0);
}
