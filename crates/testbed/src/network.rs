//! The private network of a cluster: a bridge in a namespace of its own, a cable to each host.
//!
//! Nothing of it is in the machine's own network, so clusters can stand side by side on the same addresses, and
//! deleting the namespaces deletes everything: bridge, cables, addresses, filter rules.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::command::{run, run_with};
use crate::error::{Error, Result};

const BRIDGE: &str = "br0";

/// A link that is cut: one host from another, or from everyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The host.
    pub host: String,
    /// The other end; none means the whole network.
    pub peer: Option<String>,
    /// Whether only what the host sends is lost, and what it is sent still comes.
    #[serde(default)]
    pub one_way: bool,
}

impl Cut {
    /// Whether healing `host` (towards `peer`, or altogether) ends this cut.
    pub(crate) fn healed_by(&self, host: &str, peer: Option<&str>) -> bool {
        let touches = |name: &str| self.host == name || self.peer.as_deref() == Some(name);
        touches(host) && peer.is_none_or(touches)
    }
}

/// Namespaces, bridge and cables of one cluster.
#[derive(Clone, Debug)]
pub struct Network {
    id: String,
    subnet: Ipv4Addr,
}

/// Held while namespaces are made or removed: `ip netns` prepares /run/netns itself, which two at once must not do.
pub(crate) fn netns_lock() -> Result<Flock<std::fs::File>> {
    let dir = std::fs::File::open("/run").map_err(|e| Error::io("open /run", e))?;
    Flock::lock(dir, FlockArg::LockExclusive).map_err(|(_, e)| Error::io("lock /run", e.into()))
}

impl Network {
    /// The network of the cluster `id` on `subnet` (A.B.C.0, 24 bits).
    pub fn new(id: &str, subnet: Ipv4Addr) -> Self {
        Self { id: id.to_owned(), subnet }
    }

    /// The name of a host's network namespace.
    pub fn netns(&self, host: &str) -> String {
        format!("tricorn-{}-{host}", self.id)
    }

    /// Where a namespace is mounted.
    pub fn netns_path(name: &str) -> PathBuf {
        PathBuf::from("/run/netns").join(name)
    }

    /// The namespace the bridge lives in; the machine's side of the network (address .1) is there.
    pub fn hub(&self) -> String {
        self.netns("net")
    }

    /// The address with `last` as its last octet.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.subnet.octets();
        Ipv4Addr::new(a, b, c, last)
    }

    /// Makes the bridge.
    pub async fn create(&self) -> Result<()> {
        let hub = self.hub();
        let what = "make the cluster's network";
        self.add_netns(&hub).await?;
        let gateway = format!("{}/24", self.address(1));
        let script = format!(
            "link add {BRIDGE} type bridge stp_state 0 forward_delay 0\naddr add {gateway} dev {BRIDGE}\n\
             link set lo up\nlink set {BRIDGE} up\n"
        );
        run_with(what, &["ip", "-n", &hub, "-batch", "-"], Some(&script)).await?;
        Ok(())
    }

    /// Makes a host's namespace and its cable.
    pub async fn attach(&self, host: &str, address: Ipv4Addr) -> Result<()> {
        let what = format!("connect {host} to the network");
        let (hub, netns) = (self.hub(), self.netns(host));
        self.add_netns(&netns).await?;
        let cable = ["ip", "link", "add", "eth0", "netns", &netns, "type", "veth", "peer", "name", host, "netns", &hub];
        run(&what, &cable).await?;
        let script = format!("link set dev {host} master {BRIDGE}\nlink set {host} up\n");
        run_with(&what, &["ip", "-n", &hub, "-batch", "-"], Some(&script)).await?;
        let script =
            format!("link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {}\n", self.address(1));
        run_with(&what, &["ip", "-n", &netns, "-batch", "-"], Some(&script)).await?;
        Ok(())
    }

    async fn add_netns(&self, name: &str) -> Result<()> {
        let lock = tokio::task::spawn_blocking(netns_lock).await.map_err(|e| Error::io("lock /run", e.into()))??;
        let made = run("make a network namespace", &["ip", "netns", "add", name]).await;
        drop(lock);
        made.map(drop)
    }

    /// Makes the bridge drop what crosses `cuts`, and nothing else. The whole table is replaced at once.
    pub async fn apply_cuts(&self, cuts: &[Cut]) -> Result<()> {
        let mut rules = String::from("*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n");
        for Cut { host, peer, one_way } in cuts {
            let lost = match peer {
                Some(peer) => [vec![format!("FORWARD -i {host} -o {peer}")], vec![format!("FORWARD -i {peer} -o {host}")]],
                None => [
                    vec![format!("FORWARD -i {host}"), format!("INPUT -i {host}")],
                    vec![format!("FORWARD -o {host}"), format!("OUTPUT -o {host}")],
                ],
            };
            for packets in lost.iter().take(if *one_way { 1 } else { 2 }).flatten() {
                rules.push_str(&format!("-A {packets} -j DROP\n"));
            }
        }
        let net = format!("--net=/run/netns/{}", self.hub());
        run_with("cut links", &["nsenter", &net, "ebtables-restore"], Some(&rules)).await?;
        Ok(())
    }

    /// Loses `percent` of the packets on their way to `host`; 0 loses none.
    pub async fn lose(&self, host: &str, percent: u8) -> Result<()> {
        // A chain of its own is emptied and filled without touching what a proxy may have made on the host.
        let mut rules = String::from("*filter\n:TESTBED-LOSS - [0:0]\n");
        if percent > 0 {
            let probability = f64::from(percent.min(100)) / 100.0;
            rules.push_str(&format!("-A TESTBED-LOSS -i eth0 -m statistic --mode random --probability {probability} -j DROP\n"));
        }
        rules.push_str("COMMIT\n");
        let what = format!("lose packets to {host}");
        let net = format!("--net={}", Self::netns_path(&self.netns(host)).display());
        run_with(&what, &["nsenter", &net, "iptables-restore", "--noflush"], Some(&rules)).await?;
        let jump = ["nsenter", &net, "iptables", "-C", "INPUT", "-j", "TESTBED-LOSS"];
        if run(&what, &jump).await.is_err() {
            run(&what, &["nsenter", &net, "iptables", "-I", "INPUT", "-j", "TESTBED-LOSS"]).await?;
        }
        Ok(())
    }

    /// Has packets on their way to `host`, and to the pods on it, wait in its queue as long as somebody holds that (see [`crate::slow`]), or
    /// pass as ever.
    pub async fn hold(&self, host: &str, on: bool) -> Result<()> {
        let (what, number) = (format!("hold packets to {host}"), crate::queue::NUMBER.to_string());
        let net = format!("--net={}", Self::netns_path(&self.netns(host)).display());
        let rule = ["PREROUTING", "-i", "eth0", "-j", "NFQUEUE", "--queue-num", &number, "--queue-bypass"];
        let iptables = async |verb| run(&what, &[&["nsenter", &net, "iptables", "-w", "-t", "mangle", verb][..], &rule].concat()).await;
        match (on, iptables("-C").await.is_ok()) {
            (true, false) => iptables("-I").await.map(drop),
            (false, true) => iptables("-D").await.map(drop),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn healing_names_a_host_a_pair_or_either_end() {
        let pair = Cut { host: "s1".into(), peer: Some("w1".into()), one_way: false };
        assert!(pair.healed_by("s1", None) && pair.healed_by("w1", Some("s1")));
        assert!(!pair.healed_by("s2", None) && !pair.healed_by("s1", Some("s2")));
        let all = Cut { host: "s1".into(), peer: None, one_way: false };
        assert!(all.healed_by("s1", None) && !all.healed_by("s1", Some("w1")));
    }

    #[test]
    fn names_carry_the_cluster() {
        let net = Network::new("00c0ffee", Ipv4Addr::new(172, 30, 0, 0));
        assert_eq!(net.netns("s1"), "tricorn-00c0ffee-s1");
        assert_eq!(net.address(11), Ipv4Addr::new(172, 30, 0, 11));
    }
}
