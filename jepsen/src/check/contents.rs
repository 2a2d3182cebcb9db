//! Contents: members that are at the same revision hold the same keys, and so does etcd itself after the same writes. It says no more than
//! the hashes do, but it says where.

use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Outcome};
use crate::kv::KeyValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Reads everything that a store holds at a revision. Its request is an [`Of`], its answer a [`Contents`].
pub const CONTENTS: &str = "contents";
/// Does the same writes to etcd itself. Its request is not looked at, its answer is a [`Replayed`]; if it could not be done it fails.
pub const REPLAY: &str = "replay";

/// `{"member": "n1"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Of {
    /// Whose contents.
    pub member: String,
}

/// `{"revision": 40, "kvs": […]}`; long values may be shortened, at all stores in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The revision.
    pub revision: i64,
    /// The keys in order.
    pub kvs: Vec<KeyValue>,
}

/// `{"writes": 39}`, and `{"writes": 12, "came_to": 13, "expected": 14}` when a write did not lead to the revision that it had led to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// How many writes were done.
    pub writes: usize,
    /// The revision that the last one led to.
    #[serde(default)]
    pub came_to: i64,
    /// The revision that it should have led to.
    #[serde(default)]
    pub expected: i64,
}

/// Judges the contents of a history.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("contents", &error))
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("contents");
    let calls: Vec<Call<Of, Contents>> = history.calls(CONTENTS)?;
    let replays: Vec<Call<Value, Replayed>> = history.calls(REPLAY)?;
    let mut known: BTreeMap<i64, (&str, &[KeyValue], usize)> = BTreeMap::new();
    for call in &calls {
        let (Some(found), Some(index)) = (call.answer(), call.returned) else { continue };
        judge.checked(1);
        let member = call.request.member.as_str();
        let (other, kvs, before) = *known.entry(found.revision).or_insert((member, &found.kvs, index));
        if let Some(difference) = difference((other, kvs), (member, &found.kvs)) {
            judge.wrong(format!("at revision {}, {difference}", found.revision), [before, index]);
        }
    }
    for call in &replays {
        match (&call.outcome, call.returned) {
            (Outcome::Ok(replayed), Some(index)) => {
                judge.checked(1);
                judge.stat("replayed", replayed.writes);
                if replayed.came_to != replayed.expected {
                    let Replayed { writes, came_to, expected } = replayed;
                    judge.wrong(format!("after {writes} of the same writes etcd is at revision {came_to}, not {expected}"), [index]);
                }
            }
            (Outcome::Failed(why) | Outcome::Unknown(why), _) => judge.stat("not-replayed", why.as_str()),
            _ => {}
        }
    }
    Ok(judge.verdict())
}

/// The first difference between what two stores hold.
fn difference((one, ours): (&str, &[KeyValue]), (other, theirs): (&str, &[KeyValue])) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let by_key = |kvs: &[KeyValue]| -> BTreeMap<String, KeyValue> { kvs.iter().map(|kv| (kv.key.clone(), kv.clone())).collect() };
    let (ours, theirs) = (by_key(ours), by_key(theirs));
    let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let differs = keys.into_iter().find(|key| ours.get(*key) != theirs.get(*key));
    let has = |kv: Option<&KeyValue>| kv.map_or("nothing".into(), |kv| format!("{kv:?}"));
    Some(match differs {
        Some(key) => format!("{key} is {} for {one} and {} for {other}", has(ours.get(key)), has(theirs.get(key))),
        None => format!("{one} and {other} have keys twice or in another order"),
    })
}
