//! What is known about a cluster from outside, kept as one JSON file, so that `tricorn host`, `status` and `down` work
//! from other processes than the one that supervises it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::Role;
use crate::network::Cut;
use crate::process::ProcessId;
use crate::slow::Delay;

/// The format of the state file that this version reads and writes.
pub(crate) const FORMAT: u32 = 1;

/// What the hosts of a cluster are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Network namespaces on a private bridge (needs root).
    Namespaces,
    /// Servers alone, on loopback addresses.
    Loopback,
}

/// What the supervisor is to make of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// Powered on, its main process running.
    On,
    /// Powered off.
    Off,
}

/// One host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its name: s1, s2, w1, …
    pub name: String,
    /// What it is in the cluster.
    pub role: Role,
    /// Its address.
    pub address: Ipv4Addr,
    /// The name of its network namespace; empty in loopback mode.
    pub netns: String,
    /// The command line of its main process.
    pub argv: Vec<String>,
    /// Variables of its main process (never secrets: those go by file).
    pub env: Vec<(String, String)>,
    /// What the supervisor is to make of it.
    pub desired: Desired,
    /// How many times it was asked to power on.
    pub wanted_boot: u64,
    /// How many times it has been powered on.
    pub boot: u64,
    /// Whether its processes are stopped in their tracks.
    pub paused: bool,
    /// Its first process; everything on the host goes when it goes.
    pub init: Option<ProcessId>,
    /// Its main process: `tricorn server` or `tricorn agent`.
    pub main: Option<ProcessId>,
    /// How the main process ended last, if it did on its own.
    pub last_exit: Option<String>,
    /// How much later packets are to come to the host.
    #[serde(default)]
    pub delay: Delay,
    /// How much later they come.
    #[serde(default)]
    pub delay_in_force: Delay,
}

impl HostRecord {
    /// A host that is off, and was never on.
    pub fn new(name: &str, role: Role, address: Ipv4Addr, netns: String, argv: Vec<String>, env: Vec<(String, String)>) -> Self {
        Self {
            name: name.to_owned(),
            role,
            address,
            netns,
            argv,
            env,
            desired: Desired::Off,
            wanted_boot: 0,
            boot: 0,
            paused: false,
            init: None,
            main: None,
            last_exit: None,
            delay: Delay::default(),
            delay_in_force: Delay::default(),
        }
    }

    /// One word for what the host is doing: running, paused, failed, starting or off.
    pub fn state(&self) -> &'static str {
        let main = self.main.is_some_and(|p| p.alive());
        match (self.desired, main, self.paused) {
            (_, true, true) => "paused",
            (_, true, false) => "running",
            (Desired::Off, false, _) => "off",
            (Desired::On, false, _) if self.last_exit.is_some() => "failed",
            (Desired::On, false, _) => "starting",
        }
    }
}

/// Everything that is known about a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterState {
    /// The format of this file.
    pub format: u32,
    /// The version of Tricorn that wrote it.
    pub version: String,
    /// What marks everything this cluster makes on the machine (namespaces, cgroups).
    pub id: String,
    /// What its hosts are.
    pub mode: Mode,
    /// The first three octets of the hosts' network, as `A.B.C.0`.
    pub subnet: Ipv4Addr,
    /// Where the API can be reached on the machine.
    pub api: String,
    /// The process that supervises it.
    pub supervisor: Option<ProcessId>,
    /// Its hosts.
    pub hosts: Vec<HostRecord>,
    /// The links that are cut.
    pub cuts: Vec<Cut>,
}

impl ClusterState {
    /// The host called `name`.
    pub fn host(&self, name: &str) -> Result<&HostRecord> {
        self.hosts.iter().find(|h| h.name == name).ok_or_else(|| self.no_host(name))
    }

    pub(crate) fn host_mut(&mut self, name: &str) -> Result<&mut HostRecord> {
        let missing = self.no_host(name);
        self.hosts.iter_mut().find(|h| h.name == name).ok_or(missing)
    }

    fn no_host(&self, name: &str) -> Error {
        let known = self.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>().join(", ");
        Error::NoHost { name: name.to_owned(), known }
    }

    /// The hosts that are servers.
    pub fn servers(&self) -> impl Iterator<Item = &HostRecord> {
        self.hosts.iter().filter(|h| h.role == Role::Server)
    }

    /// The hosts that are workers.
    pub fn workers(&self) -> impl Iterator<Item = &HostRecord> {
        self.hosts.iter().filter(|h| h.role == Role::Worker)
    }
}

/// The state file of a data directory: read it, change it, one writer at a time.
#[derive(Clone, Debug)]
pub struct StateFile {
    dir: PathBuf,
}

impl StateFile {
    /// The state file of the data directory `dir` (made absolute).
    pub fn new(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir).map_err(|e| Error::io(format!("find {}", dir.display()), e))?;
        let dir = dir.canonicalize().unwrap_or(dir);
        Ok(Self { dir })
    }

    /// The data directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self) -> PathBuf {
        self.dir.join("cluster.json")
    }

    /// What marks everything that this directory's cluster makes on the machine: eight hexadecimal digits of its path.
    pub fn id(&self) -> String {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(self.dir.as_os_str().as_encoded_bytes());
        digest.iter().take(4).map(|b| format!("{b:02x}")).collect()
    }

    /// Reads the state.
    pub fn read(&self) -> Result<ClusterState> {
        match std::fs::read(self.path()) {
            Ok(bytes) => self.parse(&bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::NoCluster { dir: self.dir.clone() }),
            Err(e) => Err(Error::io(format!("read {}", self.path().display()), e)),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<ClusterState> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
            version: String,
        }
        let bad = |problem: String| Error::DataDir { dir: self.dir.clone(), problem };
        let header: Header = serde_json::from_slice(bytes).map_err(|e| bad(format!("cluster.json is not Tricorn's: {e}")))?;
        if header.format != FORMAT {
            return Err(bad(format!(
                "was made by Tricorn {} (format {}; this is {}, format {FORMAT}): use that version, or another --data-dir",
                header.version,
                header.format,
                env!("CARGO_PKG_VERSION")
            )));
        }
        serde_json::from_slice(bytes).map_err(|e| bad(format!("cluster.json cannot be read: {e}")))
    }

    /// Writes a fresh state.
    pub fn write(&self, state: &ClusterState) -> Result<()> {
        let _lock = self.lock()?;
        self.replace(state)
    }

    /// Changes the state under its lock; what `change` returns.
    pub fn update<T>(&self, change: impl FnOnce(&mut ClusterState) -> Result<T>) -> Result<T> {
        let _lock = self.lock()?;
        let mut state = self.read()?;
        let value = change(&mut state)?;
        self.replace(&state)?;
        Ok(value)
    }

    fn replace(&self, state: &ClusterState) -> Result<()> {
        let io = |e| Error::io(format!("write {}", self.path().display()), e);
        let text = serde_json::to_vec_pretty(state).map_err(|e| io(e.into()))?;
        let fresh = self.dir.join(".cluster.json.new");
        std::fs::write(&fresh, text).map_err(io)?;
        std::fs::rename(&fresh, self.path()).map_err(io)
    }

    /// Held for the moment of one change.
    fn lock(&self) -> Result<Flock<File>> {
        if !self.dir.is_dir() {
            return Err(Error::NoCluster { dir: self.dir.clone() });
        }
        let file = open_lock(&self.dir.join(".state.lock"))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| Error::io("lock the cluster's state", e.into()))
    }

    /// Held by the supervisor for as long as it lives. A second one gets [`Error::AlreadyRunning`].
    pub fn supervise(&self) -> Result<Flock<File>> {
        let path = self.dir.join(".lock");
        match Flock::lock(open_lock(&path)?, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                let write = lock
                    .set_len(0)
                    .and_then(|()| lock.seek(SeekFrom::Start(0)))
                    .and_then(|_| lock.write_all(std::process::id().to_string().as_bytes()));
                write.map_err(|e| Error::io(format!("write {}", path.display()), e))?;
                Ok(lock)
            }
            Err((mut file, _)) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                Err(Error::AlreadyRunning { dir: self.dir.clone(), pid: text.trim().parse().ok() })
            }
        }
    }

    /// The supervisor that looks after the cluster now, if any.
    pub fn supervisor(&self) -> Option<ProcessId> {
        self.read().ok()?.supervisor.filter(ProcessId::alive)
    }
}

fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::io(format!("open {}", path.display()), e))
}
