//! Hosts on a private network, each with one main process, whatever that is.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::Flock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clean::clean;
use crate::control;
use crate::dial::Dialer;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::process::ProcessId;
use crate::state::{ClusterState, FORMAT, HostRecord, Mode, StateFile};

const STOP_GRACE: Duration = Duration::from_secs(15);

/// Hosts that this process holds: they end when this is dropped, or in good order with [`Hosts::down`].
#[derive(Debug)]
pub struct Hosts {
    file: StateFile,
    dialer: Dialer,
    supervisor: Option<JoinHandle<()>>,
    stop: CancellationToken,
    _lock: Flock<std::fs::File>,
}

/// What hosts have in common.
#[derive(Clone, Debug)]
pub struct Ground {
    /// What hosts are.
    pub mode: Mode,
    /// Their network, A.B.C.0 with 24 bits.
    pub subnet: Ipv4Addr,
    /// Whether a main process that ends on its own is started again.
    pub restart: bool,
}

impl Hosts {
    /// Lays a network for `hosts` (see [`HostRecord::new`]) in the data directory `dir`; all are off until [`control::start`]. What an
    /// earlier run left there on the machine is cleared away first.
    pub async fn lay(dir: &Path, ground: Ground, hosts: impl FnOnce(&Network) -> Vec<HostRecord>) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(format!("make {}", dir.display()), e))?;
        let file = StateFile::new(dir)?;
        let lock = file.supervise()?;
        clean(&file).await?;
        let hosts = hosts(&Network::new(&file.id(), ground.subnet));
        let laid = Self::lay_locked(&file, lock, &ground, hosts, |_| async { Ok(String::new()) }).await;
        if laid.is_err() {
            let _ = clean(&file).await;
        }
        laid
    }

    /// As [`Hosts::lay`], of one who has locked and cleared the directory. `door` opens what else leads to the hosts, and says where it is.
    pub(crate) async fn lay_locked<D: Future<Output = Result<String>>>(
        file: &StateFile,
        lock: Flock<std::fs::File>,
        ground: &Ground,
        hosts: Vec<HostRecord>,
        door: impl FnOnce(Dialer) -> D,
    ) -> Result<Self> {
        let dir = file.dir();
        for host in &hosts {
            for folder in [dir.join("logs").join(&host.name), dir.join(&host.name)] {
                std::fs::create_dir_all(&folder).map_err(|e| Error::io(format!("make {}", folder.display()), e))?;
            }
        }
        let id = file.id();
        let network = Network::new(&id, ground.subnet);
        let hub = match ground.mode {
            Mode::Namespaces => {
                network.create().await?;
                for host in &hosts {
                    network.attach(&host.name, host.address).await?;
                }
                Some(Network::netns_path(&network.hub()))
            }
            Mode::Loopback => None,
        };
        let dialer = Dialer::start(hub)?;
        file.write(&ClusterState {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            id,
            mode: ground.mode,
            subnet: ground.subnet,
            api: door(dialer.clone()).await?,
            supervisor: ProcessId::of(std::process::id() as i32),
            hosts,
            cuts: Vec::new(),
        })?;
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(crate::supervisor::Supervisor::new(file.clone(), ground.restart).run(stop.clone()));
        Ok(Self { file: file.clone(), dialer, supervisor: Some(supervisor), stop, _lock: lock })
    }

    /// The state file, for the functions of this crate that work on hosts from outside ([`control::kill`] and others).
    pub fn file(&self) -> &StateFile {
        &self.file
    }

    /// Opens connections from the hub of the network, as another host would.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Ends everything in good order: workers first, then servers, then the network. Data and logs stay.
    pub async fn down(mut self) -> Result<()> {
        let state = self.file.read()?;
        for group in [state.workers().collect::<Vec<_>>(), state.servers().collect()] {
            let mut stops = tokio::task::JoinSet::new();
            for host in group {
                let (file, name) = (self.file.clone(), host.name.clone());
                stops.spawn(async move { control::stop(&file, &name, STOP_GRACE).await });
            }
            while let Some(stopped) = stops.join_next().await {
                stopped.map_err(|e| Error::io("stop a host", e.into()))??;
            }
        }
        self.stop.cancel();
        if let Some(task) = self.supervisor.take() {
            let _ = task.await;
        }
        clean(&self.file).await
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.supervisor.take() {
            // The task owns the hosts: without it their first processes read the end of their input and go.
            task.abort();
            let file = self.file.clone();
            // A test that fails drops its hosts: what it made must go all the same, and nobody is there to wait.
            let worker = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime.map(|runtime| runtime.block_on(clean(&file))) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "clean up dropped hosts"),
                    Err(error) => tracing::warn!(%error, "clean up dropped hosts"),
                }
            });
            let _ = worker.join();
        }
    }
}
