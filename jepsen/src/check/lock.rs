//! Locks and elections on leases.
//!
//! A lease may run out while its holder sleeps, so two clients may well think at once that they hold a lock. What must hold all the same is
//! what the lock's token decides: the create revision of the holder's key.

use super::election::PROCLAIM;
use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Process};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Waits for a lock, or to be elected. Its request is a [`Acquire`], its answer an [`Acquired`].
pub const ACQUIRE: &str = "acquire";
/// Gives it back. Its request is a [`Held`], its answer a [`Released`].
pub const RELEASE: &str = "release";
/// Writes in a transaction that compares the create revision of the holder's key. Its request is a [`Held`], its answer a [`Guarded`].
pub const GUARDED: &str = "guarded";
/// Looks who leads. Its request is an [`Acquire`], its answer an [`Observed`].
pub const OBSERVE: &str = "observe";

/// `{"lock": "a"}`, and of a candidate what it announces: `{"lock": "a", "value": "7-1"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acquire {
    /// The lock's or the election's name.
    pub lock: String,
    /// What is announced when it is won.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// `{"token": 12, "revision": 14}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Acquired {
    /// The create revision of the holder's key.
    pub token: i64,
    /// The store's revision at which the holder saw nobody before it; 0 if that is not known.
    #[serde(default)]
    pub revision: i64,
}

/// `{"lock": "a", "token": 12}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The lock's or the election's name.
    pub lock: String,
    /// The create revision of the holder's key.
    pub token: i64,
}

/// `{"revision": 20}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Released {
    /// The store's revision after the key was deleted; 0 if that is not known.
    #[serde(default)]
    pub revision: i64,
}

/// `{"revision": 16, "succeeded": true}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guarded {
    /// The transaction's revision.
    pub revision: i64,
    /// Whether the comparison held, so that the write was done.
    pub succeeded: bool,
}

/// `{"token": 12, "revision": 15}`, with 0 for a token when nobody leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Observed {
    /// The create revision of the leader's key.
    pub token: i64,
    /// The store's revision at which it was seen; 0 if that is not known.
    #[serde(default)]
    pub revision: i64,
}

/// What is known of one token of one lock.
#[derive(Default)]
struct Token {
    /// The lowest revision at which the token is known to be over: another one held the lock then, or it was given back.
    over_at: Option<(i64, usize)>,
    /// When that was known.
    over_by: Option<(u64, usize)>,
}

type Tokens = BTreeMap<(String, i64), Token>;

fn earlier<T: Ord>(place: &mut Option<T>, other: T) {
    if place.as_ref().is_none_or(|before| other < *before) {
        *place = Some(other);
    }
}

/// Judges the locks and elections of a history.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("lock", &error))
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("lock");
    let acquires: Vec<Call<Acquire, Acquired>> = history.calls(ACQUIRE)?;
    let releases: Vec<Call<Held, Released>> = history.calls(RELEASE)?;
    let mut guarded: Vec<Call<Held, Guarded>> = history.calls(GUARDED)?;
    // What a leader announces is guarded in the same way.
    guarded.extend(history.calls(PROCLAIM)?);
    let observed: Vec<Call<Acquire, Observed>> = history.calls(OBSERVE)?;
    let mut tokens = Tokens::new();
    for call in &releases {
        let (Some(released), Some(ended), Some(index)) = (call.answer(), call.ended, call.returned) else { continue };
        let token = tokens.entry((call.request.lock.clone(), call.request.token)).or_default();
        earlier(&mut token.over_by, (ended, index));
        if released.revision > 0 {
            earlier(&mut token.over_at, (released.revision, index));
        }
    }
    check_acquires(&mut judge, &acquires, &mut tokens);
    check_guarded(&mut judge, &guarded, &tokens, &acquires);
    check_observed(&mut judge, &observed);
    judge.stat("acquired", acquires.iter().filter(|call| call.answer().is_some()).count());
    judge.stat("guarded", guarded.iter().filter(|call| call.answer().is_some_and(|guarded| guarded.succeeded)).count());
    Ok(judge.verdict())
}

/// Tokens are given once, and rise: who asks after somebody held the lock has a later one.
fn check_acquires(judge: &mut Judge, acquires: &[Call<Acquire, Acquired>], tokens: &mut Tokens) {
    let mut held: HashMap<(&str, i64), usize> = HashMap::new();
    let mut ends: HashMap<&str, Vec<(u64, i64, usize)>> = HashMap::new();
    for call in acquires {
        let (Some(acquired), Some(ended), Some(index)) = (call.answer(), call.ended, call.returned) else { continue };
        judge.checked(1);
        let lock = call.request.lock.as_str();
        if let Some(before) = held.insert((lock, acquired.token), index) {
            judge.wrong(format!("{lock}: the token {} was given twice", acquired.token), [before, index]);
        }
        ends.entry(lock).or_default().push((ended, acquired.token, index));
    }
    // By the end of their acquisition: the highest token so far.
    for ends in ends.values_mut() {
        ends.sort_unstable();
        let mut highest = (0, 0);
        for (_, token, index) in ends.iter_mut() {
            highest = highest.max((*token, *index));
            (*token, *index) = highest;
        }
    }
    for call in acquires {
        let (Some(acquired), Some(ended), Some(index)) = (call.answer(), call.ended, call.returned) else { continue };
        let lock = call.request.lock.as_str();
        let before = ends.get(lock).and_then(|ends| ends.get(ends.partition_point(|(ended, ..)| *ended < call.begun).checked_sub(1)?));
        if let Some((_, token, shows)) = before.filter(|(_, token, _)| *token > acquired.token) {
            judge.wrong(
                format!("{lock}: the token {} was given to somebody who asked after {token} had been given", acquired.token),
                [*shows, index],
            );
        }
        // Whoever holds the lock holds it alone, so all earlier tokens are over.
        let of_lock = held.keys().filter(|(other, token)| *other == lock && *token < acquired.token);
        for (_, token) in of_lock.collect::<Vec<_>>() {
            let token = tokens.entry((lock.to_owned(), *token)).or_default();
            earlier(&mut token.over_by, (ended, index));
            if acquired.revision > 0 {
                earlier(&mut token.over_at, (acquired.revision, index));
            }
        }
    }
}

/// A guarded write is done only while its token is good.
fn check_guarded(judge: &mut Judge, guarded: &[Call<Held, Guarded>], tokens: &Tokens, acquires: &[Call<Acquire, Acquired>]) {
    let mut writes: BTreeMap<&str, Vec<(i64, i64, usize)>> = BTreeMap::new();
    let holders: HashSet<(&str, i64)> =
        acquires.iter().filter_map(|call| Some((call.request.lock.as_str(), call.answer()?.token))).collect();
    for call in guarded {
        let (Some(answer), Some(index)) = (call.answer(), call.returned) else { continue };
        judge.checked(1);
        let Held { lock, token } = &call.request;
        let over = tokens.get(&(lock.clone(), *token));
        if answer.succeeded {
            writes.entry(lock).or_default().push((answer.revision, *token, index));
            if let Some((at, shows)) = over.and_then(|over| over.over_at).filter(|(at, _)| answer.revision > *at) {
                judge.wrong(format!("{lock}: {token} wrote at revision {}, though it was over at {at}", answer.revision), [shows, index]);
            } else if let Some((_, shows)) = over.and_then(|over| over.over_by).filter(|(by, _)| call.begun > *by) {
                judge.wrong(format!("{lock}: {token} wrote after it was known to be over"), [shows, index]);
            }
            if *token > answer.revision || !holders.contains(&(lock.as_str(), *token)) && *token <= 0 {
                judge.wrong(format!("{lock}: {token} wrote at revision {}, before it was made", answer.revision), [index]);
            }
        }
    }
    for (lock, mut writes) in writes {
        writes.sort_unstable();
        for pair in writes.windows(2) {
            if let [(_, before, shows), (revision, token, index)] = pair
                && token < before
            {
                judge.wrong(format!("{lock}: {token} wrote at revision {revision}, after {before}"), [*shows, *index]);
            }
        }
    }
}

/// Who watches an election never sees an old leader after a newer one.
fn check_observed(judge: &mut Judge, observed: &[Call<Acquire, Observed>]) {
    let mut last: HashMap<(Process, &str), (i64, usize)> = HashMap::new();
    let mut seen: HashMap<&str, Vec<(i64, i64, usize)>> = HashMap::new();
    for call in observed {
        let (Some(answer), Some(index)) = (call.answer().filter(|answer| answer.token > 0), call.returned) else { continue };
        judge.checked(1);
        let lock = call.request.lock.as_str();
        if let Some((token, before)) = last.insert((call.process, lock), (answer.token, index)).filter(|(token, _)| *token > answer.token) {
            judge.wrong(format!("{lock}: {:?} saw {} lead after {token}", call.process, answer.token), [before, index]);
        }
        if answer.revision > 0 {
            seen.entry(lock).or_default().push((answer.revision, answer.token, index));
        }
    }
    for (lock, mut seen) in seen {
        seen.sort_unstable();
        for pair in seen.windows(2) {
            if let [(at, before, shows), (revision, token, index)] = pair
                && (token < before || (at == revision && token != before))
            {
                judge.wrong(format!("{lock}: {token} led at revision {revision}, and {before} at {at}"), [*shows, *index]);
            }
        }
    }
}
