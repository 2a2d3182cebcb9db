//! Objects of the Kubernetes API: no update is lost, and a name is made once a life.

use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Makes an object. Its request is a [`Create`], its answer a [`Written`]; "already exists" is a `fail`.
pub const CREATE: &str = "create";
/// Changes an object if it is still what it was. Its request is an [`Update`], its answer a [`Written`]; a conflict is a `fail`.
pub const UPDATE: &str = "update";
/// Deletes an object. Its request is a [`Delete`]; its answer is not looked at.
pub const DELETE: &str = "delete";
/// Reads an object, and not from the past. Its request has the shape of a [`Delete`], its answer a [`Found`].
pub const GET: &str = "get";

/// `{"name": "default/a", "by": "client-3"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Create {
    /// The object's name.
    pub name: String,
    /// Who makes it.
    #[serde(default)]
    pub by: String,
}

/// `{"name": "default/a", "resourceVersion": 31, "value": 5}`: `resourceVersion` is the one that the update is based on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// The object's name.
    pub name: String,
    /// The version that the update is based on.
    pub resource_version: i64,
    /// What is written; nobody writes the same twice.
    #[serde(default)]
    pub value: i64,
}

/// `{"name": "default/a"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Delete {
    /// The object's name.
    pub name: String,
}

/// `{"resourceVersion": 32}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// The version that was made.
    pub resource_version: i64,
}

/// `{"resourceVersion": 32, "value": 5}`, with 0 for the version when it is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The version that was found; 0 when the object is not there.
    pub resource_version: i64,
    /// What is written in it.
    #[serde(default)]
    pub value: i64,
}

/// Judges the objects of a history.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("object", &error))
}

/// The versions of objects that were made, and from which.
#[derive(Default)]
struct Objects<'a> {
    /// Who made a version.
    made: HashMap<(&'a str, i64), usize>,
    /// Who based an update on a version.
    based: HashMap<(&'a str, i64), usize>,
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("object");
    let creates: Vec<Call<Create, Written>> = history.calls(CREATE)?;
    let updates: Vec<Call<Update, Written>> = history.calls(UPDATE)?;
    let deletes: Vec<Call<Delete, Value>> = history.calls(DELETE)?;
    let gets: Vec<Call<Delete, Found>> = history.calls(GET)?;
    check_lives(&mut judge, &creates, &deletes);
    let mut objects = Objects::default();
    for call in &creates {
        let (Some(written), Some(index)) = (call.answer(), call.returned) else { continue };
        objects.made.insert((&call.request.name, written.resource_version), index);
    }
    for call in &updates {
        let (Some(written), Some(index)) = (call.answer(), call.returned) else { continue };
        judge.checked(1);
        let Update { name, resource_version, .. } = &call.request;
        if written.resource_version <= *resource_version {
            let what = format!("{name}: an update of version {resource_version} made {}", written.resource_version);
            judge.wrong(what, [index]);
        }
        if let Some(before) = objects.based.insert((name, *resource_version), index) {
            judge.wrong(format!("{name}: two updates of version {resource_version} were both done, so one is lost"), [before, index]);
        }
        if let Some(before) = objects.made.insert((name, written.resource_version), index) {
            judge.wrong(format!("{name}: two writes made version {}", written.resource_version), [before, index]);
        }
    }
    check_values(&mut judge, &updates, &gets);
    check_fresh(&mut judge, &creates, &updates, &gets);
    Ok(judge.verdict())
}

/// Between two creations of a name there is a deletion, each time another.
fn check_lives(judge: &mut Judge, creates: &[Call<Create, Written>], deletes: &[Call<Delete, Value>]) {
    type Life<'a> = (&'a Call<Create, Written>, usize);
    let mut lives: BTreeMap<&str, Vec<Life<'_>>> = BTreeMap::new();
    for call in creates {
        let (Some(_), Some(index)) = (call.answer(), call.returned) else { continue };
        judge.checked(1);
        lives.entry(&call.request.name).or_default().push((call, index));
    }
    for (name, mut lives) in lives {
        lives.sort_by_key(|(call, _)| call.answer().map(|written| written.resource_version));
        let windows = windows(&lives.iter().map(|(call, _)| *call).collect::<Vec<_>>());
        // Deletions that may have happened; each ends one life. Those that must have happened soonest are given away first:
        // then as many lives have an end as can have one.
        let must = |end: &Call<Delete, Value>| if matches!(end.outcome, Outcome::Ok(_)) { end.ended.unwrap_or(u64::MAX) } else { u64::MAX };
        let mut ends: Vec<(u64, u64)> = deletes
            .iter()
            .filter(|call| call.request.name == name && !matches!(call.outcome, Outcome::Failed(_)))
            .map(|call| (must(call), call.begun))
            .collect();
        ends.sort_unstable();
        for (pair, window) in lives.windows(2).zip(windows.windows(2)) {
            let ([(before, shows), (after, index)], [made, again]) = (pair, window) else { continue };
            match ends.iter().position(|(ended, begun)| *ended >= made.0 && *begun < again.1) {
                Some(place) => _ = ends.remove(place),
                None => judge.wrong(
                    format!("{name} was made by {} and by {}, and nobody deleted it", before.request.by, after.request.by),
                    [*shows, *index],
                ),
            }
        }
    }
}

/// When creations, in the order of their versions, can have happened: none before those that came before it had begun, none after those that
/// came after it had ended.
fn windows(creates: &[&Call<Create, Written>]) -> Vec<(u64, u64)> {
    let mut earliest = 0;
    let mut windows: Vec<(u64, u64)> = Vec::with_capacity(creates.len());
    for call in creates {
        earliest = earliest.max(call.begun);
        windows.push((earliest, call.ended.unwrap_or(u64::MAX)));
    }
    let mut latest = u64::MAX;
    for (_, ended) in windows.iter_mut().rev() {
        latest = latest.min(*ended);
        *ended = latest;
    }
    windows
}

/// What is read at a version is what was written at it.
fn check_values(judge: &mut Judge, updates: &[Call<Update, Written>], gets: &[Call<Delete, Found>]) {
    let mut values: HashMap<(&str, i64), (i64, usize)> = HashMap::new();
    for call in updates {
        let (Some(written), Some(index)) = (call.answer(), call.returned) else { continue };
        values.insert((&call.request.name, written.resource_version), (call.request.value, index));
    }
    for call in gets {
        let (Some(found), Some(index)) = (call.answer().filter(|found| found.resource_version > 0), call.returned) else { continue };
        judge.checked(1);
        let name = call.request.name.as_str();
        let (value, shows) = *values.entry((name, found.resource_version)).or_insert((found.value, index));
        if value != found.value {
            let what = format!("{name} at version {} holds {}, and {value} was there", found.resource_version, found.value);
            judge.wrong(what, [shows, index]);
        }
    }
}

/// A read that begins after a version was made, or read, has it or a later one.
fn check_fresh(judge: &mut Judge, creates: &[Call<Create, Written>], updates: &[Call<Update, Written>], gets: &[Call<Delete, Found>]) {
    let mut known: BTreeMap<&str, Vec<(u64, i64, usize)>> = BTreeMap::new();
    let mut know = |name, version, ended: Option<u64>, index: Option<usize>| {
        if let (Some(ended), Some(index)) = (ended, index) {
            known.entry(name).or_default().push((ended, version, index));
        }
    };
    for call in creates {
        call.answer().into_iter().for_each(|written| know(&call.request.name, written.resource_version, call.ended, call.returned));
    }
    for call in updates {
        call.answer().into_iter().for_each(|written| know(&call.request.name, written.resource_version, call.ended, call.returned));
    }
    for call in gets {
        call.answer().into_iter().for_each(|found| know(&call.request.name, found.resource_version, call.ended, call.returned));
    }
    for versions in known.values_mut() {
        versions.sort_unstable();
        let mut highest = (0, 0);
        for (_, version, index) in versions.iter_mut() {
            highest = highest.max((*version, *index));
            (*version, *index) = highest;
        }
    }
    for call in gets {
        let (Some(found), Some(index)) = (call.answer().filter(|found| found.resource_version > 0), call.returned) else { continue };
        let name = call.request.name.as_str();
        let before = known.get(name).and_then(|known| known.get(known.partition_point(|(ended, ..)| *ended < call.begun).checked_sub(1)?));
        if let Some((_, version, shows)) = before.filter(|(_, version, _)| *version > found.resource_version) {
            judge.wrong(format!("{name} was read at version {}, after {version} was known", found.resource_version), [*shows, index]);
        }
    }
}
