//! The objects that every cluster has from its start, but for endpoints.

use super::flow;
use crate::server::Server;
use serde_json::{Value, json};

const NAMESPACES: [&str; 4] = ["kube-system", "default", "kube-public", "kube-node-lease"];

/// All of them, in the order in which they depend on each other.
pub(super) fn all(server: &Server) -> Vec<Value> {
    let mut all: Vec<Value> =
        NAMESPACES.iter().map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).collect();
    all.extend(tricorn_authz::bootstrap_objects());
    for (name, value, what) in [
        ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ] {
        all.push(json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "globalDefault": false, "description": what, "preemptionPolicy": "PreemptLowerPriority",
        }));
    }
    all.extend(flow::all());
    let config = &server.config;
    all.push(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [format!("{}/{}", config.service_network, config.service_prefix_bits)]},
    }));
    let address = server.allocator.first().to_string();
    all.push(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "sessionAffinity": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": config.advertise_port}],
        },
    }));
    all
}
