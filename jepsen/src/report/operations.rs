//! Operations as a report shows them, whatever they ask and answer.

use crate::history::{History, Phase, Process};
use serde_json::Value;
use std::collections::HashMap;

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum End {
    Ok,
    Info,
    Fail,
    /// It never did.
    Open,
}

impl End {
    pub(super) const ALL: [Self; 4] = [Self::Ok, Self::Info, Self::Fail, Self::Open];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Fail => "fail",
            Self::Open => "open",
        }
    }
}

/// An operation of a client.
#[derive(Debug)]
pub(super) struct Operation<'a> {
    pub(super) client: u64,
    pub(super) node: Option<&'a str>,
    pub(super) f: &'a str,
    pub(super) begun: u64,
    pub(super) ended: Option<u64>,
    pub(super) end: End,
    pub(super) index: usize,
    pub(super) returned: Option<usize>,
    pub(super) request: &'a Value,
    pub(super) answer: Option<&'a Value>,
    pub(super) error: Option<&'a str>,
}

/// All operations of clients, by their invocations.
pub(super) fn operations(history: &History) -> Vec<Operation<'_>> {
    let mut operations: Vec<Operation<'_>> = Vec::new();
    let mut open: HashMap<(u64, &str), usize> = HashMap::new();
    for entry in &history.entries {
        let Process::Client(client) = entry.process else { continue };
        if entry.phase == Phase::Invoke {
            open.insert((client, &entry.f), operations.len());
            operations.push(Operation {
                client,
                node: entry.node.as_deref(),
                f: &entry.f,
                begun: entry.time,
                ended: None,
                end: End::Open,
                index: entry.index,
                returned: None,
                request: &entry.value,
                answer: None,
                error: None,
            });
            continue;
        }
        let Some(operation) = open.remove(&(client, entry.f.as_str())).and_then(|place| operations.get_mut(place)) else { continue };
        (operation.ended, operation.returned) = (Some(entry.time), Some(entry.index));
        (operation.answer, operation.error) = (Some(&entry.value).filter(|value| !value.is_null()), entry.error.as_deref());
        operation.end = match entry.phase {
            Phase::Ok => End::Ok,
            Phase::Fail => End::Fail,
            Phase::Info | Phase::Invoke => End::Info,
        };
    }
    operations
}
