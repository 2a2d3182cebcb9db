//! Requests, limits, quality of service, and what they mean for cgroups.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tricorn_proto::cri::LinuxContainerResources;

use super::spec::{self, Role};
use crate::cgroup::{self, CPU_PERIOD_MICROSECONDS, Limits};

/// Quality of service: everything limited.
pub const GUARANTEED: &str = "Guaranteed";
/// Quality of service: something requested.
pub const BURSTABLE: &str = "Burstable";
/// Quality of service: nothing asked for.
pub const BEST_EFFORT: &str = "BestEffort";

/// A quantity in thousandths of its unit, rounded up. Quantities that the API has accepted always parse.
pub fn milli(quantity: &Quantity) -> i64 {
    let text = quantity.0.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number: f64 = number.parse().unwrap_or_default();
    let factor: f64 = match suffix {
        "" => 1e3,
        "n" => 1e-6,
        "u" => 1e-3,
        "m" => 1.0,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "P" => 1e18,
        "E" => 1e21,
        "Ki" => 1024e3,
        "Mi" => 1024e3 * 1024.0,
        "Gi" => 1024e3 * 1024.0 * 1024.0,
        "Ti" => 1024e3 * 1024.0 * 1024.0 * 1024.0,
        "Pi" => 1024e3 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        exponent => match exponent.trim_start_matches(['e', 'E']).parse::<i32>() {
            Ok(power) => 10_f64.powi(power) * 1e3,
            Err(_) => 1e3,
        },
    };
    (number * factor).ceil() as i64
}

/// A quantity in whole units, rounded up.
pub fn whole(quantity: &Quantity) -> i64 {
    let milli = milli(quantity);
    milli / 1000 + i64::from(milli % 1000 > 0)
}

/// One request or limit of a container.
pub fn of<'a>(list: Option<&'a BTreeMap<String, Quantity>>, name: &str) -> Option<&'a Quantity> {
    list.and_then(|list| list.get(name))
}

fn requests(container: &Container) -> Option<&BTreeMap<String, Quantity>> {
    container.resources.as_ref().and_then(|resources| resources.requests.as_ref())
}

fn limits(container: &Container) -> Option<&BTreeMap<String, Quantity>> {
    container.resources.as_ref().and_then(|resources| resources.limits.as_ref())
}

/// A container's request, or else its limit.
pub fn request<'a>(container: &'a Container, name: &str) -> Option<&'a Quantity> {
    of(requests(container), name).or_else(|| of(limits(container), name))
}

/// A container's limit.
pub fn limit<'a>(container: &'a Container, name: &str) -> Option<&'a Quantity> {
    of(limits(container), name)
}

/// The pod's quality-of-service class.
pub fn qos_class(pod: &Pod) -> &'static str {
    let mut guaranteed = true;
    let mut nothing = true;
    for member in spec::members(pod).iter().filter(|member| member.role != Role::Ephemeral) {
        for name in ["cpu", "memory"] {
            let limit = limit(&member.container, name).map(milli).unwrap_or_default();
            let request = request(&member.container, name).map(milli).unwrap_or_default();
            nothing &= limit == 0 && request == 0;
            guaranteed &= limit > 0 && limit == request;
        }
    }
    match (nothing, guaranteed) {
        (true, _) => BEST_EFFORT,
        (false, true) => GUARANTEED,
        (false, false) => BURSTABLE,
    }
}

/// The pod's cgroup below the node's.
pub fn pod_cgroup(root: &str, pod: &Pod) -> String {
    let uid = spec::uid(pod);
    match qos_class(pod) {
        GUARANTEED => format!("{root}/pod{uid}"),
        class => format!("{root}/{}/pod{uid}", class.to_ascii_lowercase()),
    }
}

/// Limits of the pod's cgroup: shares of all requests, and a limit where every container has one.
pub fn pod_limits(pod: &Pod) -> Limits {
    let members = spec::members(pod);
    let steady: Vec<&Container> =
        members.iter().filter(|member| matches!(member.role, Role::Main | Role::Sidecar)).map(|member| &member.container).collect();
    let sum = |name: &str, limit_only: bool| -> Option<i64> {
        steady.iter().map(|container| if limit_only { limit(container, name) } else { request(container, name) }.map(milli)).sum()
    };
    let largest_init = |name: &str| -> Option<i64> {
        members
            .iter()
            .filter(|member| member.role == Role::Init)
            .map(|member| limit(&member.container, name).map(milli))
            .try_fold(0, |most, value| value.map(|value| most.max(value)))
    };
    let all_limited = |name: &str| Some(sum(name, true)?.max(largest_init(name)?)).filter(|value| *value > 0);
    let requested: i64 = steady.iter().filter_map(|container| request(container, "cpu").map(milli)).sum();
    Limits {
        cpu_shares: Some(cgroup::shares(requested)),
        cpu_quota: all_limited("cpu").map(cgroup::quota),
        memory_bytes: all_limited("memory").map(|milli| milli / 1000),
    }
}

/// A container's cgroup limits.
pub fn container_resources(pod: &Pod, container: &Container, node_memory_bytes: i64) -> LinuxContainerResources {
    LinuxContainerResources {
        cpu_period: CPU_PERIOD_MICROSECONDS,
        cpu_quota: limit(container, "cpu").map(|limit| cgroup::quota(milli(limit))).unwrap_or_default(),
        cpu_shares: cgroup::shares(request(container, "cpu").map(milli).unwrap_or_default()) as i64,
        memory_limit_in_bytes: limit(container, "memory").map(whole).unwrap_or_default(),
        oom_score_adj: oom_score(pod, container, node_memory_bytes),
        ..Default::default()
    }
}

/// How readily the kernel kills the container when memory runs out: upstream's numbers.
fn oom_score(pod: &Pod, container: &Container, node_memory_bytes: i64) -> i64 {
    match qos_class(pod) {
        GUARANTEED => -997,
        BEST_EFFORT => 1000,
        _ => {
            let request = request(container, "memory").map(whole).unwrap_or_default();
            let score = 1000 - 1000 * request / node_memory_bytes.max(1);
            score.clamp(3, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn quantities_are_read_in_thousandths() {
        for (text, thousandths) in
            [("1", 1000), ("250m", 250), ("0.5", 500), ("1Ki", 1_024_000), ("64Mi", 67_108_864_000), ("1e3", 1_000_000), ("100n", 1)]
        {
            assert_eq!(milli(&Quantity(text.into())), thousandths, "{text}");
        }
    }

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        for (resources, class) in [
            (serde_json::json!({}), BEST_EFFORT),
            (serde_json::json!({"requests": {"cpu": "100m"}}), BURSTABLE),
            (serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}}), GUARANTEED),
            (serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}), BURSTABLE),
        ] {
            let pod: Pod = serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}
            }))
            .unwrap();
            assert_eq!(qos_class(&pod), class);
        }
    }
}
