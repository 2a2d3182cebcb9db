//! Server-side apply by several owners: what an owner applied is there until it applies something else.

use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Applies an owner's field. Its request is an [`Apply`]; its answer is not looked at.
pub const APPLY: &str = "apply";
/// Reads an object, and not from the past. Its request is a [`Look`], its answer an [`Applied`].
pub const APPLIED: &str = "applied";

/// `{"name": "a", "manager": "m1", "value": 7}`: an owner's values rise, and after one of which it does not know whether it was applied
/// it applies no more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Apply {
    /// The object.
    pub name: String,
    /// The owner.
    pub manager: String,
    /// What it applies.
    pub value: i64,
}

/// `{"name": "a"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Look {
    /// The object.
    pub name: String,
}

/// `{"values": {"m1": 7}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The value of each owner.
    pub values: BTreeMap<String, i64>,
}

/// Judges what was applied.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("apply", &error))
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("apply");
    let applies: Vec<Call<Apply, Value>> = history.calls(APPLY)?;
    let looks: Vec<Call<Look, Applied>> = history.calls(APPLIED)?;
    let mut owners: BTreeMap<(&str, &str), Vec<&Call<Apply, Value>>> = BTreeMap::new();
    for apply in applies.iter().filter(|apply| !matches!(apply.outcome, Outcome::Failed(_))) {
        owners.entry((&apply.request.name, &apply.request.manager)).or_default().push(apply);
    }
    for look in &looks {
        let (Some(found), Some(returned)) = (look.answer(), look.returned) else { continue };
        judge.checked(1);
        for ((_, manager), calls) in owners.iter().filter(|((name, _), _)| *name == look.request.name) {
            let value = found.values.get(*manager).copied();
            // The last one that had certainly happened; what was asked for since then may have, too.
            let certain = calls.iter().rposition(|call| call.answer().is_some() && call.returned.is_some_and(|end| end < look.invoked));
            let may_be = calls
                .iter()
                .skip(certain.unwrap_or(0))
                .filter(|call| call.invoked < returned)
                .any(|call| value == Some(call.request.value));
            let not_yet = certain.is_none() && value.is_none();
            if !may_be && !not_yet {
                let what = format!("{} of {manager} is {value:?}, and not what {manager} applied last", look.request.name);
                judge.wrong(what, certain.and_then(|at| calls.get(at)).map(|call| call.invoked).into_iter().chain([look.invoked]));
            }
        }
        for manager in found.values.keys().filter(|manager| !owners.contains_key(&(look.request.name.as_str(), manager.as_str()))) {
            judge.wrong(format!("{} has a value of {manager}, which applied none", look.request.name), [look.invoked]);
        }
    }
    Ok(judge.verdict())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::check::Validity;
    use crate::history::{Process, Recorder};

    fn look(recorder: &Recorder, values: &[(&str, i64)]) {
        let values = values.iter().map(|(manager, value)| ((*manager).to_owned(), *value)).collect();
        recorder.invoke(Process::Client(9), None, APPLIED, &Look { name: "a".into() }).ok(&Applied { values });
    }

    fn apply(manager: &str, value: i64) -> Apply {
        Apply { name: "a".into(), manager: manager.into(), value }
    }

    fn judged(last: &[(&str, i64)]) -> Validity {
        let recorder = Recorder::default();
        look(&recorder, &[]);
        recorder.invoke(Process::Client(1), None, APPLY, &apply("m1", 1)).ok(&());
        recorder.invoke(Process::Client(2), None, APPLY, &apply("m2", 2)).ok(&());
        recorder.invoke(Process::Client(1), None, APPLY, &apply("m1", 3)).info("who knows");
        look(&recorder, last);
        check(&recorder.history()).valid
    }

    #[test]
    fn what_was_applied_last_is_there_and_what_may_have_been_may_be() {
        assert_eq!(judged(&[("m1", 1), ("m2", 2)]), Validity::Valid);
        assert_eq!(judged(&[("m1", 3), ("m2", 2)]), Validity::Valid);
    }

    #[test]
    fn a_field_that_is_lost_old_or_nobodys_is_found() {
        assert_eq!(judged(&[("m1", 3)]), Validity::Invalid);
        assert_eq!(judged(&[("m1", 3), ("m2", 1)]), Validity::Invalid);
        assert_eq!(judged(&[("m1", 3), ("m2", 2), ("m3", 4)]), Validity::Invalid);
    }
}
