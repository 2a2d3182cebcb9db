//! Finalizers: an object is not gone before its last finalizer has been taken away, and what is being deleted stays so.

use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Makes an object with finalizers. Its request is a [`Named`], its answer a [`Look`].
pub const MAKE: &str = "make";
/// Takes a finalizer away, if the object is still what it was. Its request is an [`Unfinish`]; its answer is not looked at.
pub const UNFINISH: &str = "unfinish";
/// Deletes an object of a uid. Its request is an [`End`]; its answer is not looked at.
pub const END: &str = "end";
/// Reads an object, and not from the past. Its request is a [`Named`], its answer a [`Look`].
pub const LOOK: &str = "look";

/// `{"name": "a"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Named {
    /// The object.
    pub name: String,
}

/// `{"name": "a", "uid": "0-1", "finalizer": "x"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unfinish {
    /// The object.
    pub name: String,
    /// Which life of it.
    pub uid: String,
    /// What is taken away.
    pub finalizer: String,
}

/// `{"name": "a", "uid": "0-1"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct End {
    /// The object.
    pub name: String,
    /// Which life of it.
    pub uid: String,
}

/// `{"uid": "0-1", "version": 7, "finalizers": ["x"], "deleted": "2030-01-01T00:00:00Z"}`; without a uid it is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Look {
    /// Which life of the object; empty when it is not there.
    #[serde(default)]
    pub uid: String,
    /// Its resourceVersion.
    #[serde(default)]
    pub version: i64,
    /// Its finalizers.
    #[serde(default)]
    pub finalizers: BTreeSet<String>,
    /// Its deletionTimestamp, if it has one.
    #[serde(default)]
    pub deleted: Option<String>,
}

/// Everything that was noted.
struct Calls {
    makes: Vec<Call<Named, Look>>,
    looks: Vec<Call<Named, Look>>,
    unfinished: Vec<Call<Unfinish, Value>>,
    ends: Vec<Call<End, Value>>,
}

/// What was seen of each object, by UID.
type Lives<'a> = BTreeMap<&'a str, Vec<(&'a Look, &'a Call<Named, Look>)>>;

/// Judges a history of objects with finalizers.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("finalizers", &error))
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("finalizers");
    let calls =
        Calls { makes: history.calls(MAKE)?, looks: history.calls(LOOK)?, unfinished: history.calls(UNFINISH)?, ends: history.calls(END)? };
    let mut lives: Lives<'_> = BTreeMap::new();
    for call in calls.makes.iter().chain(&calls.looks) {
        if let Some(look) = call.answer().filter(|look| !look.uid.is_empty()) {
            lives.entry(&look.uid).or_default().push((look, call));
        }
    }
    for (uid, seen) in &mut lives {
        seen.sort_by_key(|(look, call)| (look.version, call.invoked));
        check_one_way(&mut judge, uid, seen);
    }
    for call in &calls.looks {
        let Some(look) = call.answer() else { continue };
        judge.checked(1);
        check_gone(&mut judge, &calls, call, look, &lives);
        check_deleted(&mut judge, &calls, call, look);
    }
    judge.stat("lives", lives.len());
    Ok(judge.verdict())
}

/// In one life finalizers only go, and what is being deleted has been since the same moment ever after.
fn check_one_way(judge: &mut Judge, uid: &str, seen: &[(&Look, &Call<Named, Look>)]) {
    for pair in seen.windows(2) {
        let [(before, one), (after, other)] = pair else { continue };
        let indexes = [one.returned.unwrap_or(one.invoked), other.returned.unwrap_or(other.invoked)];
        let name = &other.request.name;
        if before.version == after.version && before != after {
            judge.wrong(format!("{name} ({uid}) was seen at version {} in two ways", after.version), indexes);
        }
        if before.deleted.is_some() && before.deleted != after.deleted {
            judge.wrong(format!("{name} ({uid}) was deleted at {:?}, and later at {:?}", before.deleted, after.deleted), indexes);
        }
        if let Some(new) = after.finalizers.difference(&before.finalizers).next() {
            judge.wrong(format!("{name} ({uid}) has the finalizer {new} again"), indexes);
        }
    }
}

/// A life that was seen with finalizers, and is over, has lost each of them because somebody asked for it; and somebody had asked for its
/// end.
fn check_gone(judge: &mut Judge, calls: &Calls, call: &Call<Named, Look>, look: &Look, lives: &Lives<'_>) {
    let (Some(ended), Some(index)) = (call.ended, call.returned) else { return };
    for (uid, seen) in lives.iter().filter(|(uid, _)| **uid != look.uid) {
        let of_name = seen.iter().filter(|(_, seen)| seen.request.name == call.request.name);
        let known = of_name.filter(|(_, seen)| seen.ended.is_some_and(|ended| ended < call.begun));
        // What was seen last of it, in its own order.
        let Some((last, shows)) = known.max_by_key(|(look, _)| look.version) else { continue };
        let asked_away = |finalizer: &String| {
            calls.unfinished.iter().any(|away| {
                away.request.uid == *uid
                    && away.request.finalizer == *finalizer
                    && away.begun < ended
                    && !matches!(away.outcome, Outcome::Failed(_))
            })
        };
        if let Some(left) = last.finalizers.iter().find(|finalizer| !asked_away(finalizer)) {
            let what = format!("{} ({uid}) is gone, and nobody had taken its finalizer {left} away", call.request.name);
            judge.wrong(what, [shows.invoked, index]);
        }
        let ended_by = |end: &&Call<End, Value>| end.request.uid == *uid && end.begun < ended && !matches!(end.outcome, Outcome::Failed(_));
        if !calls.ends.iter().any(|end| ended_by(&end)) {
            judge.wrong(format!("{} ({uid}) is gone, and nobody had deleted it", call.request.name), [shows.invoked, index]);
        }
    }
}

/// What was deleted is being deleted from then on, and is gone when its finalizers are.
fn check_deleted(judge: &mut Judge, calls: &Calls, call: &Call<Named, Look>, look: &Look) {
    let Some(index) = call.returned.filter(|_| !look.uid.is_empty()) else { return };
    let before = |end: &&Call<End, Value>| {
        end.request.uid == look.uid && end.answer().is_some() && end.ended.is_some_and(|ended| ended < call.begun)
    };
    let Some(end) = calls.ends.iter().find(before) else { return };
    if look.deleted.is_none() {
        judge.wrong(format!("{} ({}) was deleted, and is not being deleted", call.request.name, look.uid), [end.invoked, index]);
    }
    if look.finalizers.is_empty() {
        judge.wrong(format!("{} ({}) was deleted, has no finalizers, and is there", call.request.name, look.uid), [end.invoked, index]);
    }
    let mut away: HashMap<&str, usize> = HashMap::new();
    for taken in calls.unfinished.iter().filter(|taken| taken.request.uid == look.uid) {
        if taken.answer().is_some() && taken.ended.is_some_and(|ended| ended < call.begun) {
            away.insert(&taken.request.finalizer, taken.invoked);
        }
    }
    for finalizer in &look.finalizers {
        if let Some(shows) = away.get(finalizer.as_str()) {
            judge.wrong(
                format!("{} ({}) has the finalizer {finalizer}, which was taken away", call.request.name, look.uid),
                [*shows, index],
            );
        }
    }
}
