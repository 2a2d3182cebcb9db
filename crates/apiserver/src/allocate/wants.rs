//! What a Service needs, read from its spec.

use serde_json::{Value, json};

pub(super) fn kind(service: &Value) -> &str {
    service["spec"]["type"].as_str().unwrap_or("ClusterIP")
}

/// Whether the Service has an address in the cluster, be it "None".
pub(super) fn needs_address(service: &Value) -> bool {
    kind(service) != "ExternalName"
}

/// Whether its ports are opened on every node.
pub(super) fn needs_ports(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

/// Whether nodes answer health checks for it.
pub(super) fn needs_health_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && service["spec"]["externalTrafficPolicy"] == "Local"
}

/// Writes the address in, with what goes with it.
pub(super) fn set_address(service: &mut Value, address: &str) {
    service["spec"]["clusterIP"] = address.into();
    service["spec"]["clusterIPs"] = json!([address]);
    if service["spec"]["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
        service["spec"]["ipFamilies"] = json!(["IPv4"]);
    }
    if service["spec"]["ipFamilyPolicy"].is_null() {
        service["spec"]["ipFamilyPolicy"] = json!("SingleStack");
    }
}

/// Its ports, where it has any. (Indexing would write a null where it has none.)
fn ports_of(service: &mut Value) -> impl Iterator<Item = &mut Value> {
    service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten()
}

/// Keeps what was allocated before where the client left it out.
pub(super) fn carry_over(old: Option<&Value>, new: &mut Value) {
    if !needs_address(new)
        && let Some(spec) = new["spec"].as_object_mut()
    {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.shift_remove(field);
        }
    }
    if !needs_ports(new) && kind(new) != "LoadBalancer" {
        for port in ports_of(new) {
            if let Some(port) = port.as_object_mut() {
                port.shift_remove("nodePort");
            }
        }
    }
    if !needs_health_port(new)
        && let Some(spec) = new["spec"].as_object_mut()
    {
        spec.shift_remove("healthCheckNodePort");
    }
    let Some(old) = old else { return };
    drop_outlived(old, new);
    if needs_address(new) && new["spec"]["clusterIP"].as_str().unwrap_or_default().is_empty() && needs_address(old) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if let Some(value) = old["spec"].get(field) {
                new["spec"][field] = value.clone();
            }
        }
    }
    if needs_ports(new) && needs_ports(old) {
        let before = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
        for port in ports_of(new).filter(|port| port["nodePort"].as_i64().unwrap_or(0) == 0) {
            let same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
            if let Some(number) = before.iter().find(same).and_then(|other| other.get("nodePort")) {
                port["nodePort"] = number.clone();
            }
        }
    }
    if needs_health_port(new)
        && new["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0) == 0
        && !old["spec"]["healthCheckNodePort"].is_null()
    {
        new["spec"]["healthCheckNodePort"] = old["spec"]["healthCheckNodePort"].clone();
    }
}

/// Whether it is reached from outside the cluster.
fn is_external(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer") || service["spec"]["externalIPs"].as_array().is_some_and(|all| !all.is_empty())
}

fn is_balanced(service: &Value) -> bool {
    kind(service) == "LoadBalancer"
}

/// Takes out what a Service of another type had and the client has only left where it was. What the client changed is for the validation to refuse.
fn drop_outlived(old: &Value, new: &mut Value) {
    let ended = |needed: fn(&Value) -> bool| needed(old) && !needed(new);
    let (external, balanced) = (ended(is_external), ended(is_balanced));
    for (field, ended) in
        [("externalTrafficPolicy", external), ("allocateLoadBalancerNodePorts", balanced), ("loadBalancerClass", balanced)]
    {
        if ended
            && old["spec"][field] == new["spec"][field]
            && let Some(spec) = new["spec"].as_object_mut()
        {
            spec.shift_remove(field);
        }
    }
}

/// The addresses in the cluster that a Service uses.
pub(super) fn used_addresses(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let listed = spec["clusterIPs"].as_array().into_iter().flatten();
    let mut all: Vec<String> = listed.chain([&spec["clusterIP"]]).filter_map(|address| address.as_str().map(str::to_owned)).collect();
    all.retain(|address| !address.is_empty() && address != "None");
    all.sort_unstable();
    all.dedup();
    all
}

/// The node ports that a Service uses.
pub(super) fn used_ports(service: &Value) -> Vec<i64> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten().map(|port| &port["nodePort"]);
    let mut all: Vec<i64> =
        ports.chain([&service["spec"]["healthCheckNodePort"]]).filter_map(Value::as_i64).filter(|number| *number > 0).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_keeps_address_and_ports_that_it_leaves_out() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.43.1.1", "clusterIPs": ["10.43.1.1"], "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]}});
        let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}]}});
        carry_over(Some(&old), &mut new);
        assert_eq!(new["spec"]["clusterIP"], "10.43.1.1");
        assert_eq!(used_ports(&new), [30001]);
    }

    #[test]
    fn a_headless_service_uses_no_address() {
        let cases = [
            (json!({"clusterIP": "10.43.1.1", "clusterIPs": ["10.43.1.1"]}), vec!["10.43.1.1"]),
            (json!({"clusterIP": "10.43.1.1"}), vec!["10.43.1.1"]),
            (json!({"clusterIP": "None", "clusterIPs": ["None"]}), vec![]),
            (json!({"clusterIP": ""}), vec![]),
            (json!({"type": "ExternalName"}), vec![]),
        ];
        for (spec, expected) in cases {
            assert_eq!(used_addresses(&json!({"spec": spec})), expected);
        }
    }

    #[test]
    fn a_change_of_type_drops_what_only_the_old_type_has() {
        let old = json!({"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true, "loadBalancerClass": "x/y"}});
        // The new type, a field that the client changed, and the fields that are left.
        let cases = [
            ("LoadBalancer", None, vec!["allocateLoadBalancerNodePorts", "externalTrafficPolicy", "loadBalancerClass", "type"]),
            ("NodePort", None, vec!["externalTrafficPolicy", "type"]),
            ("ClusterIP", None, vec!["type"]),
            ("ClusterIP", Some("externalTrafficPolicy"), vec!["externalTrafficPolicy", "type"]),
        ];
        for (kind, changed, expected) in cases {
            let mut new = old.clone();
            new["spec"]["type"] = json!(kind);
            if let Some(field) = changed {
                new["spec"][field] = json!("Local");
            }
            carry_over(Some(&old), &mut new);
            let mut left: Vec<_> = new["spec"].as_object().into_iter().flatten().map(|(field, _)| field.as_str()).collect();
            left.sort_unstable();
            assert_eq!(left, expected, "{kind} {changed:?}");
        }
    }

    #[test]
    fn a_service_that_stops_being_a_node_port_loses_its_ports() {
        let mut new = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30001}]}});
        carry_over(None, &mut new);
        assert!(used_ports(&new).is_empty());
    }
}
