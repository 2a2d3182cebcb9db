//! Forgetting UDP flows that lead to endpoints which are gone: nothing else ends them, since UDP has no end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::run;
use crate::services::{Protocol, ServicePort};

/// UDP flows to forget: conntrack's arguments, one list a command.
pub(crate) fn stale(old: &[ServicePort], new: &[ServicePort]) -> Vec<Vec<String>> {
    let udp = |ports: &[ServicePort]| -> BTreeMap<String, ServicePort> {
        ports.iter().filter(|p| p.protocol == Protocol::Udp).map(|p| (p.name.clone(), p.clone())).collect()
    };
    let (old, new) = (udp(old), udp(new));
    let mut commands = Vec::new();
    for (name, before) in &old {
        let now = new.get(name);
        let remain: BTreeSet<Ipv4Addr> = now.iter().flat_map(|p| &p.endpoints).filter(|e| e.serving).map(|e| e.ip).collect();
        let gone: BTreeSet<Ipv4Addr> = before.endpoints.iter().map(|e| e.ip).filter(|ip| !remain.contains(ip)).collect();
        for endpoint in gone {
            for address in addresses(before) {
                commands.push(words(&["--orig-dst", &address.to_string(), "--dst-nat", &endpoint.to_string()]));
            }
            if let Some(port) = before.node_port {
                commands.push(words(&["--orig-port-dst", &port.to_string(), "--dst-nat", &endpoint.to_string()]));
            }
        }
    }
    for (name, now) in &new {
        // Flows that began while there was nothing to lead to were recorded without a rewrite.
        let had = old.get(name).is_some_and(|p| p.endpoints.iter().any(|e| e.ready));
        if had || !now.endpoints.iter().any(|e| e.ready) {
            continue;
        }
        for address in addresses(now) {
            commands.push(words(&["--orig-dst", &address.to_string(), "--orig-port-dst", &now.port.to_string()]));
        }
        if let Some(port) = now.node_port {
            commands.push(words(&["--orig-port-dst", &port.to_string()]));
        }
    }
    commands
}

fn addresses(port: &ServicePort) -> impl Iterator<Item = Ipv4Addr> {
    [port.cluster_ip].into_iter().chain(port.external_ips.iter().copied()).chain(port.load_balancer_ips.iter().copied())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// Forgets them. Without the conntrack program that is said once.
pub(crate) async fn forget(commands: Vec<Vec<String>>) {
    static SAID: AtomicBool = AtomicBool::new(false);
    for command in commands {
        let mut args = vec!["-D", "-p", "udp"];
        args.extend(command.iter().map(String::as_str));
        match run("forget UDP flows", "conntrack", &args, None).await {
            Ok(_) => {}
            // There were none.
            Err(error) if error.to_string().contains("0 flow entries") => {}
            Err(error) => {
                if !SAID.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "UDP flows to endpoints that are gone stay until they time out");
                }
            }
        }
    }
}
