//! Elections as observers see them: leaders in their order, and of each what it announced itself, in the order in which it did.
//!
//! That at most one leads, by its token, is checked with locks: an election is one.

use super::lock::{ACQUIRE, Acquire, Acquired, Guarded};
use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Announces another value as the leader. Its request is a [`Proclaim`], its answer a [`Guarded`].
pub const PROCLAIM: &str = "proclaim";
/// Follows the leaders for a while. Its request is an [`Acquire`], its answer a [`Followed`].
pub const FOLLOW: &str = "follow";

/// `{"lock": "a", "token": 12, "value": "7-2"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proclaim {
    /// The election's name.
    pub lock: String,
    /// The create revision of the leader's key.
    pub token: i64,
    /// What is announced; nobody announces the same twice.
    pub value: String,
}

/// `{"seen": [{"token": 12, "revision": 14, "value": "7-2"}]}`, in the order in which it was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// What was told.
    pub seen: Vec<Seen>,
}

/// One announcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The create revision of the leader's key.
    pub token: i64,
    /// The revision at which it was announced.
    pub revision: i64,
    /// What was announced.
    pub value: String,
}

/// Judges what observers were told.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("election", &error))
}

/// Who announced a value, as far as that is known.
enum Announced {
    By(i64),
    /// It was refused.
    Never,
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("election");
    let campaigns: Vec<Call<Acquire, Acquired>> = history.calls(ACQUIRE)?;
    let proclaims: Vec<Call<Proclaim, Guarded>> = history.calls(PROCLAIM)?;
    let follows: Vec<Call<Acquire, Followed>> = history.calls(FOLLOW)?;
    let mut announced: HashMap<(&str, &str), (Announced, usize)> = HashMap::new();
    for call in campaigns.iter().filter(|call| !call.request.value.is_empty()) {
        // A campaign that was lost may have led before its client was told so.
        if let (Some(won), Some(index)) = (call.answer(), call.returned) {
            announced.insert((&call.request.lock, &call.request.value), (Announced::By(won.token), index));
        }
    }
    for call in &proclaims {
        let by = match &call.outcome {
            Outcome::Ok(answer) if !answer.succeeded => Announced::Never,
            Outcome::Failed(_) => Announced::Never,
            _ => Announced::By(call.request.token),
        };
        announced.insert((&call.request.lock, &call.request.value), (by, call.returned.unwrap_or(call.invoked)));
    }
    for call in &follows {
        let (Some(followed), Some(index)) = (call.answer(), call.returned) else { continue };
        let lock = call.request.lock.as_str();
        judge.checked(followed.seen.len());
        check_order(&mut judge, lock, &followed.seen, index);
        for seen in &followed.seen {
            match announced.get(&(lock, seen.value.as_str())) {
                Some((Announced::By(token), _)) if *token == seen.token => {}
                Some((Announced::By(token), shows)) => {
                    judge
                        .wrong(format!("{lock}: {} was told as announced by {}, and {token} did", seen.value, seen.token), [*shows, index]);
                }
                Some((Announced::Never, shows)) => {
                    judge.wrong(format!("{lock}: {} was refused, and yet it was told", seen.value), [*shows, index]);
                }
                None => {}
            }
        }
    }
    judge.stat("campaigns-won", campaigns.iter().filter(|call| call.answer().is_some()).count());
    Ok(judge.verdict())
}

/// Leaders come one after the other, and so do the announcements of each.
fn check_order(judge: &mut Judge, lock: &str, seen: &[Seen], index: usize) {
    for pair in seen.windows(2) {
        let [before, after] = pair else { continue };
        if after.token < before.token {
            judge.wrong(format!("{lock}: {} was told to lead after {}", after.token, before.token), [index]);
        } else if after.token == before.token && after.revision <= before.revision {
            let what = format!(
                "{lock}: what {} announced at {} was told after what it announced at {}",
                after.token, after.revision, before.revision
            );
            judge.wrong(what, [index]);
        }
    }
}
