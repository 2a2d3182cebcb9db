//! Whether what a history says can have happened.
//!
//! A checker is a function of a history: no socket, no clock, no dice. So a history from a file is judged like one that was just made, twice
//! the same. Each file holds one idea of what must be true, and beside it the shapes of the requests and answers that it reads: a workload
//! that notes these is checked, whatever server it talks to.

pub mod append;
pub mod apply;
pub mod auth;
pub mod available;
pub mod contents;
pub mod controllers;
pub mod damage;
pub mod election;
pub mod fenced;
pub mod finalizers;
pub mod hash;
pub mod holders;
pub mod ids;
pub mod informer;
pub mod kv;
pub mod lease;
pub mod lock;
pub mod object;
pub mod quota;
pub mod register;
pub mod revisions;
pub mod set;
pub mod watch;
pub mod wgl;

#[cfg(test)]
mod tests;

use crate::history::{History, Malformed};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// So many findings are kept of one checker: a broken store breaks everything, and the first ones say it.
const MAX_FINDINGS: usize = 100;

/// What a checker came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// All of it can have happened.
    Valid,
    /// It cannot have happened.
    Invalid,
    /// Nobody could say, with the reason among the findings: a search came to its bound, or an entry could not be read.
    Unknown,
    /// The history has none of what this checker looks at.
    NothingToCheck,
}

/// One thing that cannot have happened, or that keeps a checker from saying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong, for people.
    pub what: String,
    /// The entries that show it.
    pub indexes: Vec<usize>,
}

/// What one checker says of one history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The checker's name.
    pub checker: String,
    /// What it came to.
    pub valid: Validity,
    /// What is wrong, the first hundred.
    pub findings: Vec<Finding>,
    /// Numbers for people: how much was looked at, how much was found.
    pub stats: BTreeMap<String, Value>,
}

impl Validity {
    /// Whether nothing was found that cannot have happened, and nothing was left unsaid.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::Valid | Self::NothingToCheck)
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Invalid => "INVALID",
            Self::Unknown => "unknown",
            Self::NothingToCheck => "nothing to check",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.checker, self.valid)?;
        for (name, value) in &self.stats {
            write!(f, ", {name} {value}")?;
        }
        for Finding { what, indexes } in &self.findings {
            write!(f, "\n  {what} (entries {indexes:?})")?;
        }
        Ok(())
    }
}

impl Verdict {
    /// Of a history that could not be read.
    pub fn malformed(checker: &'static str, error: &Malformed) -> Self {
        let finding = Finding { what: error.to_string(), indexes: vec![error.index] };
        Self { checker: checker.to_owned(), valid: Validity::Unknown, findings: vec![finding], stats: BTreeMap::new() }
    }
}

/// What checkers may take for granted, and the bounds that they hold a run to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// For keys and values.
    pub kv: kv::Options,
    /// For leases.
    pub lease: lease::Bounds,
    /// For availability.
    pub available: available::Bounds,
    /// Seconds within which a watch must be told what is there; none to not ask for it.
    pub watch_tail_seconds: Option<f64>,
}

/// What all checkers say of a history; those that find nothing of theirs in it are left out.
pub fn all(history: &History, options: &Options) -> Vec<Verdict> {
    let verdicts = [
        kv::check_with(history, options.kv),
        revisions::check(history),
        watch::check_with(history, options.watch_tail_seconds),
        lease::check_with(history, options.lease),
        register::check(history),
        append::check(history),
        apply::check(history),
        set::check(history),
        ids::check(history),
        lock::check(history),
        election::check(history),
        fenced::check(history),
        informer::check(history),
        object::check(history),
        finalizers::check(history),
        holders::check(history),
        controllers::check(history),
        hash::check(history),
        contents::check(history),
        damage::check(history),
        quota::check(history),
        auth::check(history),
        available::check_with(history, options.available),
    ];
    verdicts.into_iter().filter(|verdict| verdict.valid != Validity::NothingToCheck).collect()
}

/// Gathers what a checker finds.
#[derive(Debug)]
pub(crate) struct Judge {
    checker: &'static str,
    checked: usize,
    wrong: usize,
    unsure: usize,
    findings: Vec<Finding>,
    stats: BTreeMap<String, Value>,
}

impl Judge {
    pub(crate) fn new(checker: &'static str) -> Self {
        Self { checker, checked: 0, wrong: 0, unsure: 0, findings: Vec::new(), stats: BTreeMap::new() }
    }

    /// So much more was looked at.
    pub(crate) fn checked(&mut self, count: usize) {
        self.checked += count;
    }

    /// This cannot have happened.
    pub(crate) fn wrong(&mut self, what: impl Into<String>, indexes: impl IntoIterator<Item = usize>) {
        self.wrong += 1;
        self.keep(what.into(), indexes);
    }

    /// Of this nobody could say whether it can have happened.
    pub(crate) fn unsure(&mut self, what: impl Into<String>, indexes: impl IntoIterator<Item = usize>) {
        self.unsure += 1;
        self.keep(what.into(), indexes);
    }

    fn keep(&mut self, what: String, indexes: impl IntoIterator<Item = usize>) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { what, indexes: indexes.into_iter().collect() });
        }
    }

    pub(crate) fn stat(&mut self, name: &str, value: impl Into<Value>) {
        self.stats.insert(name.to_owned(), value.into());
    }

    pub(crate) fn verdict(mut self) -> Verdict {
        let valid = match (self.wrong, self.unsure, self.checked) {
            (1.., _, _) => Validity::Invalid,
            (_, 1.., _) => Validity::Unknown,
            (_, _, 0) => Validity::NothingToCheck,
            _ => Validity::Valid,
        };
        self.stat("checked", self.checked);
        if self.wrong + self.unsure > 0 {
            self.stat("findings", self.wrong + self.unsure);
        }
        Verdict { checker: self.checker.to_owned(), valid, findings: self.findings, stats: self.stats }
    }
}
