//! What happened, as the clients saw it: a list of entries in the order in which they were noted.
//!
//! An operation has an entry when it is invoked and, unless its process never heard of it again, one when it ends: `ok` (it happened),
//! `fail` (it certainly did not) or `info` (nobody knows). The words are Jepsen's.

pub mod edn;
pub mod json;

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Where an operation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Asked for.
    Invoke,
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened, or may yet. Also what a nemesis does.
    Info,
}

/// Who does something: clients are numbered, the nemesis has no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Process {
    /// A client; it does one thing at a time.
    Client(u64),
    /// Whoever breaks things.
    Nemesis,
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place, from 0.
    pub index: usize,
    /// Nanoseconds since the run began.
    pub time: u64,
    /// Who.
    pub process: Process,
    /// The member that was asked, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Where the operation is in its life.
    #[serde(rename = "type")]
    pub phase: Phase,
    /// What kind of operation, as checkers know it: `kv`, `watch`, `partition`.
    pub f: String,
    /// The request of an invocation, the answer of an `ok`.
    #[serde(default)]
    pub value: Value,
    /// Why it failed, or why nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<A> {
    /// It happened, and this was the answer.
    Ok(A),
    /// It certainly did not happen.
    Failed(String),
    /// Nobody knows.
    Unknown(String),
}

/// An operation from its beginning to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Call<Q, A> {
    /// Who.
    pub process: Process,
    /// The member that was asked.
    pub node: Option<String>,
    /// The index of its invocation.
    pub invoked: usize,
    /// The index of its end; none if it never ended.
    pub returned: Option<usize>,
    /// When it was invoked, in nanoseconds since the run began.
    pub begun: u64,
    /// When it ended.
    pub ended: Option<u64>,
    /// What was asked.
    pub request: Q,
    /// What came of it.
    pub outcome: Outcome<A>,
}

impl<Q, A> Call<Q, A> {
    /// The answer, if it certainly happened.
    pub fn answer(&self) -> Option<&A> {
        match &self.outcome {
            Outcome::Ok(answer) => Some(answer),
            Outcome::Failed(_) | Outcome::Unknown(_) => None,
        }
    }
}

/// Everything that was noted in a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The entries, by index.
    pub entries: Vec<Entry>,
}

/// An entry that is not what its kind of operation looks like.
#[derive(Debug, thiserror::Error)]
#[error("entry {index} of the history is no {f}: {reason}")]
pub struct Malformed {
    /// Its place.
    pub index: usize,
    /// The kind that was expected.
    pub f: String,
    /// What is wrong.
    pub reason: String,
}

impl History {
    /// The operations of kind `f`, by their invocations.
    pub fn calls<Q: DeserializeOwned, A: DeserializeOwned>(&self, f: &str) -> Result<Vec<Call<Q, A>>, Malformed> {
        let mut calls: Vec<Call<Q, A>> = Vec::new();
        let mut open: HashMap<Process, usize> = HashMap::new();
        for entry in self.entries.iter().filter(|entry| entry.f == f) {
            let malformed = |reason: String| Malformed { index: entry.index, f: f.to_owned(), reason };
            if entry.phase == Phase::Invoke {
                let request = serde_json::from_value(entry.value.clone()).map_err(|error| malformed(error.to_string()))?;
                open.insert(entry.process, calls.len());
                calls.push(Call {
                    process: entry.process,
                    node: entry.node.clone(),
                    invoked: entry.index,
                    returned: None,
                    begun: entry.time,
                    ended: None,
                    request,
                    outcome: Outcome::Unknown("it never ended".into()),
                });
                continue;
            }
            let call = open.remove(&entry.process).and_then(|place| calls.get_mut(place));
            let call = call.ok_or_else(|| malformed("an end without a beginning".into()))?;
            let error = || entry.error.clone().unwrap_or_default();
            call.outcome = match entry.phase {
                Phase::Ok => Outcome::Ok(serde_json::from_value(entry.value.clone()).map_err(|error| malformed(error.to_string()))?),
                Phase::Fail => Outcome::Failed(error()),
                Phase::Info | Phase::Invoke => Outcome::Unknown(error()),
            };
            (call.returned, call.ended) = (Some(entry.index), Some(entry.time));
        }
        Ok(calls)
    }
}

struct Notes {
    begun: Instant,
    history: Mutex<History>,
}

/// Takes notes for all processes of a run. Clones share them.
#[derive(Clone)]
pub struct Recorder {
    notes: Arc<Notes>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { notes: Arc::new(Notes { begun: Instant::now(), history: Mutex::default() }) }
    }
}

/// What one process is doing: to be ended with what came of it. Dropped without that, it has no end, and nobody knows.
#[must_use]
pub struct Pending {
    recorder: Recorder,
    process: Process,
    node: Option<String>,
    f: String,
}

impl Recorder {
    /// Notes that `process` begins something.
    pub fn invoke(&self, process: Process, node: Option<&str>, f: &str, request: &impl Serialize) -> Pending {
        let pending = Pending { recorder: self.clone(), process, node: node.map(str::to_owned), f: f.to_owned() };
        pending.note(Phase::Invoke, value(request), None);
        pending
    }

    /// Notes what a nemesis did.
    pub fn nemesis(&self, f: &str, what: &impl Serialize) {
        Pending { recorder: self.clone(), process: Process::Nemesis, node: None, f: f.to_owned() }.note(Phase::Info, value(what), None);
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.notes.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// What has been noted so far.
    pub fn history(&self) -> History {
        self.notes.history.lock().clone()
    }
}

fn value(of: &impl Serialize) -> Value {
    // Requests and answers are plain data; what cannot be written down would be seen as malformed by the checker.
    serde_json::to_value(of).unwrap_or_else(|error| Value::String(format!("not serializable: {error}")))
}

impl Pending {
    fn note(&self, phase: Phase, value: Value, error: Option<String>) {
        let mut history = self.recorder.notes.history.lock();
        // The clock is read under the lock, so that times rise with the index.
        let (index, time) = (history.entries.len(), self.recorder.now());
        let (node, f) = (self.node.clone(), self.f.clone());
        history.entries.push(Entry { index, time, process: self.process, node, phase, f, value, error });
    }

    /// It happened.
    pub fn ok(self, answer: &impl Serialize) {
        self.note(Phase::Ok, value(answer), None);
    }

    /// It certainly did not happen.
    pub fn fail(self, why: impl Into<String>) {
        self.note(Phase::Fail, Value::Null, Some(why.into()));
    }

    /// Nobody knows.
    pub fn info(self, why: impl Into<String>) {
        self.note(Phase::Info, Value::Null, Some(why.into()));
    }
}
