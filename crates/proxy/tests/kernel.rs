//! The compiled rules in a real kernel: a network namespace as the node, others as pods and as a client outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tricorn_proxy::{Applier, CompileConfig, compile};

/// Set when this test runs itself again inside the node's namespace.
const INSIDE: &str = "TRICORN_PROXY_TEST_RULES";

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A node, two pods behind its bridge, and a client beside it. All go when it is dropped.
struct Lab {
    mark: String,
    servers: Vec<Child>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        for name in ["node", "pod1", "pod2", "out"] {
            let _ = Command::new("ip").args(["netns", "del", &self.name(name)]).status();
        }
    }
}

impl Lab {
    fn new() -> Self {
        let lab = Self { mark: format!("tricorn-test-{}", std::process::id()), servers: Vec::new() };
        let node = lab.name("node");
        for name in ["node", "pod1", "pod2", "out"] {
            sh(&format!("ip netns add {0}; ip -n {0} link set lo up", lab.name(name)));
        }
        sh(&format!("ip -n {node} link add cni0 type bridge; ip -n {node} addr add 10.42.0.1/24 dev cni0; ip -n {node} link set cni0 up"));
        for (pod, port, address) in [("pod1", "p1", "10.42.0.2"), ("pod2", "p2", "10.42.0.3")] {
            let pod = lab.name(pod);
            sh(&format!(
                "ip link add eth0 netns {pod} type veth peer name {port} netns {node}
                 ip -n {node} link set dev {port} master cni0; bridge -n {node} link set dev {port} hairpin on
                 ip -n {node} link set {port} up; ip -n {pod} addr add {address}/24 dev eth0
                 ip -n {pod} link set eth0 up; ip -n {pod} route add default via 10.42.0.1"
            ));
        }
        let out = lab.name("out");
        sh(&format!(
            "ip link add eth0 netns {out} type veth peer name eth0 netns {node}
             ip -n {node} addr add 192.0.2.1/24 dev eth0; ip -n {node} link set eth0 up
             ip -n {node} route add default via 192.0.2.2
             ip -n {out} addr add 192.0.2.2/24 dev eth0; ip -n {out} link set eth0 up
             ip -n {out} route add 10.43.0.0/16 via 192.0.2.1"
        ));
        sh(&format!(
            "nsenter --net=/run/netns/{node} sh -ec 'echo 1 > /proc/sys/net/ipv4/ip_forward
             [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables'"
        ));
        lab
    }

    fn name(&self, host: &str) -> String {
        format!("{}-{host}", self.mark)
    }

    fn command(&self, host: &str, argv: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name(host))).args(argv);
        command
    }

    /// A server in pod `host` that answers each connection with the pod's name, and echoes nothing else.
    fn serve(&mut self, host: &str) {
        let argv = ["busybox", "nc", "-ll", "-p", "8080", "-e", "echo", host];
        let child = self.command(host, &argv).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.servers.push(child);
    }

    /// What the server at `address` says to `host`; empty when there is none.
    fn ask(&self, host: &str, address: &str, port: u16) -> String {
        let argv = ["busybox", "timeout", "2", "busybox", "nc", "-w", "1", address, &port.to_string()];
        let output = self.command(host, &argv).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn ask_until(&self, host: &str, address: &str, port: u16, wanted: &[&str]) {
        let mut seen = std::collections::BTreeSet::new();
        let begin = Instant::now();
        while !wanted.iter().all(|w| seen.contains(*w)) {
            assert!(begin.elapsed() < Duration::from_secs(20), "{host} asked {address}:{port}: {seen:?}, not {wanted:?}");
            seen.insert(self.ask(host, address, port));
        }
    }

    /// Brings the rules for `endpoints` into the node's kernel, over those that are there.
    fn apply(&self, steps: &Value) {
        let test = std::env::current_exe().unwrap();
        let argv = [test.to_str().unwrap(), "--exact", "inside_the_node", "--nocapture"];
        let output = self.command("node", &argv).env(INSIDE, steps.to_string()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Not a test of its own: the part of the others that runs in the node's namespace.
#[tokio::test]
async fn inside_the_node() {
    let Ok(steps) = std::env::var(INSIDE) else { return };
    let steps: Value = serde_json::from_str(&steps).unwrap();
    let mut applier = Applier::default();
    for endpoints in steps.as_array().unwrap() {
        if endpoints == "cleanup" {
            tricorn_proxy::cleanup().await.unwrap();
            continue;
        }
        let service = json!({
            "metadata": { "namespace": "default", "name": "web" },
            "spec": { "type": "NodePort", "clusterIP": "10.43.0.5", "ports": [{ "port": 80, "nodePort": 30080 }] },
        });
        let endpoints: Vec<Value> = endpoints
            .as_array()
            .unwrap()
            .iter()
            .map(|ip| json!({ "addresses": [ip], "nodeName": "node", "conditions": { "ready": true } }))
            .collect();
        let slice = json!({
            "metadata": { "namespace": "default", "name": "web", "labels": { "kubernetes.io/service-name": "web" } },
            "addressType": "IPv4", "ports": [{ "name": "", "port": 8080, "protocol": "TCP" }], "endpoints": endpoints,
        });
        let config =
            CompileConfig { node_name: "node".into(), zone: None, cluster_cidr: "10.42.0.0/16".into(), localhost_node_ports: true };
        let (service, slice) = (serde_json::from_value(service).unwrap(), serde_json::from_value(slice).unwrap());
        let rules = compile(&[Arc::new(service)], &[Arc::new(slice)], &config);
        applier.apply(&rules).await.unwrap();
        assert!(!applier.apply(&rules).await.unwrap(), "the same rules are written once");
        applier.verify().await.unwrap();
        assert!(!applier.apply(&rules).await.unwrap(), "what is there is found to be there");
    }
}

#[test]
fn services_answer_from_pods_nodes_and_outside() {
    if !nix_root() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    if Command::new("busybox").arg("true").status().is_err() {
        eprintln!("skipped: no busybox (Debian package busybox-static)");
        return;
    }
    let mut lab = Lab::new();
    lab.serve("pod1");
    lab.serve("pod2");
    lab.apply(&json!([["10.42.0.2", "10.42.0.3"]]));
    let both = ["pod1", "pod2"];
    lab.ask_until("pod1", "10.43.0.5", 80, &both);
    lab.ask_until("node", "10.43.0.5", 80, &both);
    lab.ask_until("out", "10.43.0.5", 80, &both);
    lab.ask_until("out", "192.0.2.1", 30080, &both);
    lab.ask_until("pod2", "192.0.2.1", 30080, &both);
    // A fresh process knows nothing of the rules that are there, replaces them, and then takes one endpoint away.
    lab.apply(&json!([["10.42.0.2", "10.42.0.3"], ["10.42.0.3"]]));
    for _ in 0..10 {
        assert_eq!(lab.ask("out", "192.0.2.1", 30080), "pod2");
    }
    lab.ask_until("pod2", "10.43.0.5", 80, &["pod2"]);
    lab.apply(&json!([[]]));
    // Refused, not left waiting. Between two hosts in one kernel the first refusal may arrive while the client still holds its own
    // socket, and only the one a second later counts.
    let argv = ["busybox", "nc", "-w", "5", "192.0.2.1", "30080"];
    let output = lab.command("out", &argv).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Connection refused"), "{said}");
    lab.apply(&json!([["10.42.0.2"], "cleanup"]));
    let saved = String::from_utf8(lab.command("node", &["iptables-save"]).output().unwrap().stdout).unwrap();
    assert!(!saved.contains("KUBE-") && !saved.contains("TRICORN-"), "{saved}");
}

fn nix_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|s| s.lines().any(|l| l.starts_with("Uid:") && l.split_whitespace().nth(2) == Some("0")))
}
