//! Prefers nodes with more left, and nodes whose resources are used evenly.

use super::MAX;
use crate::cluster::NodeInfo;
use crate::pod_info::PodInfo;

/// More is better: the average share of CPU and memory that is left once the pod is there.
pub(super) fn least_allocated(pod: &PodInfo, info: &NodeInfo) -> i64 {
    let left = |capacity: i64, used: i64| {
        if capacity == 0 || used > capacity { 0 } else { (capacity - used).saturating_mul(MAX) / capacity }
    };
    let cpu = left(info.allocatable.milli_cpu, info.estimated.milli_cpu + pod.estimate.milli_cpu);
    let memory = left(info.allocatable.memory / 1024, (info.estimated.memory + pod.estimate.memory) / 1024);
    (cpu + memory) / 2
}

/// More is better: how close the used shares of CPU and memory are once the pod is there.
pub(super) fn balanced(pod: &PodInfo, info: &NodeInfo) -> i64 {
    // Precise enough: amounts are far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    let share = |capacity: i64, used: i64| if capacity == 0 { 1.0 } else { (used as f64 / capacity as f64).min(1.0) };
    let cpu = share(info.allocatable.milli_cpu, info.requested.milli_cpu + pod.requests.milli_cpu);
    let memory = share(info.allocatable.memory, info.requested.memory + pod.requests.memory);
    let deviation: f64 = (cpu - memory).abs() / 2.0;
    // Between 0 and 100 by construction.
    #[allow(clippy::cast_possible_truncation)]
    let score = ((1.0 - deviation) * 100.0) as i64;
    score
}
