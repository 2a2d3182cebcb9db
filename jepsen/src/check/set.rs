//! Sets: what was added is there, once, from then on.

use super::{Judge, Verdict};
use crate::history::{Call, History, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The operation that adds an element. Its request is an [`Add`]; its answer is not looked at.
pub const ADD: &str = "add";
/// The operation that reads the whole set. Its request is a [`Read`], its answer is [`Elements`].
pub const READ: &str = "read";

/// Adds an element that nobody adds twice: `{"value": 7}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Add {
    /// The element.
    pub value: i64,
}

/// Reads the set: `{}`, or `{"serializable": true}` for a read that may be stale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Read {
    /// Whether it may miss what was just added.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub serializable: bool,
}

/// The whole set, as a read found it: `{"values": [1, 7]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elements {
    /// The elements, in any order.
    pub values: Vec<i64>,
}

type AddCall = Call<Add, Value>;

/// An element: how it was added, and when it was known to be there.
struct Element {
    added: usize,
    failed: bool,
    known: Option<u64>,
}

/// Judges the set of a history. An element that was acknowledged, or that a read has shown, is in every read that begins after that.
pub fn check(history: &History) -> Verdict {
    let mut judge = Judge::new("set");
    let adds: Vec<AddCall> = match history.calls(ADD) {
        Ok(adds) => adds,
        Err(error) => return Verdict::malformed("set", &error),
    };
    let reads: Vec<Call<Read, Elements>> = match history.calls(READ) {
        Ok(reads) => reads,
        Err(error) => return Verdict::malformed("set", &error),
    };
    judge.checked(adds.len());
    let mut elements: HashMap<i64, Element> = HashMap::new();
    for add in &adds {
        let known = add.ended.filter(|_| matches!(add.outcome, Outcome::Ok(_)));
        let failed = matches!(add.outcome, Outcome::Failed(_));
        if elements.insert(add.request.value, Element { added: add.invoked, failed, known }).is_some() {
            judge.unsure(format!("{} was added twice, so nobody can say which", add.request.value), [add.invoked]);
        }
    }
    let sets: Vec<(&Call<Read, Elements>, HashSet<i64>)> =
        reads.iter().filter_map(|read| Some((read, read.answer()?.values.iter().copied().collect()))).collect();
    for (read, set) in &sets {
        look(&mut judge, &mut elements, read, set);
    }
    misses(&mut judge, &elements, &sets);
    judge.stat("reads", sets.len());
    judge.verdict()
}

/// What a read shows that it should not; and from when on its elements are known.
fn look(judge: &mut Judge, elements: &mut HashMap<i64, Element>, read: &Call<Read, Elements>, set: &HashSet<i64>) {
    let values = read.answer().map_or(&[][..], |answer| &answer.values);
    let index = read.returned.unwrap_or(read.invoked);
    if values.len() > set.len() {
        let mut seen = HashSet::new();
        let twice: Vec<i64> = values.iter().copied().filter(|value| !seen.insert(*value)).take(5).collect();
        judge.wrong(format!("{twice:?} are there more than once"), [index]);
    }
    for value in set {
        match elements.get_mut(value) {
            Some(element) if element.failed => judge.wrong(format!("{value} is there, though it was refused"), [element.added, index]),
            Some(element) => element.known = element.known.into_iter().chain(read.ended).min(),
            None => judge.wrong(format!("{value} is there, though nobody added it"), [index]),
        }
    }
}

fn misses(judge: &mut Judge, elements: &HashMap<i64, Element>, sets: &[(&Call<Read, Elements>, HashSet<i64>)]) {
    let fresh: Vec<_> = sets.iter().filter(|(read, _)| !read.request.serializable).collect();
    let (mut lost, mut stale) = (0, 0);
    let mut values: Vec<(&i64, &Element)> = elements.iter().collect();
    values.sort_unstable_by_key(|(value, _)| **value);
    for (value, element) in values {
        let Some(known) = element.known else { continue };
        let missing = fresh.iter().filter(|(read, set)| read.begun > known && !set.contains(value));
        let mut missing = missing.map(|(read, _)| read.returned.unwrap_or(read.invoked));
        let Some(first) = missing.next() else { continue };
        let last = missing.next_back().unwrap_or(first);
        let back = sets.iter().any(|(read, set)| read.returned.is_some_and(|returned| returned > last) && set.contains(value));
        (lost, stale) = if back { (lost, stale + 1) } else { (lost + 1, stale) };
        let what = if back { "was missed by a read that began after it was known" } else { "is lost" };
        judge.wrong(format!("{value} {what}"), [element.added, first]);
    }
    judge.stat("lost", lost);
    judge.stat("stale", stale);
}
