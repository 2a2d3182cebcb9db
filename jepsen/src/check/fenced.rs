//! At most one controller acts: once a later term has written, an earlier one writes no more.

use super::{Judge, Verdict};
use crate::history::History;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A write of a controller, as it was seen. Its request is not looked at, its answer is an [`Act`].
pub const ACT: &str = "act";

/// `{"term": 3, "object": "default/a", "revision": 41}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Act {
    /// The term in which its writer led.
    pub term: i64,
    /// What was written.
    pub object: String,
    /// The revision of the write.
    pub revision: i64,
}

/// Judges the acts of a history.
pub fn check(history: &History) -> Verdict {
    let mut judge = Judge::new("fenced");
    let calls = match history.calls::<Value, Act>(ACT) {
        Ok(calls) => calls,
        Err(error) => return Verdict::malformed("fenced", &error),
    };
    let mut acts: Vec<_> = calls.iter().filter_map(|call| Some((call.answer()?, call.returned?))).collect();
    judge.checked(acts.len());
    acts.sort_by_key(|(act, index)| (act.revision, *index));
    let mut latest: Option<(&Act, usize)> = None;
    for (act, index) in acts {
        match latest {
            Some((later, before)) if later.revision < act.revision && later.term > act.term => judge.wrong(
                format!(
                    "term {} wrote {} at revision {}, after term {} had written {} at {}",
                    act.term, act.object, act.revision, later.term, later.object, later.revision
                ),
                [before, index],
            ),
            Some((later, _)) if later.term >= act.term => {}
            _ => latest = Some((act, index)),
        }
    }
    judge.verdict()
}
