//! Controllers: at most one acts. Two that make up for the same missing pod would make two.

use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Sets how many pods a set should have; more than before. Its request is a [`Scale`]; its answer is not looked at.
pub const SCALE: &str = "scale";
/// Counts the pods of a set, and not those of the past. Its request is a [`Of`], its answer a [`Count`].
pub const COUNT: &str = "count";
/// The same, at the end, when everybody has had time. Its request is a [`Of`], its answer a [`Count`].
pub const SETTLED: &str = "settled";

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

/// Judges the counts of a history.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("controllers", &error))
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("controllers");
    let scales: Vec<Call<Scale, Value>> = history.calls(SCALE)?;
    let counts: Vec<Call<Of, Count>> = history.calls(COUNT)?;
    let settled: Vec<Call<Of, Count>> = history.calls(SETTLED)?;
    let mut sets: BTreeMap<&str, Vec<&Call<Scale, Value>>> = BTreeMap::new();
    for scale in scales.iter().filter(|scale| !matches!(scale.outcome, Outcome::Failed(_))) {
        sets.entry(&scale.request.set).or_default().push(scale);
    }
    let mut most = 0;
    for call in counts.iter().chain(&settled) {
        let (Some(count), Some(ended), Some(index)) = (call.answer(), call.ended, call.returned) else { continue };
        judge.checked(1);
        most = most.max(count.pods);
        let asked = sets.get(call.request.set.as_str()).into_iter().flatten().filter(|scale| scale.begun < ended);
        let wanted = asked.map(|scale| (scale.request.replicas, scale.invoked)).max().unwrap_or((0, index));
        if count.pods > wanted.0 {
            let what = format!("{} has {} pods, and never should have had more than {}", call.request.set, count.pods, wanted.0);
            judge.wrong(what, [wanted.1, index]);
        }
    }
    for call in &settled {
        let (Some(count), Some(index)) = (call.answer(), call.returned) else { continue };
        let certain = sets.get(call.request.set.as_str()).into_iter().flatten().filter(|scale| scale.answer().is_some());
        let wanted = certain.map(|scale| (scale.request.replicas, scale.invoked)).max().unwrap_or((0, index));
        if count.pods < wanted.0 {
            judge.wrong(format!("{} ends with {} pods, and should have {}", call.request.set, count.pods, wanted.0), [wanted.1, index]);
        }
    }
    judge.stat("most-pods", most);
    Ok(judge.verdict())
}
