//! Registers that are read, written, and compared and swapped: each key's history must be linearizable.

use super::wgl::{self, Model, Search};
use super::{Judge, Verdict};
use crate::history::{Call, History, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// The operation. Its request is a [`Request`], its answer an [`Answer`].
pub const REGISTER: &str = "register";

/// `{"read": "x"}`, `{"write": ["x", 1]}` or `{"cas": ["x", 1, 2]}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// Reads a key.
    Read(String),
    /// Writes a key.
    Write(String, i64),
    /// Writes the last value if the key holds the first.
    Cas(String, i64, i64),
}

/// `{"value": 1}`, or `{"value": null}` for a key that is not there. Writes are answered `{}`, swaps `{"swapped": true}`.
///
/// A swap that was not done because the key held something else is best noted as `ok` with `{"swapped": false}`: that says something about
/// the key. Noted as `fail`, it says only that nothing was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// What a read found.
    #[serde(default)]
    pub value: Option<i64>,
    /// Whether a swap was done; none counts as done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped: Option<bool>,
}

/// So many steps are spent on one key.
const MAX_STEPS: usize = 5_000_000;

type RegisterCall = Call<Request, Answer>;

impl Request {
    fn key(&self) -> &str {
        match self {
            Self::Read(key) | Self::Write(key, _) | Self::Cas(key, ..) => key,
        }
    }

    /// What it writes, when it does.
    fn writes(&self) -> Option<i64> {
        match self {
            Self::Read(_) => None,
            Self::Write(_, value) | Self::Cas(_, _, value) => Some(*value),
        }
    }
}

struct Register;

impl Model for Register {
    type State = Option<i64>;
    type Request = Request;
    type Answer = Answer;

    fn step(&self, state: &Option<i64>, request: &Request, answer: Option<&Answer>) -> Option<Option<i64>> {
        match request {
            Request::Read(_) => answer.is_none_or(|answer| answer.value == *state).then_some(*state),
            Request::Write(_, value) => Some(Some(*value)),
            Request::Cas(_, old, new) => {
                let holds = *state == Some(*old);
                let swapped = answer.map_or(holds, |answer| answer.swapped.unwrap_or(true));
                (swapped == holds).then_some(if holds { Some(*new) } else { *state })
            }
        }
    }
}

/// The calls of one key that matter. Without an answer a read says nothing; and a write that nobody knows the outcome of, of a value that
/// nobody saw, explains nothing: an order that has it is an order without it, too.
fn relevant<'a>(calls: &[&'a RegisterCall]) -> Vec<&'a RegisterCall> {
    let mut seen: HashSet<i64> = HashSet::new();
    let mut refused = false;
    for call in calls {
        match (&call.request, call.answer()) {
            (Request::Read(_), Some(answer)) => seen.extend(answer.value),
            (Request::Cas(..), Some(Answer { swapped: Some(false), .. })) => refused = true,
            (Request::Cas(_, old, _), _) => _ = seen.insert(*old),
            _ => {}
        }
    }
    let matters = |call: &RegisterCall| match (&call.outcome, call.request.writes()) {
        (Outcome::Ok(_), _) => true,
        (Outcome::Failed(_), _) | (Outcome::Unknown(_), None) => false,
        (Outcome::Unknown(_), Some(value)) => refused || seen.contains(&value),
    };
    calls.iter().copied().filter(|call| matters(call)).collect()
}

/// Judges the registers of a history. Each key is absent in the beginning.
pub fn check(history: &History) -> Verdict {
    let mut judge = Judge::new("register");
    let calls = match history.calls::<Request, Answer>(REGISTER) {
        Ok(calls) => calls,
        Err(error) => return Verdict::malformed("register", &error),
    };
    let mut keys: BTreeMap<&str, Vec<&RegisterCall>> = BTreeMap::new();
    for call in &calls {
        keys.entry(call.request.key()).or_default().push(call);
    }
    judge.stat("keys", keys.len());
    for (key, calls) in keys {
        let calls = relevant(&calls);
        judge.checked(calls.len());
        match wgl::search(&Register, None, &calls, MAX_STEPS) {
            Search::Found(_) => {}
            Search::Impossible { stuck, reached } => {
                let call = calls[stuck];
                judge.wrong(
                    format!(
                        "{key}: after {reached} calls in order, {:?} cannot have been answered {:?}",
                        call.request,
                        call.answer().and_then(|answer| answer.value)
                    ),
                    std::iter::once(call.invoked).chain(call.returned),
                );
            }
            Search::GaveUp => judge.unsure(format!("{key}: no order was found within {MAX_STEPS} steps"), []),
        }
    }
    judge.verdict()
}
