//! How servers and workers are started: the only place that knows their flags.
//!
//! A server leaves in its data directory `kubeconfig` (administrator), `token/server` and `token/agent` (join tokens, with the CA's
//! hash; only the first server) and `pki/`. Joiners get their token by `TRICORN_TOKEN_FILE`, never on a command line.
//! `--cluster-init` and `--join` are for an empty data directory: on one that holds a member they change nothing.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::cgroup;
use crate::cluster::ClusterConfig;
use crate::host::Role;
use crate::network::Network;
use crate::state::{HostRecord, Mode};

pub(crate) const API_PORT: u16 = 6443;

/// The hosts of a cluster as they are to be.
pub(crate) fn plan(config: &ClusterConfig, dir: &Path, id: &str, network: &Network) -> Vec<HostRecord> {
    let address = |role: Role, number: u8| match (config.mode, role) {
        (Mode::Loopback, _) => Ipv4Addr::new(127, 0, 0, number),
        (Mode::Namespaces, Role::Server) => network.address(10 + number),
        (Mode::Namespaces, Role::Worker) => network.address(20 + number),
    };
    let servers: Vec<Ipv4Addr> = (1..=config.servers).map(|n| address(Role::Server, n)).collect();
    let mut hosts = Vec::new();
    for (role, letter, count) in [(Role::Server, 's', config.servers), (Role::Worker, 'w', config.workers)] {
        for number in 1..=count {
            let (name, address) = (format!("{letter}{number}"), address(role, number));
            let argv = match role {
                Role::Server => server(config, dir, &name, address, servers.first().filter(|_| number > 1)),
                Role::Worker => agent(config, dir, &name, &servers),
            };
            let netns = match config.mode {
                Mode::Namespaces => network.netns(&name),
                Mode::Loopback => String::new(),
            };
            let env = environment(config, dir, id, &name, role, address, number > 1);
            hosts.push(HostRecord::new(&name, role, address, netns, argv, env));
        }
    }
    hosts
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn server(config: &ClusterConfig, dir: &Path, name: &str, address: Ipv4Addr, first: Option<&Ipv4Addr>) -> Vec<String> {
    let mut argv = vec![text(&config.binary), "server".into(), "--name".into(), name.into()];
    argv.extend(["--data-dir".into(), text(&dir.join(name)), "--advertise-address".into(), address.to_string()]);
    match first {
        None => argv.push("--cluster-init".into()),
        Some(first) => argv.extend(["--join".into(), format!("https://{first}:{API_PORT}")]),
    }
    argv.extend(config.server_args.iter().cloned());
    argv
}

fn agent(config: &ClusterConfig, dir: &Path, name: &str, servers: &[Ipv4Addr]) -> Vec<String> {
    let urls: Vec<String> = servers.iter().map(|s| format!("https://{s}:{API_PORT}")).collect();
    let mut argv = vec![text(&config.binary), "agent".into(), "--name".into(), name.into()];
    argv.extend(["--server".into(), urls.join(","), "--data-dir".into(), text(&dir.join(name))]);
    argv.extend(["--images-dir".into(), text(&images_dir(dir))]);
    argv.extend(config.agent_args.iter().cloned());
    argv
}

fn environment(
    config: &ClusterConfig,
    dir: &Path,
    id: &str,
    name: &str,
    role: Role,
    address: Ipv4Addr,
    joins: bool,
) -> Vec<(String, String)> {
    let mut env = config.env.clone();
    let mut set = |key: &str, value: String| env.push((key.to_owned(), value));
    if joins || role == Role::Worker {
        set("TRICORN_TOKEN_FILE", text(&token_file(dir, role)));
    }
    match role {
        // On loopback several servers share the machine, so each keeps to its own address.
        Role::Server if config.mode == Mode::Loopback => set("TRICORN_BIND_ADDRESS", address.to_string()),
        Role::Server => {}
        Role::Worker => {
            set("TRICORN_NODE_IP", address.to_string());
            set("TRICORN_CGROUP_ROOT", cgroup::host_root(id, name));
        }
    }
    env
}

/// Where the first server leaves the token for those who join as `role`.
fn token_file(dir: &Path, role: Role) -> PathBuf {
    let name = match role {
        Role::Server => "server",
        Role::Worker => "agent",
    };
    dir.join("s1").join("token").join(name)
}

/// Variables that would change what a host's process is, if `up` was called with them.
pub(crate) const NOT_INHERITED: [&str; 12] = [
    "TRICORN_NAME",
    "TRICORN_DATA_DIR",
    "TRICORN_JOIN",
    "TRICORN_CLUSTER_INIT",
    "TRICORN_TOKEN",
    "TRICORN_TOKEN_FILE",
    "TRICORN_SERVER",
    "TRICORN_ADVERTISE_ADDRESS",
    "TRICORN_BIND_ADDRESS",
    "TRICORN_API_PORT",
    "TRICORN_IMAGES_DIR",
    "TRICORN_NODE_IP",
];

/// Whether a server has been part of its cluster before.
pub(crate) fn known_server(dir: &Path, server: &str) -> bool {
    dir.join(server).join("server.json").is_file()
}

/// Where a server leaves the administrator's kubeconfig.
pub(crate) fn server_kubeconfig(dir: &Path, server: &str) -> PathBuf {
    dir.join(server).join("kubeconfig")
}

/// Archives that every worker imports when it starts.
pub(crate) fn images_dir(dir: &Path) -> PathBuf {
    dir.join("images")
}

/// The log of a host's main process.
pub(crate) fn log_file(dir: &Path, host: &HostRecord) -> PathBuf {
    let name = match host.role {
        Role::Server => "server.log",
        Role::Worker => "agent.log",
    };
    dir.join("logs").join(&host.name).join(name)
}
