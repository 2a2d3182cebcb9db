//! Services and EndpointSlices in the form rules are made from: one entry for each port of each Service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Services with this label belong to another proxy.
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    fn parse(text: Option<&str>) -> Option<Self> {
        match text.unwrap_or("TCP") {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    /// Its name in small letters, as iptables takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A place that a Service port leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// Whether it takes new connections.
    pub ready: bool,
    /// Whether it answers, though it may be on its way out.
    pub serving: bool,
    /// Whether it is on its way out.
    pub terminating: bool,
    /// Whether it is on this node.
    pub local: bool,
    /// Zones whose clients it is meant for; empty when it does not say.
    pub for_zones: BTreeSet<String>,
    /// Nodes whose clients it is meant for; empty when it does not say.
    pub for_nodes: BTreeSet<String>,
}

impl Endpoint {
    /// `IP:PORT`.
    pub fn target(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }
}

/// One port of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `NAMESPACE/NAME` of the Service.
    pub service: String,
    /// `NAMESPACE/NAME:PORT`, without the colon for a port with no name.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The Service's own address.
    pub cluster_ip: Ipv4Addr,
    /// The port on that address.
    pub port: u16,
    /// The port on every node's addresses.
    pub node_port: Option<u16>,
    /// Addresses from outside that lead to the Service.
    pub external_ips: Vec<Ipv4Addr>,
    /// Addresses of load balancers that pass packets on unchanged.
    pub load_balancer_ips: Vec<Ipv4Addr>,
    /// Who may come through load balancers; empty means all.
    pub source_ranges: Vec<String>,
    /// Whether clients from outside only reach endpoints on the node they came to.
    pub external_local: bool,
    /// Whether clients inside only reach endpoints on their own node.
    pub internal_local: bool,
    /// How many seconds a client stays with its endpoint, if it does.
    pub affinity: Option<u32>,
    /// Where load balancers ask whether this node has endpoints.
    pub health_check_node_port: Option<u16>,
    /// Where it leads to, in order of address.
    pub endpoints: Vec<Endpoint>,
}

impl ServicePort {
    /// Whether it can be reached from outside the cluster.
    pub fn external(&self) -> bool {
        self.node_port.is_some() || !self.external_ips.is_empty() || !self.load_balancer_ips.is_empty()
    }

    /// The endpoints for clients that may go anywhere: those that are ready and meant for this node; with none ready,
    /// those that still serve while they end.
    pub fn anywhere(&self, node: &str, zone: Option<&str>) -> Vec<&Endpoint> {
        let ready: Vec<&Endpoint> = self.endpoints.iter().filter(|e| e.ready).collect();
        if ready.is_empty() {
            return self.endpoints.iter().filter(|e| e.serving && e.terminating).collect();
        }
        meant_for(ready, node, zone)
    }

    /// The endpoints on this node, by the same order of preference.
    pub fn here(&self) -> Vec<&Endpoint> {
        let ready: Vec<&Endpoint> = self.endpoints.iter().filter(|e| e.local && e.ready).collect();
        if !ready.is_empty() {
            return ready;
        }
        self.endpoints.iter().filter(|e| e.local && e.serving && e.terminating).collect()
    }
}

/// Keeps to topology hints only if every endpoint has them and some are for this node.
fn meant_for<'a>(ready: Vec<&'a Endpoint>, node: &str, zone: Option<&str>) -> Vec<&'a Endpoint> {
    if ready.iter().all(|e| !e.for_nodes.is_empty()) {
        let near: Vec<_> = ready.iter().copied().filter(|e| e.for_nodes.contains(node)).collect();
        if !near.is_empty() {
            return near;
        }
    }
    if let (Some(zone), true) = (zone, ready.iter().all(|e| !e.for_zones.is_empty())) {
        let near: Vec<_> = ready.iter().copied().filter(|e| e.for_zones.contains(zone)).collect();
        if !near.is_empty() {
            return near;
        }
    }
    ready
}

/// All Service ports with their endpoints as node `node` sees them, in order of name. IPv4 only.
pub fn service_ports(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], node: &str) -> Vec<ServicePort> {
    let mut of_service: BTreeMap<String, Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices.iter().filter(|s| s.address_type == "IPv4") {
        let labels = slice.metadata.labels.as_ref();
        if let (Some(namespace), Some(service)) = (&slice.metadata.namespace, labels.and_then(|l| l.get(SERVICE_NAME))) {
            of_service.entry(format!("{namespace}/{service}")).or_default().push(slice);
        }
    }
    let mut ports = Vec::new();
    for service in services {
        let (Some(namespace), Some(name)) = (&service.metadata.namespace, &service.metadata.name) else { continue };
        let key = format!("{namespace}/{name}");
        let slices = of_service.get(&key).map_or(&[][..], Vec::as_slice);
        ports.extend(ports_of(service, &key, slices, node));
    }
    ports.sort_by(|a, b| (&a.name, a.protocol).cmp(&(&b.name, b.protocol)));
    ports
}

fn ports_of(service: &Service, key: &str, slices: &[&EndpointSlice], node: &str) -> Vec<ServicePort> {
    let labels = service.metadata.labels.clone().unwrap_or_default();
    if labels.contains_key(OTHER_PROXY) || labels.contains_key(HEADLESS) {
        return Vec::new();
    }
    let Some(spec) = &service.spec else { return Vec::new() };
    let Some(cluster_ip) = cluster_ip(spec) else { return Vec::new() };
    let loaded = spec.type_.as_deref() == Some("LoadBalancer");
    let outside = loaded || spec.type_.as_deref() == Some("NodePort");
    let has_external = outside || spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let protocol = Protocol::parse(port.protocol.as_deref())?;
        let port_name = port.name.clone().unwrap_or_default();
        let name = if port_name.is_empty() { key.to_owned() } else { format!("{key}:{port_name}") };
        Some(ServicePort {
            service: key.to_owned(),
            name,
            protocol,
            cluster_ip,
            port: u16::try_from(port.port).ok()?,
            node_port: port.node_port.filter(|p| outside && *p > 0).and_then(|p| u16::try_from(p).ok()),
            external_ips: v4(spec.external_ips.iter().flatten()),
            load_balancer_ips: if loaded { load_balancer_ips(service) } else { Vec::new() },
            source_ranges: source_ranges(spec, loaded),
            external_local: has_external && spec.external_traffic_policy.as_deref() == Some("Local"),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            affinity: affinity(spec),
            health_check_node_port: spec.health_check_node_port.filter(|p| loaded && *p > 0).and_then(|p| u16::try_from(p).ok()),
            endpoints: endpoints(slices, &port_name, protocol, node),
        })
    });
    ports.collect()
}

fn cluster_ip(spec: &ServiceSpec) -> Option<Ipv4Addr> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let all = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    all.filter_map(|ip| ip.parse().ok()).next()
}

fn v4<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<Ipv4Addr> {
    texts.filter_map(|ip| ip.parse().ok()).collect()
}

fn load_balancer_ips(service: &Service) -> Vec<Ipv4Addr> {
    let status = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = status.and_then(|s| s.ingress.as_ref()).into_iter().flatten();
    let direct = ingress.filter(|i| i.ip_mode.as_deref() != Some("Proxy"));
    direct.filter_map(|i| i.ip.as_ref()?.parse().ok()).collect()
}

fn source_ranges(spec: &ServiceSpec, loaded: bool) -> Vec<String> {
    let ranges = spec.load_balancer_source_ranges.iter().flatten().filter(|_| loaded);
    // Rules are text: only what is a range of IPv4 addresses may enter them.
    let sound = |range: &str| {
        let (ip, bits) = range.split_once('/')?;
        let (ip, bits) = (ip.parse::<Ipv4Addr>().ok()?, bits.parse::<u8>().ok().filter(|b| *b <= 32)?);
        Some(format!("{ip}/{bits}"))
    };
    ranges.filter_map(|range| sound(range.trim())).collect()
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
    let seconds = config.and_then(|c| c.timeout_seconds).unwrap_or(10800);
    u32::try_from(seconds).ok()
}

fn endpoints(slices: &[&EndpointSlice], port_name: &str, protocol: Protocol, node: &str) -> Vec<Endpoint> {
    let mut found: BTreeMap<(Ipv4Addr, u16), Endpoint> = BTreeMap::new();
    for slice in slices {
        let ports =
            slice.ports.iter().flatten().filter(|port| {
                port.name.as_deref().unwrap_or("") == port_name && Protocol::parse(port.protocol.as_deref()) == Some(protocol)
            });
        for number in ports.filter_map(|port| u16::try_from(port.port?).ok()) {
            for endpoint in slice.endpoints.iter().flatten().filter_map(|e| read(e, number, node)) {
                let known = found.entry((endpoint.ip, endpoint.port)).or_insert_with(|| endpoint.clone());
                // An address may be in two slices for a moment: what says it is ready wins.
                if endpoint.ready && !known.ready {
                    *known = endpoint;
                }
            }
        }
    }
    found.into_values().collect()
}

fn read(endpoint: &SliceEndpoint, port: u16, node: &str) -> Option<Endpoint> {
    let ip = endpoint.addresses.first()?.parse().ok()?;
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let hints = endpoint.hints.clone().unwrap_or_default();
    Some(Endpoint {
        ip,
        port,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        local: endpoint.node_name.as_deref() == Some(node),
        for_zones: hints.for_zones.into_iter().flatten().map(|z| z.name).collect(),
        for_nodes: hints.for_nodes.into_iter().flatten().map(|n| n.name).collect(),
    })
}
