//! What a machine must have before a cluster is started, asked all at once and before anything is made.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::cluster::ClusterConfig;
use crate::command::found;
use crate::error::{Error, Result};
use crate::images::busybox_path;
use crate::state::Mode;

const HOST_TOOLS: [(&str, &str, &str); 5] = [
    ("ip", "hosts are network namespaces", "iproute2"),
    ("nsenter", "programs are started in hosts with it", "util-linux"),
    ("unshare", "hosts have process and mount namespaces", "util-linux"),
    ("ebtables-restore", "links between hosts are cut with it", "iptables"),
    ("hostname", "hosts get names", "hostname"),
];

const WORKER_TOOLS: [(&str, &str, &str); 3] = [
    ("containerd", "each worker runs its containers with one of its own", "containerd"),
    ("runc", "containerd starts containers with it", "runc"),
    ("iptables-restore", "Services are iptables rules", "iptables"),
];

/// Whether this process is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Checks for root, programs and free ports.
pub fn preflight(config: &ClusterConfig) -> Result<()> {
    match config.mode {
        Mode::Namespaces => {
            if !is_root() {
                return Err(Error::NotRoot { what: "starting a cluster with workers".to_owned() });
            }
            tools(&HOST_TOOLS)?;
            if config.workers > 0 {
                tools(&WORKER_TOOLS)?;
                busybox_path()?;
            }
            if config.api_port != 0 {
                free(Ipv4Addr::LOCALHOST, config.api_port, "--api-port")?;
            }
        }
        Mode::Loopback => {
            if config.workers > 0 {
                return Err(Error::NotRoot { what: "starting workers".to_owned() });
            }
            tools(&[("setpriv", "servers end with their supervisor", "util-linux")])?;
            for server in 1..=config.servers {
                for port in [6443, 2379, 2380] {
                    free(Ipv4Addr::new(127, 0, 0, server), port, "--servers")?;
                }
            }
        }
    }
    Ok(())
}

fn tools(list: &[(&str, &str, &str)]) -> Result<()> {
    for (tool, purpose, package) in list {
        if !found(tool) {
            return Err(Error::MissingTool { tool: (*tool).to_owned(), purpose: (*purpose).to_owned(), package: (*package).to_owned() });
        }
    }
    Ok(())
}

fn free(ip: Ipv4Addr, port: u16, flag: &str) -> Result<()> {
    let address = SocketAddr::from((ip, port));
    // std sets SO_REUSEADDR, so connections that are winding down do not count as taken.
    TcpListener::bind(address).map(drop).map_err(|_| Error::PortTaken { address: address.to_string(), flag: flag.to_owned() })
}
