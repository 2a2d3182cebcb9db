//! What was found wrong: everything is noted, so that one run tells all of it.

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::Answer;

/// This much of an answer is told.
const TOLD_BYTES: usize = 600;
/// How long controllers have for what they do.
pub const SOON: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// One kind, or one area, and what is wrong with it.
pub struct Case {
    pub name: String,
    failures: Mutex<Vec<String>>,
}

impl Case {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), failures: Mutex::default() }
    }

    pub fn fail(&self, what: impl Into<String>) {
        self.failures.lock().unwrap().push(what.into());
    }

    /// Everything that was noted.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().iter().map(|what| format!("{}: {what}", self.name)).collect()
    }

    /// Notes that something does not hold.
    pub fn check(&self, what: &str, holds: bool, seen: impl Debug) -> bool {
        if !holds {
            self.fail(format!("{what}: {}", cut(&format!("{seen:?}"))));
        }
        holds
    }

    /// Notes that two things differ.
    pub fn equal<T: PartialEq + Debug>(&self, what: &str, seen: T, expected: T) -> bool {
        let holds = seen == expected;
        if !holds {
            self.fail(format!("{what}: expected {}, seen {}", cut(&format!("{expected:?}")), cut(&format!("{seen:?}"))));
        }
        holds
    }

    /// Notes an answer with another code.
    pub fn code(&self, what: &str, answer: &Answer, expected: u16) -> bool {
        let holds = answer.code == expected;
        if !holds {
            let body = cut(&String::from_utf8_lossy(&answer.bytes));
            self.fail(format!("{what}: {} answers {} instead of {expected}: {body}", answer.asked, answer.code));
        }
        holds
    }

    /// Notes a refusal that is not this one. A part of its message is given in `words`.
    pub fn refused(&self, what: &str, answer: &Answer, code: u16, reason: &str, words: &str) -> bool {
        self.code(what, answer, code)
            && self.check(
                &format!("{what}: {} is to say {reason} {words:?}", answer.asked),
                answer.text("/reason") == reason && answer.text("/message").contains(words) && answer.text("/status") == "Failure",
                &answer.body,
            )
    }

    /// Waits for something to become true; notes it if it does not.
    pub async fn soon<E: Debug>(&self, what: &str, mut ask: impl AsyncFnMut() -> Result<(), E>) -> bool {
        let begun = Instant::now();
        loop {
            match ask().await {
                Ok(()) => return true,
                Err(seen) if begun.elapsed() > SOON => {
                    self.fail(format!("{what}: not within {SOON:?}: {}", cut(&format!("{seen:?}"))));
                    return false;
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }
}

fn cut(text: &str) -> String {
    if text.len() <= TOLD_BYTES {
        return text.to_owned();
    }
    let end = (0..=TOLD_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...", &text[..end])
}

/// Whether all of `part` is in `whole`; lists must be equal.
pub fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| contains(found, value)))
        }
        (Value::Array(whole), Value::Array(part)) => whole.len() == part.len() && whole.iter().zip(part).all(|(w, p)| contains(w, p)),
        (whole, part) => whole == part,
    }
}

/// The entry of `metadata.managedFields` of a manager.
pub fn managed<'a>(object: &'a Value, manager: &str, operation: &str, subresource: &str) -> Option<&'a Value> {
    object["metadata"]["managedFields"].as_array().into_iter().flatten().find(|entry| {
        entry["manager"] == manager && entry["operation"] == operation && entry["subresource"].as_str().unwrap_or_default() == subresource
    })
}
