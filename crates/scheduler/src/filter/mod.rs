//! Which nodes a pod may go to.

mod affinity;
mod spread;

use crate::cluster::{Cluster, NodeInfo};
use crate::fit_error::{Check, Rejection};
use crate::pod_info::PodInfo;
use crate::terms::{matches_demands, untolerated};

use self::affinity::Neighbours;
use self::spread::Skews;

pub(crate) use self::spread::counts_for;

/// The taint that stands for `spec.unschedulable`.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// All checks for one pod, with what they need to know of the whole cluster worked out.
pub(crate) struct Filters<'a> {
    pod: &'a PodInfo,
    skews: Skews<'a>,
    neighbours: Neighbours<'a>,
}

impl<'a> Filters<'a> {
    /// Looks at the whole cluster once for `pod`.
    pub(crate) fn new(pod: &'a PodInfo, cluster: &'a Cluster) -> Self {
        Self { pod, skews: Skews::new(pod, cluster), neighbours: Neighbours::new(pod, cluster) }
    }

    /// Whether the pod may go to a node; the first check that says no tells why.
    pub(crate) fn check(&self, info: &NodeInfo) -> Result<(), Rejection> {
        let Some(node) = &info.node else {
            return Err(Rejection::new(Check::NodeName, "node(s) didn't match the requested node name", false));
        };
        let spec = self.pod.pod.spec.as_ref();
        if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
            let taint =
                k8s_openapi::api::core::v1::Taint { key: UNSCHEDULABLE.to_owned(), effect: "NoSchedule".to_owned(), ..Default::default() };
            let tolerations = spec.and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
            if !tolerations.iter().any(|toleration| crate::terms::tolerates(toleration, &taint)) {
                return Err(Rejection::new(Check::NodeUnschedulable, "node(s) were unschedulable", false));
            }
        }
        let wanted = spec.and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty());
        if wanted.is_some_and(|wanted| wanted != info.name()) {
            return Err(Rejection::new(Check::NodeName, "node(s) didn't match the requested node name", false));
        }
        if let Some(taint) = untolerated(node, &self.pod.pod, &["NoSchedule", "NoExecute"]) {
            let value = taint.value.as_deref().unwrap_or("");
            let reason = format!("node(s) had untolerated taint {{{}: {value}}}", taint.key);
            return Err(Rejection::new(Check::TaintToleration, reason, false));
        }
        if !matches_demands(&self.pod.pod, node) {
            return Err(Rejection::new(Check::NodeAffinity, "node(s) didn't match Pod's node affinity/selector", false));
        }
        if self.pod.ports.iter().any(|port| info.ports.iter().any(|taken| port.clashes(taken))) {
            let reason = "node(s) didn't have free ports for the requested pod ports";
            return Err(Rejection::new(Check::NodePorts, reason, true));
        }
        fits(self.pod, info)?;
        self.skews.check(node)?;
        self.neighbours.check(node)
    }
}

/// Whether what the pod asks for is still free.
fn fits(pod: &PodInfo, info: &NodeInfo) -> Result<(), Rejection> {
    let mut reasons = Vec::new();
    let mut impossible = false;
    let count = i64::try_from(info.pods.len()).unwrap_or(i64::MAX);
    if count + 1 > info.allowed_pods {
        reasons.push("Too many pods".to_owned());
    }
    let mut compare = |name: &str, asked: i64, allocatable: i64, requested: i64| {
        if asked > 0 && asked > allocatable - requested {
            reasons.push(format!("Insufficient {name}"));
            impossible |= asked > allocatable;
        }
    };
    let (asked, all, taken) = (&pod.requests, &info.allocatable, &info.requested);
    compare("cpu", asked.milli_cpu, all.milli_cpu, taken.milli_cpu);
    compare("memory", asked.memory, all.memory, taken.memory);
    compare("ephemeral-storage", asked.ephemeral, all.ephemeral, taken.ephemeral);
    for (name, amount) in &asked.others {
        let of = |amounts: &crate::resources::Resources| amounts.others.get(name).copied().unwrap_or(0);
        compare(name, *amount, of(all), of(taken));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Rejection { check: Check::NodeResourcesFit, reasons, pods_could_yield: !impossible })
}
