//! Services, endpoints, ingresses, policies.

use serde_json::Value;
use tricorn_meta::json::{get, int, list, text};

use super::cell::{Cell, Column, NONE, col, first_three, joined, labels, selector, shown, wide};

pub(super) const SERVICE: &[Column] = &[
    col("Name", Cell::Name),
    col("Type", Cell::Plain("spec.type")),
    col("Cluster-IP", Cell::Make(|o, _| cluster_ip(o))),
    col("External-IP", Cell::Make(|o, _| external_ip(o))),
    col("Port(s)", Cell::Make(|o, _| ports(o))),
    col("Age", Cell::Age),
    wide("Selector", Cell::Make(|o, _| labels(o, "spec.selector"))),
];

pub(super) const ENDPOINTS: &[Column] =
    &[col("Name", Cell::Name), col("Endpoints", Cell::Make(|o, _| endpoints(o))), col("Age", Cell::Age)];

pub(super) const SLICE: &[Column] = &[
    col("Name", Cell::Name),
    col("AddressType", Cell::Plain("addressType")),
    col("Ports", Cell::Make(|o, _| slice_ports(o))),
    col("Endpoints", Cell::Make(|o, _| slice_addresses(o))),
    col("Age", Cell::Age),
];

pub(super) const INGRESS: &[Column] = &[
    col("Name", Cell::Name),
    col("Class", Cell::Text("spec.ingressClassName")),
    col("Hosts", Cell::Make(|o, _| hosts(o))),
    col("Address", Cell::Make(|o, _| balancer(o).join(","))),
    col("Ports", Cell::Make(|o, _| if list(o, "spec.tls").is_empty() { "80" } else { "80, 443" }.to_owned())),
    col("Age", Cell::Age),
];

pub(super) const INGRESS_CLASS: &[Column] = &[
    col("Name", Cell::Name),
    col("Controller", Cell::Plain("spec.controller")),
    col("Parameters", Cell::Make(|o, _| parameters(o))),
    col("Age", Cell::Age),
];

pub(super) const POLICY: &[Column] =
    &[col("Name", Cell::Name), col("Pod-Selector", Cell::Make(|o, _| selector(o, "spec.podSelector"))), col("Age", Cell::Age)];

pub(super) const SERVICE_CIDR: &[Column] = &[
    col("Name", Cell::Name),
    col("CIDRs", Cell::Make(|o, _| list(o, "spec.cidrs").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))),
    col("Age", Cell::Age),
];

pub(super) const IP_ADDRESS: &[Column] = &[col("Name", Cell::Name), col("ParentRef", Cell::Make(|o, _| parent(o)))];

fn cluster_ip(service: &Value) -> String {
    let first = shown(service, "spec.clusterIPs.0").or_else(|| shown(service, "spec.clusterIP"));
    first.unwrap_or_else(|| NONE.to_owned())
}

fn balancer(object: &Value) -> Vec<String> {
    let ingress = list(object, "status.loadBalancer.ingress").iter();
    ingress.filter_map(|i| shown(i, "ip").or_else(|| shown(i, "hostname"))).collect()
}

fn external_ip(service: &Value) -> String {
    let external = list(service, "spec.externalIPs").iter().filter_map(|ip| ip.as_str().map(str::to_owned));
    match text(service, "spec.type") {
        "ExternalName" => text(service, "spec.externalName").to_owned(),
        "LoadBalancer" => {
            let all: Vec<String> = balancer(service).into_iter().chain(external).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        _ => joined(external),
    }
}

fn ports(service: &Value) -> String {
    joined(list(service, "spec.ports").iter().map(|port| {
        let (number, protocol) = (int(port, "port").unwrap_or(0), text(port, "protocol"));
        match int(port, "nodePort").unwrap_or(0) {
            0 => format!("{number}/{protocol}"),
            node => format!("{number}:{node}/{protocol}"),
        }
    }))
}

/// An address and a port, in brackets where the address has colons.
fn address(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(object, "subsets") {
        let addresses = list(subset, "addresses");
        let ports = list(subset, "ports");
        if ports.is_empty() {
            all.extend(addresses.iter().map(|a| text(a, "ip").to_owned()));
        }
        for port in ports {
            all.extend(addresses.iter().map(|a| address(text(a, "ip"), int(port, "port").unwrap_or(0))));
        }
    }
    first_three(&all, NONE)
}

fn slice_ports(slice: &Value) -> String {
    let ports: Vec<String> = list(slice, "ports").iter().map(|p| shown(p, "port").unwrap_or_else(|| "*".to_owned())).collect();
    first_three(&ports, "<unset>")
}

fn slice_addresses(slice: &Value) -> String {
    let all: Vec<String> =
        list(slice, "endpoints").iter().flat_map(|e| list(e, "addresses")).filter_map(|a| a.as_str().map(str::to_owned)).collect();
    first_three(&all, "<unset>")
}

fn hosts(ingress: &Value) -> String {
    let hosts: Vec<String> = list(ingress, "spec.rules").iter().filter_map(|r| shown(r, "host")).collect();
    first_three(&hosts, "*")
}

fn parameters(class: &Value) -> String {
    let Some(parameters) = get(class, "spec.parameters").filter(|p| p.is_object()) else { return NONE.to_owned() };
    let group = text(parameters, "apiGroup");
    format!("{}/{}", tricorn_meta::gvk::qualify(text(parameters, "kind"), group), text(parameters, "name"))
}

fn parent(address: &Value) -> String {
    let Some(parent) = get(address, "spec.parentRef") else { return NONE.to_owned() };
    let resource = tricorn_meta::gvk::qualify(text(parent, "resource"), text(parent, "group"));
    match text(parent, "namespace") {
        "" => format!("{resource}/{}", text(parent, "name")),
        namespace => format!("{resource}/{namespace}/{}", text(parent, "name")),
    }
}
