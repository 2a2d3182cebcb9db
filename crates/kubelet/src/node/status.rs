//! The Node's status, made from what was observed.

use k8s_openapi::api::core::v1::NodeStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tricorn_proto::cri;

use super::info;
use crate::context::Context;

/// Most images that a Node lists.
const IMAGES_LIMIT: usize = 50;
/// Memory below which the node is under pressure, bytes; as much is kept back from pods.
const MEMORY_LEAST_BYTES: i64 = 100 << 20;
/// Free storage below which the node is under pressure, thousandths.
const STORAGE_LEAST_PERMILLE: u64 = 50;

/// What was observed of the runtime.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Why the node cannot run pods.
    pub not_ready: Option<String>,
    /// Name and version of the runtime.
    pub runtime_version: String,
    /// Images on the node.
    pub images: Vec<cri::Image>,
}

/// Why the runtime's conditions keep the node from being ready, in upstream's words.
pub fn not_ready(status: &cri::RuntimeStatus) -> Option<String> {
    for (kind, title) in [("RuntimeReady", "container runtime not ready"), ("NetworkReady", "container runtime network not ready")] {
        let Some(condition) = status.conditions.iter().find(|condition| condition.r#type == kind) else {
            return Some(format!("{title}: the runtime does not report {kind}"));
        };
        if !condition.status {
            return Some(format!("{title}: {kind}=false reason:{} message:{}", condition.reason, condition.message));
        }
    }
    None
}

/// Makes the status; transition times of unchanged conditions are those of `old`.
pub fn make(context: &Context, observed: &Observed, now: Timestamp, old: Option<&NodeStatus>) -> Value {
    let config = &context.config;
    let machine = context.machine;
    let mut images: Vec<Value> = observed
        .images
        .iter()
        .map(|image| {
            let names: Vec<&String> = image.repo_digests.iter().chain(&image.repo_tags).collect();
            json!({"names": names, "sizeBytes": image.size})
        })
        .collect();
    images.sort_by_key(|image| std::cmp::Reverse(image["sizeBytes"].as_u64()));
    images.truncate(IMAGES_LIMIT);
    let resources = |memory: i64| {
        json!({
            "cpu": (machine.milli_cpu / 1000).to_string(),
            "memory": format!("{}Ki", memory / 1024),
            "ephemeral-storage": format!("{}Ki", machine.storage_bytes / 1024),
            "pods": config.max_pods.to_string(),
        })
    };
    json!({
        "addresses": [
            {"type": "InternalIP", "address": config.node_ip.to_string()},
            {"type": "Hostname", "address": config.node_name},
        ],
        "capacity": resources(machine.memory_bytes),
        "allocatable": resources((machine.memory_bytes - MEMORY_LEAST_BYTES).max(0)),
        "conditions": conditions(context, observed, now, old),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "nodeInfo": info::node_info(config, &observed.runtime_version),
        "images": images,
    })
}

fn conditions(context: &Context, observed: &Observed, now: Timestamp, old: Option<&NodeStatus>) -> Vec<Value> {
    let short_memory = info::available_memory_bytes() < MEMORY_LEAST_BYTES;
    let short_storage = info::free_storage_permille(&context.config) < STORAGE_LEAST_PERMILLE;
    let ready = observed.not_ready.is_none() && !observed.runtime_version.is_empty();
    let why = observed.not_ready.clone().unwrap_or_else(|| {
        if ready { "kubelet is posting ready status".into() } else { "container runtime status check may not have completed yet".into() }
    });
    let made = [
        (
            "MemoryPressure",
            short_memory,
            if short_memory { "KubeletHasInsufficientMemory" } else { "KubeletHasSufficientMemory" },
            format!("kubelet has {} memory available", if short_memory { "insufficient" } else { "sufficient" }),
        ),
        (
            "DiskPressure",
            short_storage,
            if short_storage { "KubeletHasDiskPressure" } else { "KubeletHasNoDiskPressure" },
            format!("kubelet has {}disk pressure", if short_storage { "" } else { "no " }),
        ),
        ("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available".to_owned()),
        ("Ready", ready, if ready { "KubeletReady" } else { "KubeletNotReady" }, why),
    ];
    made.into_iter()
        .map(|(kind, holds, reason, message)| {
            let status = if holds { "True" } else { "False" };
            let before = old
                .and_then(|old| old.conditions.as_ref())
                .into_iter()
                .flatten()
                .find(|before| before.type_ == kind && before.status == status);
            let since = before.and_then(|before| before.last_transition_time.clone()).unwrap_or(Time(now));
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": Time(now), "lastTransitionTime": since,
            })
        })
        .collect()
}

/// The status without its times: what has to differ for it to be written again.
pub fn without_times(status: &Value) -> Value {
    let mut status = status.clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if let Some(fields) = condition.as_object_mut() {
            fields.remove("lastHeartbeatTime");
            fields.remove("lastTransitionTime");
        }
    }
    status
}
