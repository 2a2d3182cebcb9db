//! A whole cluster: servers, workers, their network and the API's door on this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use nix::fcntl::Flock;

use crate::access::ApiAccess;
use crate::clean::clean;
use crate::control;
use crate::dial::Dialer;
use crate::error::{Error, Result};
use crate::forward::Forwarder;
use crate::host;
use crate::hosts::{Ground, Hosts};
use crate::images::build_images;
use crate::launch::{self, API_PORT};
use crate::network::Network;
use crate::preflight::{is_root, preflight};
use crate::progress::Progress;
use crate::state::{ClusterState, HostRecord, Mode, StateFile};

const POLL: Duration = Duration::from_millis(50);
const ASK: Duration = Duration::from_secs(2);

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Where everything is kept, one folder a host.
    pub data_dir: PathBuf,
    /// The `tricorn` binary that hosts run.
    pub binary: PathBuf,
    /// How many servers: 1 to 9.
    pub servers: u8,
    /// How many workers: 0 to 9.
    pub workers: u8,
    /// What hosts are.
    pub mode: Mode,
    /// The hosts' network, A.B.C.0 with 24 bits.
    pub subnet: Ipv4Addr,
    /// The API's port on 127.0.0.1 of this machine; 0 takes any free one.
    pub api_port: u16,
    /// Further flags of `tricorn server`.
    pub server_args: Vec<String>,
    /// Further flags of `tricorn agent`.
    pub agent_args: Vec<String>,
    /// Variables for all of them.
    pub env: Vec<(String, String)>,
    /// Whether a server or agent that ends on its own is started again.
    pub restart: bool,
    /// How long each step of starting may take.
    pub deadline: Duration,
}

impl ClusterConfig {
    /// Three servers and two workers in `data_dir`; as root in namespaces, else three servers on loopback.
    pub fn new(data_dir: impl Into<PathBuf>, binary: impl Into<PathBuf>) -> Self {
        let root = is_root();
        Self {
            data_dir: data_dir.into(),
            binary: binary.into(),
            servers: 3,
            workers: if root { 2 } else { 0 },
            mode: if root { Mode::Namespaces } else { Mode::Loopback },
            subnet: Ipv4Addr::new(172, 30, 0, 0),
            api_port: API_PORT,
            server_args: Vec::new(),
            agent_args: Vec::new(),
            env: Vec::new(),
            restart: false,
            deadline: Duration::from_secs(120),
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Serving,
    NodeReady,
    NodeNotReady,
}

impl Condition {
    /// Whether it cannot come true once the host's main process has ended.
    fn needs_host(self) -> bool {
        self != Self::NodeNotReady
    }
}

/// A cluster that this process holds: it ends when this is dropped, or in good order with [`Cluster::down`].
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    hosts: Hosts,
    forwarder: Option<Forwarder>,
}

impl Cluster {
    /// Starts a cluster and waits until every server is ready and every worker is Ready. If it fails, nothing of it is
    /// left but its data and logs.
    pub fn start(config: ClusterConfig, progress: &dyn Progress) -> BoxFuture<'_, Result<Self>> {
        Box::pin(Self::begin(config, progress))
    }

    async fn begin(config: ClusterConfig, progress: &dyn Progress) -> Result<Self> {
        let (file, lock) = open(&config)?;
        preflight(&config)?;
        progress.step("Clearing away what an earlier run left");
        clean(&file).await?;
        let mut cluster = match Self::prepare(config, &file, lock, progress).await {
            Ok(cluster) => cluster,
            Err(error) => {
                let _ = clean(&file).await;
                return Err(error);
            }
        };
        match cluster.bring_up(progress).await {
            Ok(()) => Ok(cluster),
            Err(error) => {
                if let Err(second) = cluster.down().await {
                    tracing::warn!(error = %second, "clean up after a failed start");
                }
                Err(error)
            }
        }
    }

    async fn prepare(mut config: ClusterConfig, file: &StateFile, lock: Flock<std::fs::File>, progress: &dyn Progress) -> Result<Self> {
        config.data_dir = file.dir().to_owned();
        config.binary = config.binary.canonicalize().map_err(|e| Error::io(format!("find {}", config.binary.display()), e))?;
        let (dir, id) = (file.dir(), file.id());
        let hosts = launch::plan(&config, dir, &id, &Network::new(&id, config.subnet));
        if config.workers > 0 {
            progress.step("Building the test images");
            let images = launch::images_dir(dir);
            tokio::task::spawn_blocking(move || build_images(&images)).await.map_err(|e| Error::io("build images", e.into()))??;
        }
        progress.step("Laying the network");
        let servers = hosts.iter().take(config.servers.into()).map(|h| h.address).collect();
        let ground = Ground { mode: config.mode, subnet: config.subnet, restart: config.restart };
        let mut forwarder = None;
        let hosts = Hosts::lay_locked(file, lock, &ground, hosts, async |dialer| {
            let api = match ground.mode {
                Mode::Namespaces => forwarder.insert(Forwarder::start(config.api_port, servers, dialer).await?).address(),
                Mode::Loopback => SocketAddr::from((Ipv4Addr::LOCALHOST, API_PORT)),
            };
            Ok(format!("https://{api}"))
        });
        let hosts = hosts.await?;
        Ok(Self { config, hosts, forwarder })
    }

    async fn bring_up(&mut self, progress: &dyn Progress) -> Result<()> {
        let state = self.file().read()?;
        let servers: Vec<HostRecord> = state.servers().cloned().collect();
        // An earlier run's members need each other for a quorum, so they start together; new ones join one by one.
        let known: Vec<_> = servers.iter().filter(|s| launch::known_server(self.dir(), &s.name)).collect();
        if !known.is_empty() {
            progress.step("Starting the servers again");
            for server in &known {
                control::start(self.file(), &server.name).await?;
            }
        }
        for server in &servers {
            progress.step(&format!("Starting server {} ({})", server.name, server.address));
            control::start(self.file(), &server.name).await?;
            self.server_ready(&server.name).await?;
        }
        self.publish()?;
        let workers: Vec<HostRecord> = state.workers().cloned().collect();
        for worker in &workers {
            progress.step(&format!("Starting worker {} ({})", worker.name, worker.address));
            control::start(self.file(), &worker.name).await?;
        }
        for worker in &workers {
            progress.step(&format!("Waiting for node {} to be Ready", worker.name));
            self.node_ready(&worker.name, true).await?;
        }
        Ok(())
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        self.file().dir()
    }

    /// The state file, for the functions of this crate that work on a cluster from outside ([`control::kill`] and others).
    pub fn file(&self) -> &StateFile {
        self.hosts.file()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir().join("kubeconfig")
    }

    /// Where the API is on this machine.
    pub fn api(&self) -> SocketAddr {
        self.forwarder.as_ref().map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, API_PORT)), Forwarder::address)
    }

    /// Opens connections from the hub of the cluster's network, as another host would.
    pub fn dialer(&self) -> &Dialer {
        self.hosts.dialer()
    }

    /// The administrator's way to each server.
    pub fn access(&self) -> Result<ApiAccess> {
        let state = self.file().read()?;
        let path = state.servers().map(|s| launch::server_kubeconfig(self.dir(), &s.name)).find(|p| p.is_file());
        let path = path.unwrap_or_else(|| launch::server_kubeconfig(self.dir(), "s1"));
        ApiAccess::new(&path, self.dialer().clone())
    }

    /// Waits until a server answers /readyz; fails at once when its process has ended.
    pub async fn server_ready(&self, name: &str) -> Result<()> {
        self.wait(name, Condition::Serving).await
    }

    /// Waits until the API shows node `name` with Ready True, or, for `ready` false, anything else.
    pub async fn node_ready(&self, name: &str, ready: bool) -> Result<()> {
        self.wait(name, if ready { Condition::NodeReady } else { Condition::NodeNotReady }).await
    }

    /// Waits until `condition` holds for host `name`, the deadline comes, or the host's main process ends on its own.
    async fn wait(&self, name: &str, condition: Condition) -> Result<()> {
        let begin = Instant::now();
        loop {
            let state = self.file().read()?;
            let host = state.host(name)?;
            if let (true, Some(status)) = (condition.needs_host(), &host.last_exit) {
                return Err(host::ended(name, status, &launch::log_file(self.dir(), host)));
            }
            let Err(problem) = self.holds(condition, &state, host).await else { return Ok(()) };
            if begin.elapsed() > self.config.deadline {
                let what = match condition {
                    Condition::Serving => format!("{name} to be ready"),
                    Condition::NodeReady => format!("node {name} to be Ready"),
                    Condition::NodeNotReady => format!("node {name} to be NotReady"),
                };
                let hint_text = format!("{problem}; see {}/logs", self.dir().display());
                return Err(Error::Timeout { what, after: self.config.deadline, hint_text });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether `condition` holds; if not, what there is instead.
    async fn holds(&self, condition: Condition, state: &ClusterState, host: &HostRecord) -> std::result::Result<(), String> {
        let access = self.access().map_err(|e| e.to_string())?;
        if condition == Condition::Serving {
            return match access.get(host.address.into(), "/readyz", ASK).await {
                Ok((200, _)) => Ok(()),
                Ok((code, body)) => {
                    let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                    Err(format!("/readyz answers {code}: {said}"))
                }
                Err(e) => Err(e.to_string()),
            };
        }
        let mut last = "no server answers".to_owned();
        for server in state.servers() {
            match access.json(server.address.into(), &format!("/api/v1/nodes/{}", host.name), ASK).await {
                Ok(node) if is_ready(&node) == (condition == Condition::NodeReady) => return Ok(()),
                Ok(node) => return Err(if is_ready(&node) { "it is Ready" } else { "it is NotReady" }.to_owned()),
                Err(e) => last = e.to_string(),
            }
        }
        Err(last)
    }

    /// Leaves kubeconfig and etcd client certificate where contracts say they are, and lets the forwarder ask /readyz.
    fn publish(&self) -> Result<()> {
        let dir = self.dir();
        let path = launch::server_kubeconfig(dir, "s1");
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(format!("read {}", path.display()), e))?;
        write_private(&self.kubeconfig(), with_server(&text, &format!("https://{}", self.api())).as_bytes())?;
        let pki = dir.join("pki");
        std::fs::create_dir_all(&pki).map_err(|e| Error::io(format!("make {}", pki.display()), e))?;
        for name in ["ca.crt", "etcd-client.crt", "etcd-client.key"] {
            let from = dir.join("s1").join("pki").join(name);
            let bytes = std::fs::read(&from).map_err(|e| Error::io(format!("read {}", from.display()), e))?;
            write_private(&pki.join(name), &bytes)?;
        }
        // Present where the store has an authority of its own.
        if let Ok(bytes) = std::fs::read(dir.join("s1").join("pki").join("etcd-ca.crt")) {
            write_private(&pki.join("etcd-ca.crt"), &bytes)?;
        }
        if let Some(forwarder) = &self.forwarder {
            forwarder.check_with(self.access()?);
        }
        Ok(())
    }

    /// Ends everything in good order: workers first, then servers, then the network. Data and logs stay.
    pub async fn down(self) -> Result<()> {
        self.hosts.down().await
    }
}

fn open(config: &ClusterConfig) -> Result<(StateFile, Flock<std::fs::File>)> {
    std::fs::create_dir_all(&config.data_dir).map_err(|e| Error::io(format!("make {}", config.data_dir.display()), e))?;
    let file = StateFile::new(&config.data_dir)?;
    let lock = file.supervise()?;
    match file.read() {
        Err(Error::NoCluster { .. }) => {}
        Err(error) => return Err(error),
        Ok(old) => same_shape(&file, &old, config)?,
    }
    Ok((file, lock))
}

/// A directory with data of a cluster of other servers or addresses is refused, untouched.
fn same_shape(file: &StateFile, old: &ClusterState, config: &ClusterConfig) -> Result<()> {
    let servers = old.servers().count();
    let data = old.servers().any(|s| launch::known_server(file.dir(), &s.name));
    if !data || (servers == usize::from(config.servers) && old.mode == config.mode && old.subnet == config.subnet) {
        return Ok(());
    }
    let problem = format!(
        "holds a cluster of {servers} servers on {} ({:?} mode): start it with the same, or choose another --data-dir",
        old.subnet, old.mode
    );
    Err(Error::DataDir { dir: file.dir().to_owned(), problem })
}

fn is_ready(node: &serde_json::Value) -> bool {
    node.pointer("/status/conditions")
        .and_then(|c| c.as_array())
        .is_some_and(|conditions| conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// The kubeconfig with every cluster's server set to `url`.
fn with_server(kubeconfig: &str, url: &str) -> String {
    let lines = kubeconfig.lines().map(|line| match line.split_once("server:") {
        Some((before, _)) if before.chars().all(|c| c == ' ' || c == '-') => format!("{before}server: {url}"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let io = |e| Error::io(format!("write {}", path.display()), e);
    let fresh = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    std::fs::rename(&fresh, path).map_err(io)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::state::FORMAT;

    #[test]
    fn the_kubeconfig_points_at_the_machines_door() {
        let text = "clusters:\n- cluster:\n    server: https://172.30.0.11:6443\n  name: tricorn\n";
        let moved = with_server(text, "https://127.0.0.1:6443");
        assert_eq!(moved, "clusters:\n- cluster:\n    server: https://127.0.0.1:6443\n  name: tricorn\n");
    }

    #[test]
    fn a_directory_of_another_shape_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::new(dir.path()).unwrap();
        let mut config = ClusterConfig::new(dir.path(), "/bin/true");
        let network = Network::new(&file.id(), config.subnet);
        let state = ClusterState {
            format: FORMAT,
            version: "0".into(),
            id: file.id(),
            mode: config.mode,
            subnet: config.subnet,
            api: String::new(),
            supervisor: None,
            hosts: launch::plan(&config, dir.path(), &file.id(), &network),
            cuts: Vec::new(),
        };
        config.servers = 1;
        assert!(same_shape(&file, &state, &config).is_ok());
        std::fs::create_dir(dir.path().join("s1")).unwrap();
        std::fs::write(dir.path().join("s1/server.json"), "").unwrap();
        assert!(same_shape(&file, &state, &config).is_err());
    }
}
