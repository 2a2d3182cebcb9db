//! Unique ids: nobody is given what somebody else was given.

use super::{Judge, Verdict};
use crate::history::History;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;

/// The operation that makes an id. Its request is not looked at, its answer is a [`Made`].
pub const ID: &str = "id";

/// `{"id": 7}` or `{"id": "10.43.0.7"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// The id: a number or a text.
    pub id: Value,
}

/// Judges the ids of a history.
pub fn check(history: &History) -> Verdict {
    let mut judge = Judge::new("ids");
    let calls = match history.calls::<Value, Made>(ID) {
        Ok(calls) => calls,
        Err(error) => return Verdict::malformed("ids", &error),
    };
    let mut given: HashMap<String, usize> = HashMap::new();
    for call in &calls {
        let (Some(made), Some(returned)) = (call.answer(), call.returned) else { continue };
        judge.checked(1);
        if let Some(before) = given.insert(made.id.to_string(), returned) {
            judge.wrong(format!("the id {} was given twice", made.id), [before, returned]);
        }
    }
    judge.verdict()
}
