//! Routes to the pods of other nodes, over the link that the nodes share.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use crate::error::{Result, run};

/// Marks the routes that are ours.
const OWNER: &str = "184";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Where each other node's pods are: range to node address.
pub(crate) fn wanted_routes(nodes: &[Arc<Node>], own: &str) -> BTreeMap<String, Ipv4Addr> {
    let mut routes = BTreeMap::new();
    for node in nodes.iter().filter(|n| n.metadata.name.as_deref() != Some(own)) {
        let addresses = node.status.as_ref().and_then(|s| s.addresses.as_ref()).into_iter().flatten();
        let internal = addresses.filter(|a| a.type_ == "InternalIP").find_map(|a| a.address.parse().ok());
        let Some(address) = internal else { continue };
        let Some(spec) = &node.spec else { continue };
        let ranges = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
        for range in ranges.filter(|r| is_v4_range(r)) {
            routes.insert(range.clone(), address);
        }
    }
    routes
}

fn is_v4_range(text: &str) -> bool {
    text.split_once('/').is_some_and(|(ip, bits)| ip.parse::<Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok_and(|b| b <= 32))
}

/// The zone of the node called `own`.
pub(crate) fn zone(nodes: &[Arc<Node>], own: &str) -> Option<String> {
    let node = nodes.iter().find(|n| n.metadata.name.as_deref() == Some(own))?;
    node.metadata.labels.as_ref()?.get(ZONE).cloned()
}

/// Makes the kernel's routes `wanted`, and takes away those of ours that are not. What fails for one route is said and
/// leaves the others alone; the caller tries again.
pub(crate) async fn apply_routes(wanted: &BTreeMap<String, Ipv4Addr>) -> Result<()> {
    let shown = run("read routes", "ip", &["-4", "route", "show", "proto", OWNER], None).await?;
    let present: BTreeMap<&str, &str> = shown
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let range = words.next()?;
            words.find(|w| *w == "via")?;
            Some((range, words.next()?))
        })
        .collect();
    let mut failed = None;
    for (range, address) in wanted {
        let address = address.to_string();
        if present.get(range.as_str()) == Some(&address.as_str()) {
            continue;
        }
        let args = ["-4", "route", "replace", range, "via", &address, "proto", OWNER];
        match run("route to another node's pods", "ip", &args, None).await {
            Ok(_) => tracing::info!(%range, via = %address, "route to another node's pods"),
            Err(error) => failed = Some(error),
        }
    }
    for range in present.keys().filter(|range| !wanted.contains_key(**range)) {
        run("take a route away", "ip", &["-4", "route", "del", range, "proto", OWNER], None).await?;
        tracing::info!(%range, "route taken away");
    }
    failed.map_or(Ok(()), Err)
}

/// Takes all routes away.
pub(crate) async fn cleanup_routes() -> Result<()> {
    apply_routes(&BTreeMap::new()).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(name: &str, address: &str, range: &str) -> Arc<Node> {
        Arc::new(
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": name, "labels": { ZONE: format!("zone-{name}") } },
                "spec": { "podCIDR": range, "podCIDRs": [range] },
                "status": { "addresses": [{ "type": "Hostname", "address": name }, { "type": "InternalIP", "address": address }] },
            }))
            .unwrap(),
        )
    }

    #[test]
    fn routes_lead_to_other_nodes_only() {
        let nodes = [node("w1", "172.30.0.21", "10.42.0.0/24"), node("w2", "172.30.0.22", "10.42.1.0/24")];
        let routes = wanted_routes(&nodes, "w1");
        assert_eq!(routes, BTreeMap::from([("10.42.1.0/24".to_owned(), Ipv4Addr::new(172, 30, 0, 22))]));
        assert_eq!(zone(&nodes, "w1").as_deref(), Some("zone-w1"));
        assert!(wanted_routes(&[node("w3", "", "10.42.2.0/24"), node("w4", "172.30.0.4", "fd00::/64")], "w1").is_empty());
    }
}
