//! Services in, rules out: a pure function, tested by tables.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::names::{endpoint_chain, service_chain};
use crate::ruleset::Ruleset;
use crate::services::{Endpoint, ServicePort, service_ports};

/// What rules depend on besides Services.
#[derive(Clone, Debug)]
pub struct CompileConfig {
    /// This node's name: endpoints on it are local.
    pub node_name: String,
    /// This node's zone, for topology hints.
    pub zone: Option<String>,
    /// The range of all pods' addresses.
    pub cluster_cidr: String,
    /// Whether node ports answer on loopback addresses too.
    pub localhost_node_ports: bool,
}

/// The mark of packets whose source is to be rewritten.
const MASQUERADE: &str = "0x4000/0x4000";

/// The rules that make Services reachable on this node.
pub fn compile(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], config: &CompileConfig) -> Ruleset {
    let mut compiler = Compiler { rules: Ruleset::default(), config };
    compiler.fixed();
    let ports = service_ports(services, slices, &config.node_name);
    for port in &ports {
        compiler.service(port);
    }
    compiler.node_ports();
    compiler.rules
}

/// Where packets for one Service port go.
struct Targets {
    /// The chain for clients that may go anywhere, if there are endpoints.
    cluster: Option<String>,
    /// The chain for clients that must stay on this node, if it has endpoints.
    local: Option<String>,
    /// Whether there are endpoints at all, though none may be for this node.
    any: bool,
}

struct Compiler<'a> {
    rules: Ruleset,
    config: &'a CompileConfig,
}

impl Compiler<'_> {
    /// Rules that hold whatever Services there are.
    fn fixed(&mut self) {
        let cidr = &self.config.cluster_cidr;
        let nat = &mut self.rules.nat;
        for chain in ["KUBE-SERVICES", "KUBE-NODEPORTS"] {
            nat.chain(chain);
        }
        nat.rule("KUBE-MARK-MASQ", "-j MARK --or-mark 0x4000");
        nat.rule("KUBE-POSTROUTING", format!("-m mark ! --mark {MASQUERADE} -j RETURN"));
        // The mark goes away, so that a packet which passes again through an overlay is not rewritten twice.
        nat.rule("KUBE-POSTROUTING", "-j MARK --xor-mark 0x4000");
        nat.rule("KUBE-POSTROUTING", "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully");
        nat.rule("TRICORN-POSTROUTING", format!("-d {cidr} -j RETURN"));
        nat.rule("TRICORN-POSTROUTING", "-d 224.0.0.0/4 -j RETURN");
        nat.rule(
            "TRICORN-POSTROUTING",
            format!("-s {cidr} -m comment --comment \"pods leaving the cluster\" -j MASQUERADE --random-fully"),
        );
        let filter = &mut self.rules.filter;
        for chain in ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"] {
            filter.chain(chain);
        }
        filter.rule("KUBE-FORWARD", "-m conntrack --ctstate INVALID -j DROP");
        let comment = "-m comment --comment \"kubernetes forwarding rules\"";
        filter.rule("KUBE-FORWARD", format!("{comment} -m mark --mark {MASQUERADE} -j ACCEPT"));
        filter.rule("KUBE-FORWARD", format!("{comment} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"));
        filter.rule("TRICORN-FORWARD", format!("-s {cidr} -m comment --comment \"from pods\" -j ACCEPT"));
        filter.rule("TRICORN-FORWARD", format!("-d {cidr} -m comment --comment \"to pods\" -j ACCEPT"));
        filter.rule(
            "KUBE-FIREWALL",
            "! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" \
             -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        );
    }

    /// The last rule of KUBE-SERVICES: what is for this node itself may be for a node port.
    fn node_ports(&mut self) {
        let loopback = if self.config.localhost_node_ports { "" } else { "! -d 127.0.0.0/8 " };
        self.rules.nat.rule(
            "KUBE-SERVICES",
            format!(
                "{loopback}-m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this \
                 chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
            ),
        );
    }

    fn service(&mut self, port: &ServicePort) {
        let targets = self.targets(port);
        let internal = if port.internal_local { &targets.local } else { &targets.cluster };
        let address = destination(port, port.cluster_ip, port.port);
        match internal {
            Some(chain) => {
                let comment = comment(&format!("{} cluster IP", port.name));
                self.rules.nat.rule("KUBE-SERVICES", format!("{comment} {address} -j {chain}"));
                // What comes from outside the pods' network would be answered past this node, so its source changes.
                let masquerade = format!("{comment} {address} ! -s {} -j KUBE-MARK-MASQ", self.config.cluster_cidr);
                self.rules.nat.chain(chain).insert(0, masquerade);
            }
            None => self.refuse("KUBE-SERVICES", port, &address, targets.any),
        }
        if port.external() {
            self.external(port, &targets);
        }
        if let Some(check) = port.health_check_node_port {
            let comment = comment(&format!("{} health check node port", port.name));
            let rule = format!("{comment} -m tcp -p tcp --dport {check} -j ACCEPT");
            if !self.rules.filter.chain("KUBE-NODEPORTS").contains(&rule) {
                self.rules.filter.rule("KUBE-NODEPORTS", rule);
            }
        }
    }

    /// Makes the chains that spread packets over endpoints.
    fn targets(&mut self, port: &ServicePort) -> Targets {
        let anywhere = port.anywhere(&self.config.node_name, self.config.zone.as_deref());
        let here = port.here();
        let wants_local = port.internal_local || port.external_local;
        let wants_cluster = !port.internal_local || port.external();
        let used: BTreeSet<&Endpoint> =
            anywhere.iter().filter(|_| wants_cluster).chain(here.iter().filter(|_| wants_local)).copied().collect();
        for endpoint in used {
            self.endpoint(port, endpoint);
        }
        let any = !anywhere.is_empty() || !here.is_empty();
        let cluster = self.spread("KUBE-SVC-", port, &anywhere, wants_cluster);
        let local = self.spread("KUBE-SVL-", port, &here, wants_local);
        Targets { cluster, local, any }
    }

    /// The chain of one endpoint: rewrites the destination.
    fn endpoint(&mut self, port: &ServicePort, endpoint: &Endpoint) {
        let (protocol, target) = (port.protocol.as_str(), endpoint.target());
        let chain = endpoint_chain(&port.name, protocol, &target);
        let comment = comment(&port.name);
        // A pod that reaches itself through its Service would answer itself directly: its source changes.
        self.rules.nat.rule(&chain, format!("{comment} -s {} -j KUBE-MARK-MASQ", endpoint.ip));
        let remember = if port.affinity.is_some() { format!(" -m recent --name {chain} --set") } else { String::new() };
        self.rules.nat.rule(&chain, format!("{comment}{remember} -m {protocol} -p {protocol} -j DNAT --to-destination {target}"));
    }

    /// The chain that picks one of `endpoints`; none when there are none.
    fn spread(&mut self, prefix: &str, port: &ServicePort, endpoints: &[&Endpoint], wanted: bool) -> Option<String> {
        if endpoints.is_empty() || !wanted {
            return None;
        }
        let protocol = port.protocol.as_str();
        let chain = service_chain(prefix, &port.name, protocol);
        let named = |endpoint: &Endpoint| {
            let target = endpoint.target();
            (comment(&format!("{} -> {target}", port.name)), endpoint_chain(&port.name, protocol, &target))
        };
        if let Some(seconds) = port.affinity {
            for (comment, to) in endpoints.iter().map(|e| named(e)) {
                let rule = format!("{comment} -m recent --name {to} --rcheck --seconds {seconds} --reap -j {to}");
                self.rules.nat.rule(&chain, rule);
            }
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            let (comment, to) = named(endpoint);
            let left = endpoints.len() - index;
            let chance =
                if left == 1 { String::new() } else { format!(" -m statistic --mode random --probability {:.10}", 1.0 / left as f64) };
            self.rules.nat.rule(&chain, format!("{comment}{chance} -j {to}"));
        }
        Some(chain)
    }

    /// Node ports, external addresses and load balancers.
    fn external(&mut self, port: &ServicePort, targets: &Targets) {
        let chain = service_chain("KUBE-EXT-", &port.name, port.protocol.as_str());
        let policy = if port.external_local { &targets.local } else { &targets.cluster };
        if policy.is_some() || (port.external_local && targets.cluster.is_some()) {
            self.external_chain(port, &chain, targets);
        }
        let reachable = targets.cluster.is_some() || targets.local.is_some();
        let mut addresses: Vec<(&str, Ipv4Addr)> = port.external_ips.iter().map(|ip| ("external IP", *ip)).collect();
        addresses.extend(port.load_balancer_ips.iter().map(|ip| ("loadbalancer IP", *ip)));
        for (kind, ip) in addresses {
            let address = destination(port, ip, port.port);
            if reachable {
                let comment = comment(&format!("{} {kind}", port.name));
                self.rules.nat.rule("KUBE-SERVICES", format!("{comment} {address} -j {chain}"));
            }
            if policy.is_none() {
                self.refuse("KUBE-EXTERNAL-SERVICES", port, &address, targets.any);
            }
        }
        if let Some(node_port) = port.node_port {
            let protocol = port.protocol.as_str();
            if reachable {
                let rule = format!("{} -m {protocol} -p {protocol} --dport {node_port} -j {chain}", comment(&port.name));
                self.rules.nat.rule("KUBE-NODEPORTS", rule);
            }
            if policy.is_none() {
                let address = format!("-m addrtype --dst-type LOCAL -m {protocol} -p {protocol} --dport {node_port}");
                self.refuse("KUBE-EXTERNAL-SERVICES", port, &address, targets.any);
            }
        }
        if !port.source_ranges.is_empty() && !port.load_balancer_ips.is_empty() {
            self.firewall(port);
        }
    }

    /// What is done with packets from outside before they are spread.
    fn external_chain(&mut self, port: &ServicePort, chain: &str, targets: &Targets) {
        let name = &port.name;
        let nat = &mut self.rules.nat;
        if !port.external_local {
            let comment = comment(&format!("masquerade traffic for {name} external destinations"));
            nat.rule(chain, format!("{comment} -j KUBE-MARK-MASQ"));
        } else if let Some(cluster) = &targets.cluster {
            // The policy is for clients from outside: pods, and the node itself, reach every endpoint.
            let inside = comment(&format!("pod traffic for {name} external destinations"));
            nat.rule(chain, format!("{inside} -s {} -j {cluster}", self.config.cluster_cidr));
            let own = comment(&format!("masquerade LOCAL traffic for {name} external destinations"));
            nat.rule(chain, format!("{own} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ"));
            let own = comment(&format!("route LOCAL traffic for {name} external destinations"));
            nat.rule(chain, format!("{own} -m addrtype --src-type LOCAL -j {cluster}"));
        }
        let policy = if port.external_local { &targets.local } else { &targets.cluster };
        if let Some(policy) = policy {
            nat.rule(chain, format!("-j {policy}"));
        }
    }

    /// Packets that came through a load balancer from elsewhere than its source ranges are dropped.
    fn firewall(&mut self, port: &ServicePort) {
        let chain = service_chain("KUBE-FW-", &port.name, port.protocol.as_str());
        let filter = &mut self.rules.filter;
        for ip in &port.load_balancer_ips {
            let comment = comment(&format!("{} loadbalancer IP", port.name));
            let protocol = port.protocol.as_str();
            // By now the destination is an endpoint: what it was before is in the connection's record.
            let original = format!("-m conntrack --ctorigdst {ip} -m {protocol} -p {protocol} --ctorigdstport {}", port.port);
            filter.rule("KUBE-PROXY-FIREWALL", format!("{comment} {original} -j {chain}"));
        }
        let comment_ranges = comment(&format!("{} loadbalancer IP", port.name));
        for range in &port.source_ranges {
            filter.rule(&chain, format!("{comment_ranges} -s {range} -j RETURN"));
        }
        let comment_other = comment(&format!("other traffic to {} will be dropped by KUBE-PROXY-FIREWALL", port.name));
        filter.rule(&chain, format!("{comment_other} -j DROP"));
    }

    /// No endpoint at all is refused, so that clients know at once; endpoints on other nodes only is dropped, so that
    /// load balancers try another node.
    fn refuse(&mut self, chain: &str, port: &ServicePort, address: &str, any: bool) {
        let (why, verdict) = if any { ("no local endpoints", "DROP") } else { ("no endpoints", "REJECT") };
        let comment = comment(&format!("{} has {why}", port.name));
        self.rules.filter.rule(chain, format!("{comment} {address} -j {verdict}"));
    }
}

fn destination(port: &ServicePort, ip: Ipv4Addr, number: u16) -> String {
    let protocol = port.protocol.as_str();
    format!("-m {protocol} -p {protocol} -d {ip} --dport {number}")
}

/// A comment of iptables holds 255 characters; names are made of letters, digits and `-./:` only.
fn comment(text: &str) -> String {
    let text: String = text.chars().filter(|c| *c != '"' && !c.is_control()).take(255).collect();
    format!("-m comment --comment \"{text}\"")
}
