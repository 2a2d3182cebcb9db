//! Users and their permissions: what was taken away is refused from then on, what was given is allowed, a refusal shows nothing, what was
//! refused was not written; and the revision of users and roles rises with every change.

use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Changes what a user may do with its key. Its request is a [`Permit`]; its answer is not looked at.
pub const PERMIT: &str = "permit";
/// Something that a user tries with its key, and not from the past. Its request is an [`Access`], its answer a [`Tried`].
pub const ACCESS: &str = "access";
/// Asks for the revision of users and roles. Its request is not looked at, its answer is a [`Revision`].
pub const AUTH_REVISION: &str = "auth-revision";

/// What somebody may do, or needs to be allowed to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rights {
    /// Read.
    #[serde(default)]
    pub read: bool,
    /// Write.
    #[serde(default)]
    pub write: bool,
}

impl Rights {
    /// Whether these are enough for what needs `needed`.
    pub fn cover(self, needed: Self) -> bool {
        (self.read || !needed.read) && (self.write || !needed.write)
    }
}

/// `{"user": "u1", "rights": {"read": true}}`. A user begins with no rights. Changes of one user come one after the other, and after one of
/// which nobody knows whether it happened there is none any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Permit {
    /// The user.
    pub user: String,
    /// What it may do from now on.
    pub rights: Rights,
    /// How it is done, for people.
    #[serde(default)]
    pub how: String,
}

/// `{"user": "u1", "what": "put", "needs": {"write": true}, "value": "7"}`; without `needs` it is never allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Access {
    /// The user.
    pub user: String,
    /// What it tries, for people.
    pub what: String,
    /// What it needs for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Rights>,
    /// What it writes; nobody writes the same twice.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// `{"allowed": true, "seen": ["7"]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Whether it was allowed.
    pub allowed: bool,
    /// Values that were shown, whatever the answer was.
    #[serde(default)]
    pub seen: Vec<String>,
}

/// `{"revision": 7}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// It.
    pub revision: u64,
}

/// Judges users and permissions.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("auth", &error))
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("auth");
    let permits: Vec<Call<Permit, Value>> = history.calls(PERMIT)?;
    let tries: Vec<Call<Access, Tried>> = history.calls(ACCESS)?;
    let revisions: Vec<Call<Value, Revision>> = history.calls(AUTH_REVISION)?;
    let mut of_user: BTreeMap<&str, Vec<&Call<Permit, Value>>> = BTreeMap::new();
    for permit in permits.iter().filter(|permit| !matches!(permit.outcome, Outcome::Failed(_))) {
        of_user.entry(&permit.request.user).or_default().push(permit);
    }
    for call in &tries {
        let changes = of_user.get(call.request.user.as_str()).map_or(&[][..], Vec::as_slice);
        check_try(&mut judge, call, changes);
    }
    check_refused(&mut judge, &tries);
    check_revisions(&mut judge, &permits, &revisions);
    let of = |allowed| tries.iter().filter(|call| call.answer().is_some_and(|tried| tried.allowed == allowed)).count();
    judge.stat("allowed", of(true));
    judge.stat("denied", of(false));
    judge.stat("changes", permits.iter().filter(|permit| permit.answer().is_some()).count());
    Ok(judge.verdict())
}

/// An answer fits the rights that the user may have had at some moment while it was asked for.
fn check_try(judge: &mut Judge, call: &Call<Access, Tried>, changes: &[&Call<Permit, Value>]) {
    let (Some(tried), Some(ended), Some(index)) = (call.answer(), call.ended, call.returned) else { return };
    judge.checked(1);
    let Access { user, what, needs, .. } = &call.request;
    if !tried.allowed && !tried.seen.is_empty() {
        judge.wrong(format!("{user} was denied to {what}, and shown {:?}", tried.seen), [index]);
    }
    // The last change that had certainly happened before, and those that may have happened since.
    let certain = changes.iter().rposition(|change| change.answer().is_some() && change.ended.is_some_and(|ended| ended < call.begun));
    let before = certain.map_or(Rights::default(), |at| changes[at].request.rights);
    let since = changes.iter().skip(certain.map_or(0, |at| at + 1)).filter(|change| change.begun < ended);
    let possible: Vec<Rights> = std::iter::once(before).chain(since.map(|change| change.request.rights)).collect();
    let may = |rights: &Rights| needs.is_some_and(|needs| rights.cover(needs));
    let fits = if tried.allowed { possible.iter().any(may) } else { !possible.iter().all(may) };
    if !fits {
        let was = if tried.allowed { "allowed" } else { "denied" };
        let shows = certain.map(|at| changes[at].invoked);
        judge.wrong(format!("{user} was {was} to {what}, and had the rights {possible:?}"), shows.into_iter().chain([index]));
    }
}

/// What was denied was not written.
fn check_refused(judge: &mut Judge, tries: &[Call<Access, Tried>]) {
    let denied = |call: &&Call<Access, Tried>| {
        !call.request.value.is_empty() && (matches!(call.outcome, Outcome::Failed(_)) || call.answer().is_some_and(|tried| !tried.allowed))
    };
    let refused: HashMap<&str, usize> = tries.iter().filter(denied).map(|call| (call.request.value.as_str(), call.invoked)).collect();
    let mut told = HashSet::new();
    for call in tries {
        let (Some(tried), Some(index)) = (call.answer(), call.returned) else { continue };
        for value in &tried.seen {
            if let Some(shows) = refused.get(value.as_str())
                && told.insert(value)
            {
                judge.wrong(format!("{value} was refused, and yet {} saw it", call.request.user), [*shows, index]);
            }
        }
    }
}

/// The revision never goes back, and rises with every change.
fn check_revisions(judge: &mut Judge, permits: &[Call<Permit, Value>], revisions: &[Call<Value, Revision>]) {
    let mut last: Option<(&Call<Value, Revision>, u64, usize)> = None;
    for call in revisions {
        let (Some(Revision { revision }), Some(index)) = (call.answer(), call.returned) else { continue };
        judge.checked(1);
        if let Some((before, known, shows)) = last
            && before.ended.is_some_and(|ended| ended < call.begun)
        {
            let between = |permit: &&Call<Permit, Value>| {
                permit.answer().is_some() && before.ended < Some(permit.begun) && permit.ended.is_some_and(|ended| ended < call.begun)
            };
            let changes = u64::try_from(permits.iter().filter(between).count()).unwrap_or(0);
            if *revision < known + changes {
                let what = format!("the revision of users and roles was {known}, and {revision} after {changes} changes");
                judge.wrong(what, [shows, index]);
            }
        }
        last = Some((call, *revision, index));
    }
}
