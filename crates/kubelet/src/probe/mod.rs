//! Probes: actions against a container, repeated, and what their outcomes come to.

pub mod action;

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cri::Cri;
use action::Action;

/// What a probe decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Whether the container has come up; the others wait for it.
    Startup,
    /// Whether the container is to be restarted.
    Liveness,
    /// Whether the container takes traffic.
    Readiness,
}

impl Kind {
    /// As events name it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// Counts outcomes until enough of one kind came in a row. Pure.
#[derive(Debug, Clone)]
pub struct Tracker {
    success_threshold: i32,
    failure_threshold: i32,
    last: Option<bool>,
    run: i32,
    decided: Option<bool>,
}

impl Tracker {
    /// A tracker with a probe's thresholds.
    pub fn new(probe: &Probe) -> Self {
        Self {
            success_threshold: probe.success_threshold.unwrap_or(1).max(1),
            failure_threshold: probe.failure_threshold.unwrap_or(3).max(1),
            last: None,
            run: 0,
            decided: None,
        }
    }

    /// Takes an outcome; answers with the decision when it changed.
    pub fn observe(&mut self, outcome: bool) -> Option<bool> {
        self.run = if self.last == Some(outcome) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(outcome);
        let threshold = if outcome { self.success_threshold } else { self.failure_threshold };
        if self.run < threshold || self.decided == Some(outcome) {
            return None;
        }
        self.decided = Some(outcome);
        Some(outcome)
    }
}

/// What a probe tells its pod's worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The runtime's id of the container.
    pub container_id: String,
    /// Its name.
    pub container: String,
    /// Which probe.
    pub kind: Kind,
    /// A new decision, if this outcome made one.
    pub decision: Option<bool>,
    /// Why the probe failed this time.
    pub failure: Option<String>,
}

/// One probe of one running container.
pub struct Prober {
    /// The runtime.
    pub cri: Cri,
    /// The container's id.
    pub container_id: String,
    /// Its specification.
    pub container: Container,
    /// Which probe.
    pub kind: Kind,
    /// Its settings.
    pub probe: Probe,
    /// The pod's address.
    pub address: IpAddr,
    /// When the container started.
    pub started: Timestamp,
    /// Where reports go.
    pub reports: mpsc::Sender<Report>,
}

fn seconds(value: Option<i32>, otherwise: u64) -> Duration {
    Duration::from_secs(value.filter(|value| *value > 0).map_or(otherwise, |value| value as u64))
}

impl Prober {
    /// Probes until the startup probe has decided, or until aborted.
    pub async fn run(self) {
        let mut tracker = Tracker::new(&self.probe);
        let period = seconds(self.probe.period_seconds, 10);
        let limit = seconds(self.probe.timeout_seconds, 1);
        let age = Duration::try_from(Timestamp::now().duration_since(self.started)).unwrap_or_default();
        let mut next = Instant::now() + seconds(self.probe.initial_delay_seconds, 0).saturating_sub(age);
        let action = Action::of_probe(&self.probe, &self.container, self.address);
        loop {
            tokio::time::sleep_until(next).await;
            next = (next + period).max(Instant::now());
            let outcome = match &action {
                Ok(action) => action.run(&self.cri, &self.container_id, limit).await,
                Err(error) => Err(error.clone()),
            };
            let decision = tracker.observe(outcome.is_ok());
            let report = Report {
                container_id: self.container_id.clone(),
                container: self.container.name.clone(),
                kind: self.kind,
                decision,
                failure: outcome.err(),
            };
            let silent = report.decision.is_none() && report.failure.is_none();
            if !silent && self.reports.send(report).await.is_err() {
                return;
            }
            if self.kind == Kind::Startup && decision.is_some() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_takes_as_many_outcomes_in_a_row_as_the_thresholds_say() {
        let probe = Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Default::default() };
        let mut tracker = Tracker::new(&probe);
        let outcomes = [true, false, true, true, true, false, false, true, false, false, false, false];
        let decisions: Vec<Option<bool>> = outcomes.iter().map(|outcome| tracker.observe(*outcome)).collect();
        assert_eq!(decisions, [None, None, None, Some(true), None, None, None, None, None, None, Some(false), None]);
    }
}
