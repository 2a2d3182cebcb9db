//! How many pods to make, which to remove, and what to say about them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use crate::pods;

/// Most pods made or removed in one round.
const BURST_PODS: usize = 500;
/// Annotation that makes a pod cheaper (lower) or dearer (higher) to remove.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What to do with the pods.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) create: usize,
    pub(super) delete: Vec<Arc<Pod>>,
}

/// What there is, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) replicas: i32,
    pub(super) fully_labeled: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
    pub(super) terminating: i32,
}

/// Compares the owned pods with the wish. `on_node` counts the pods of all sibling owners by node, so that scaling down
/// during a rollout evens out the nodes.
pub(super) fn plan(desired: i32, owned: &[Arc<Pod>], on_node: &HashMap<String, usize>, now: Timestamp) -> Plan {
    let active: Vec<Arc<Pod>> = owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
    let desired = usize::try_from(desired).unwrap_or(0);
    match active.len().cmp(&desired) {
        Ordering::Less => Plan { create: (desired - active.len()).min(BURST_PODS), delete: Vec::new() },
        Ordering::Equal => Plan::default(),
        Ordering::Greater => {
            let surplus = (active.len() - desired).min(BURST_PODS);
            let mut ranked = active;
            if surplus < ranked.len() {
                ranked.sort_by(|a, b| removal_order(a, b, on_node, now));
            }
            ranked.truncate(surplus);
            Plan { create: 0, delete: ranked }
        }
    }
}

/// The pod that is less of a loss comes first.
fn removal_order(a: &Pod, b: &Pod, on_node: &HashMap<String, usize>, now: Timestamp) -> Ordering {
    let rank = |pod: &Pod| pods::node(pod).and_then(|node| on_node.get(node)).copied().unwrap_or(0);
    let age = |time: Option<Timestamp>| time.map_or(0, |time| age_bucket(time, now));
    let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    pods::node(a)
        .is_some()
        .cmp(&pods::node(b).is_some())
        .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
        .then_with(|| pods::is_ready(a).cmp(&pods::is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| rank(b).cmp(&rank(a)))
        .then_with(|| age(pods::ready_since(a)).cmp(&age(pods::ready_since(b))))
        .then_with(|| pods::restarts(b).cmp(&pods::restarts(a)))
        .then_with(|| age(created(a)).cmp(&age(created(b))))
        .then_with(|| pods::uid(a).cmp(pods::uid(b)))
}

fn phase_rank(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(DELETION_COST)).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

/// Ages in powers of two seconds: of pods that are about equally old, any may go.
fn age_bucket(time: Timestamp, now: Timestamp) -> u32 {
    let seconds = now.as_second().saturating_sub(time.as_second()).max(0);
    u64::try_from(seconds).map_or(0, |seconds| u64::BITS - (seconds + 1).leading_zeros())
}

/// Counts the owned pods; `matches_template` says whether a pod carries all labels of the template.
pub(super) fn count(owned: &[Arc<Pod>], min_ready_seconds: i32, now: Timestamp, matches_template: impl Fn(&Pod) -> bool) -> Counts {
    let mut counts = Counts::default();
    for pod in owned {
        if pods::is_terminating(pod) {
            counts.terminating += 1;
        }
        if !pods::is_active(pod) {
            continue;
        }
        counts.replicas += 1;
        counts.fully_labeled += i32::from(matches_template(pod));
        counts.ready += i32::from(pods::is_ready(pod));
        counts.available += i32::from(pods::is_available(pod, min_ready_seconds, now));
    }
    counts
}

/// How long until the next ready pod becomes available.
pub(super) fn next_available(owned: &[Arc<Pod>], min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let active = owned.iter().filter(|pod| pods::is_active(pod));
    let soonest = active.filter_map(|pod| pods::available_at(pod, min_ready_seconds)).filter(|at| *at > now).min()?;
    Duration::try_from(soonest.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::pods::build::{deleting, on, pod, ready};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.delete.iter().map(|pod| pods::name(pod)).collect()
    }

    fn cost(mut pod: Pod, cost: &str) -> Pod {
        pod.metadata.annotations = Some([(DELETION_COST.to_owned(), cost.to_owned())].into());
        pod
    }

    #[test]
    fn missing_pods_are_made_and_dead_ones_do_not_count() {
        let owned: Vec<Arc<Pod>> = [pod("a", "Running"), pod("b", "Failed"), deleting(pod("c", "Running"))].map(Arc::new).into();
        let plan = plan(3, &owned, &HashMap::new(), at(0));
        assert_eq!(plan, Plan { create: 2, delete: vec![] });
    }

    #[test]
    fn one_round_is_bounded() {
        assert_eq!(plan(10_000, &[], &HashMap::new(), at(0)).create, BURST_PODS);
    }

    #[test]
    fn the_pod_that_is_less_of_a_loss_goes_first() {
        let running = |name: &str| ready(on(pod(name, "Running"), "w1"), 100);
        for (case, keep, goes, on_node) in [
            ("unassigned", running("keep"), ready(pod("goes", "Running"), 100), HashMap::new()),
            ("pending", running("keep"), ready(on(pod("goes", "Pending"), "w1"), 100), HashMap::new()),
            ("not ready", running("keep"), on(pod("goes", "Running"), "w1"), HashMap::new()),
            ("cheaper", running("keep"), cost(running("goes"), "-5"), HashMap::new()),
            (
                "crowded node",
                running("keep"),
                ready(on(pod("goes", "Running"), "w2"), 100),
                HashMap::from([("w1".to_owned(), 1), ("w2".to_owned(), 3)]),
            ),
            ("ready later", running("keep"), ready(on(pod("goes", "Running"), "w1"), 9_999), HashMap::new()),
        ] {
            for owned in [[keep.clone(), goes.clone()], [goes.clone(), keep.clone()]] {
                let plan = plan(1, &owned.map(Arc::new), &on_node, at(10_000));
                assert_eq!(names(&plan), ["goes"], "{case}");
            }
        }
    }

    #[test]
    fn availability_waits_for_min_ready_seconds() {
        let owned: Vec<Arc<Pod>> = [ready(pod("a", "Running"), 100), deleting(pod("b", "Running"))].map(Arc::new).into();
        let counts = count(&owned, 30, at(110), |_| true);
        let expected = Counts { replicas: 1, fully_labeled: 1, ready: 1, available: 0, terminating: 1 };
        assert_eq!(counts, expected);
        assert_eq!(next_available(&owned, 30, at(110)), Some(Duration::from_secs(20)));
        assert_eq!(count(&owned, 30, at(130), |_| true).available, 1);
        assert_eq!(next_available(&owned, 30, at(130)), None);
    }
}
