//! What pods and containers use, as /stats/summary and as Prometheus text.

use std::fmt::Write;

use http::{Response, StatusCode};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tricorn_proto::cri;

use super::Shared;
use super::reply::{self, Body, text};
use crate::manager;
use crate::node::info;
use crate::pod::exec::timestamp;
use crate::pod::labels::{CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID};

async fn stats(shared: &Shared) -> crate::Result<Vec<cri::ContainerStats>> {
    let request = cri::ListContainerStatsRequest::default();
    Ok(shared.context.cri.list_container_stats("the node", request).await?.stats)
}

fn label<'a>(stats: &'a cri::ContainerStats, name: &str) -> &'a str {
    stats.attributes.as_ref().and_then(|attributes| attributes.labels.get(name)).map(String::as_str).unwrap_or_default()
}

fn value(value: Option<&cri::UInt64Value>) -> u64 {
    value.map_or(0, |value| value.value)
}

/// `/stats/summary`.
pub(super) async fn summary(shared: &Shared) -> Response<Body> {
    let all = match stats(shared).await {
        Ok(all) => all,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    };
    let mut pods = Vec::new();
    for pod in manager::list(&shared.pods) {
        let uid = crate::pod::spec::uid(&pod);
        let containers: Vec<Value> = all.iter().filter(|stats| label(stats, POD_UID) == uid).map(container).collect();
        let sum = |path: [&str; 2]| containers.iter().filter_map(|container| container[path[0]][path[1]].as_u64()).sum::<u64>();
        let time = Timestamp::now().to_string();
        pods.push(json!({
            "podRef": {"name": crate::pod::spec::name(&pod), "namespace": crate::pod::spec::namespace(&pod), "uid": uid},
            "startTime": pod.status.as_ref().and_then(|status| status.start_time.clone()),
            "cpu": {"time": time, "usageCoreNanoSeconds": sum(["cpu", "usageCoreNanoSeconds"]), "usageNanoCores": sum(["cpu", "usageNanoCores"])},
            "memory": {"time": time, "workingSetBytes": sum(["memory", "workingSetBytes"]), "usageBytes": sum(["memory", "usageBytes"])},
            "containers": containers,
        }));
    }
    let machine = shared.context.machine;
    let available = info::available_memory_bytes();
    let time = Timestamp::now().to_string();
    reply::json(&json!({
        "node": {
            "nodeName": shared.context.config.node_name,
            "memory": {"time": time, "availableBytes": available, "workingSetBytes": machine.memory_bytes - available},
            "fs": {"time": time, "capacityBytes": machine.storage_bytes,
                   "availableBytes": machine.storage_bytes / 1000 * info::free_storage_permille(&shared.context.config) as i64},
        },
        "pods": pods,
    }))
}

fn container(stats: &cri::ContainerStats) -> Value {
    let cpu = stats.cpu.unwrap_or_default();
    let memory = stats.memory.unwrap_or_default();
    let layer = stats.writable_layer.clone().unwrap_or_default();
    json!({
        "name": label(stats, CONTAINER_NAME),
        "cpu": {
            "time": timestamp(cpu.timestamp).to_string(),
            "usageCoreNanoSeconds": value(cpu.usage_core_nano_seconds.as_ref()),
            "usageNanoCores": value(cpu.usage_nano_cores.as_ref()),
        },
        "memory": {
            "time": timestamp(memory.timestamp).to_string(),
            "workingSetBytes": value(memory.working_set_bytes.as_ref()),
            "usageBytes": value(memory.usage_bytes.as_ref()),
            "rssBytes": value(memory.rss_bytes.as_ref()),
        },
        "rootfs": {
            "time": timestamp(layer.timestamp).to_string(),
            "usedBytes": value(layer.used_bytes.as_ref()),
            "inodesUsed": value(layer.inodes_used.as_ref()),
        },
    })
}

/// `/metrics/resource`.
pub(super) async fn resource(shared: &Shared) -> Response<Body> {
    let all = match stats(shared).await {
        Ok(all) => all,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    };
    let mut out = String::from(
        "# HELP container_cpu_usage_seconds_total Cumulative cpu time consumed by the container in core-seconds\n\
         # TYPE container_cpu_usage_seconds_total counter\n",
    );
    let names = |stats: &cri::ContainerStats| {
        format!(
            "container=\"{}\",namespace=\"{}\",pod=\"{}\"",
            label(stats, CONTAINER_NAME),
            label(stats, POD_NAMESPACE),
            label(stats, POD_NAME)
        )
    };
    for stats in &all {
        let seconds = value(stats.cpu.as_ref().and_then(|cpu| cpu.usage_core_nano_seconds.as_ref())) as f64 / 1e9;
        let _ = writeln!(out, "container_cpu_usage_seconds_total{{{}}} {seconds}", names(stats));
    }
    out.push_str(
        "# HELP container_memory_working_set_bytes Current working set of the container in bytes\n\
         # TYPE container_memory_working_set_bytes gauge\n",
    );
    for stats in &all {
        let bytes = value(stats.memory.as_ref().and_then(|memory| memory.working_set_bytes.as_ref()));
        let _ = writeln!(out, "container_memory_working_set_bytes{{{}}} {bytes}", names(stats));
    }
    text(StatusCode::OK, out)
}

/// `/metrics`.
pub(super) fn own(shared: &Shared) -> Response<Body> {
    let pods = manager::list(&shared.pods);
    let running = pods.iter().filter(|pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")).count();
    let out = format!(
        "# HELP kubelet_node_name The node's name. The count is always 1.\n# TYPE kubelet_node_name gauge\n\
         kubelet_node_name{{node=\"{}\"}} 1\n\
         # HELP kubelet_active_pods The number of pods the kubelet considers active\n# TYPE kubelet_active_pods gauge\n\
         kubelet_active_pods {}\n\
         # HELP kubelet_running_pods Number of pods that have a running pod sandbox\n# TYPE kubelet_running_pods gauge\n\
         kubelet_running_pods {running}\n",
        shared.context.config.node_name,
        pods.len(),
    );
    text(StatusCode::OK, out)
}
