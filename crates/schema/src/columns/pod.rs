//! Pods.

use serde_json::{Value, json};
use tricorn_meta::json::{flag, get, int, list, text};
use tricorn_meta::{Timestamp, time};

use super::cell::{Cell, Column, NONE, col, wide};

pub(super) const POD: &[Column] = &[
    col("Name", Cell::Name),
    col("Ready", Cell::Make(|pod, _| Summary::of(pod).ready_text())),
    col("Status", Cell::Make(|pod, _| Summary::of(pod).status)),
    col("Restarts", Cell::Make(|pod, now| Summary::of(pod).restarts_text(now))),
    col("Age", Cell::Age),
    wide("IP", Cell::Make(|pod, _| ip(pod))),
    wide("Node", Cell::Text("spec.nodeName")),
    wide("Nominated Node", Cell::Text("status.nominatedNodeName")),
    wide("Readiness Gates", Cell::Make(|pod, _| gates(pod))),
];

/// What a row says of a pod that runs no more: printers may leave it out.
pub(super) fn ended(pod: &Value) -> Option<Value> {
    let (phase, how) = match text(pod, "status.phase") {
        "Succeeded" => ("Succeeded", "All containers of the pod have ended well."),
        "Failed" => ("Failed", "The pod has failed."),
        _ => return None,
    };
    Some(json!({"type": "Completed", "status": "True", "reason": phase, "message": how}))
}

/// What a pod's containers amount to.
struct Summary {
    ready: usize,
    total: usize,
    status: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let sidecar =
            |name: &str| list(pod, "spec.initContainers").iter().any(|c| text(c, "name") == name && text(c, "restartPolicy") == "Always");
        let sidecars = list(pod, "spec.initContainers").iter().filter(|c| text(c, "restartPolicy") == "Always").count();
        let reason = [text(pod, "status.reason"), text(pod, "status.phase")].into_iter().find(|r| !r.is_empty()).unwrap_or_default();
        let total = list(pod, "spec.containers").len() + sidecars;
        let mut summary = Self { ready: 0, total, status: reason.to_owned(), restarts: 0, last_restart: None };
        if list(pod, "status.conditions").iter().any(|c| text(c, "type") == "PodScheduled" && text(c, "reason") == "SchedulingGated") {
            summary.status = "SchedulingGated".to_owned();
        }
        let initializing = summary.init_containers(pod, &sidecar);
        if !initializing || condition(pod, "Initialized") {
            summary.restarts = 0;
            summary.last_restart = None;
            let beside = list(pod, "status.initContainerStatuses").iter().filter(|s| sidecar(text(s, "name")));
            beside.for_each(|s| summary.count_restarts(s));
            summary.containers(pod);
        }
        if get(pod, "metadata.deletionTimestamp").is_some_and(|t| !t.is_null()) {
            if text(pod, "status.reason") == "NodeLost" {
                summary.status = "Unknown".to_owned();
            } else if !matches!(text(pod, "status.phase"), "Succeeded" | "Failed") {
                summary.status = "Terminating".to_owned();
            }
        }
        summary
    }

    fn count_restarts(&mut self, status: &Value) {
        self.restarts += int(status, "restartCount").unwrap_or(0);
        let ended = Timestamp::parse(text(status, "lastState.terminated.finishedAt"));
        self.last_restart = self.last_restart.max(ended);
    }

    /// Looks at the containers that run first; says whether the pod still waits for one of them.
    fn init_containers(&mut self, pod: &Value, sidecar: &impl Fn(&str) -> bool) -> bool {
        for (i, status) in list(pod, "status.initContainerStatuses").iter().enumerate() {
            self.count_restarts(status);
            let (ended, waiting) = (get(status, "state.terminated"), text(status, "state.waiting.reason"));
            match ended {
                Some(end) if int(end, "exitCode").unwrap_or(0) == 0 => continue,
                None if sidecar(text(status, "name")) && flag(status, "started") => {
                    self.ready += usize::from(flag(status, "ready"));
                    continue;
                }
                Some(end) => self.status = format!("Init:{}", end_text(end)),
                None if !waiting.is_empty() && waiting != "PodInitializing" => self.status = format!("Init:{waiting}"),
                None => self.status = format!("Init:{i}/{}", list(pod, "spec.initContainers").len()),
            }
            return true;
        }
        false
    }

    fn containers(&mut self, pod: &Value) {
        let mut running = false;
        for status in list(pod, "status.containerStatuses").iter().rev() {
            self.count_restarts(status);
            let (waiting, ended) = (text(status, "state.waiting.reason"), get(status, "state.terminated"));
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.status);
            } else if let Some(end) = ended {
                self.status = end_text(end);
            } else if flag(status, "ready") && get(status, "state.running").is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.status == "Completed" && running {
            self.status = if condition(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn ready_text(&self) -> String {
        format!("{}/{}", self.ready, self.total)
    }

    fn restarts_text(&self, now: Timestamp) -> String {
        match self.last_restart {
            Some(last) if self.restarts > 0 => format!("{} ({} ago)", self.restarts, time::human_duration(now.seconds_since(last))),
            _ => self.restarts.to_string(),
        }
    }
}

/// Why a container ended: the reason, or the signal, or the exit code.
fn end_text(end: &Value) -> String {
    let (reason, signal) = (text(end, "reason"), int(end, "signal").unwrap_or(0));
    match (reason, signal) {
        ("", 0) => format!("ExitCode:{}", int(end, "exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn condition(pod: &Value, kind: &str) -> bool {
    list(pod, "status.conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

fn ip(pod: &Value) -> String {
    let first = text(pod, "status.podIPs.0.ip");
    let ip = if first.is_empty() { text(pod, "status.podIP") } else { first };
    if ip.is_empty() { NONE.to_owned() } else { ip.to_owned() }
}

fn gates(pod: &Value) -> String {
    let gates = list(pod, "spec.readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates.iter().filter(|g| condition(pod, text(g, "conditionType"))).count();
    format!("{open}/{}", gates.len())
}
