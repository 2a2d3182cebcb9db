//! Histories that are known to be good and known to be bad.

mod append;
mod auth;
mod contents;
mod controllers;
mod coordination;
mod election;
mod etcd_bugs;
mod finalizers;
mod generated;
mod holders;
mod kv;
mod lease;
mod objects;
mod quota;
mod register;
mod watch;
mod wgl;

use super::{Validity, Verdict};
use crate::history::{Entry, History, Phase, Process};
use serde::Serialize;
use serde_json::Value;

/// A history in the making. Its clock goes on by a millisecond an entry.
#[derive(Default)]
pub(super) struct Scene {
    entries: Vec<Entry>,
    now: u64,
    node: Option<String>,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn note(&mut self, process: Process, phase: Phase, f: &str, value: Value, error: Option<&str>) -> &mut Self {
        self.now += 1_000_000;
        let (index, node) = (self.entries.len(), self.node.clone().filter(|_| process != Process::Nemesis));
        self.entries.push(Entry { index, time: self.now, process, node, phase, f: f.into(), value, error: error.map(str::to_owned) });
        self
    }

    /// What follows is asked of this member.
    pub(super) fn on(&mut self, node: &str) -> &mut Self {
        self.node = Some(node.into());
        self
    }

    pub(super) fn wait(&mut self, seconds: f64) -> &mut Self {
        self.now += (seconds * 1e9) as u64;
        self
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn invoke(&mut self, process: u64, f: &str, request: impl Serialize) -> &mut Self {
        self.note(Process::Client(process), Phase::Invoke, f, serde_json::to_value(request).unwrap(), None)
    }

    pub(super) fn ok(&mut self, process: u64, f: &str, answer: impl Serialize) -> &mut Self {
        self.note(Process::Client(process), Phase::Ok, f, serde_json::to_value(answer).unwrap(), None)
    }

    pub(super) fn fail(&mut self, process: u64, f: &str) -> &mut Self {
        self.failed(process, f, "refused")
    }

    pub(super) fn failed(&mut self, process: u64, f: &str, why: &str) -> &mut Self {
        self.note(Process::Client(process), Phase::Fail, f, Value::Null, Some(why))
    }

    pub(super) fn info(&mut self, process: u64, f: &str) -> &mut Self {
        self.note(Process::Client(process), Phase::Info, f, Value::Null, Some("timed out"))
    }

    /// Asked and answered at once.
    pub(super) fn call(&mut self, process: u64, f: &str, request: impl Serialize, answer: impl Serialize) -> &mut Self {
        self.invoke(process, f, request).ok(process, f, answer)
    }

    pub(super) fn nemesis(&mut self, f: &str, value: Value) -> &mut Self {
        self.note(Process::Nemesis, Phase::Info, f, value, None)
    }

    pub(super) fn history(&self) -> History {
        History { entries: self.entries.clone() }
    }
}

#[track_caller]
pub(super) fn valid(verdict: &Verdict) {
    assert_eq!(verdict.valid, Validity::Valid, "{verdict}");
}

/// Invalid, and says why in these words.
#[track_caller]
pub(super) fn invalid(verdict: &Verdict, why: &str) {
    assert_eq!(verdict.valid, Validity::Invalid, "{verdict}");
    assert!(verdict.findings.iter().any(|finding| finding.what.contains(why)), "nothing says “{why}”: {verdict}");
}
