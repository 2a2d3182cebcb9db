//! Why a pod has no node: per node, and summed up in the words that people know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The checks that can turn a node down. Their names are upstream's plugin names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Check {
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    PodTopologySpread,
    InterPodAffinity,
}

/// One node's no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) check: Check,
    pub(crate) reasons: Vec<String>,
    /// Whether removing other pods could turn it into a yes.
    pub(crate) pods_could_yield: bool,
}

impl Rejection {
    pub(crate) fn new(check: Check, reason: impl Into<String>, pods_could_yield: bool) -> Self {
        Self { check, reasons: vec![reason.into()], pods_could_yield }
    }
}

/// No node fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FitError {
    /// Nodes that there are.
    pub(crate) nodes: usize,
    /// How many nodes gave which reason.
    pub(crate) reasons: BTreeMap<String, usize>,
    /// The checks that said no, for waking the pod when that may have changed.
    pub(crate) checks: BTreeSet<Check>,
    /// What came of looking for pods to displace.
    pub(crate) preemption: String,
}

impl FitError {
    /// Takes one node's no into account.
    pub(crate) fn note(&mut self, rejection: &Rejection) {
        self.checks.insert(rejection.check);
        for reason in &rejection.reasons {
            *self.reasons.entry(reason.clone()).or_insert(0) += 1;
        }
    }
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available", self.nodes)?;
        if !self.reasons.is_empty() {
            let mut parts: Vec<String> = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            parts.sort();
            write!(f, ": {}", parts.join(", "))?;
        }
        f.write_str(".")?;
        if !self.preemption.is_empty() {
            write!(f, " {}", self.preemption)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_ones_people_know() {
        let mut error = FitError { nodes: 3, ..FitError::default() };
        error.note(&Rejection::new(Check::NodeResourcesFit, "Insufficient cpu", true));
        let taint = Rejection::new(Check::TaintToleration, "node(s) had untolerated taint {a: b}", false);
        error.note(&taint);
        error.note(&taint);
        error.preemption = "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.".into();
        assert_eq!(
            error.to_string(),
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a: b}. \
             preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        );
        assert_eq!(FitError::default().to_string(), "no nodes available to schedule pods");
    }
}
