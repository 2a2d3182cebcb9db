//! A cluster on loopback of anything that takes etcd's flags.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tricorn_proto::etcdserverpb::StatusRequest;
use tricorn_proto::etcdserverpb::maintenance_client::MaintenanceClient;

use crate::connect::Target;

/// How long the members may take to agree on a leader.
const READY: Duration = Duration::from_secs(30);

/// Members of a cluster, ended when dropped. Their data stays in the directory they were given.
pub struct EtcdCluster {
    members: Vec<Child>,
    endpoints: Vec<String>,
}

impl EtcdCluster {
    /// Starts `count` members that keep their data under `dir`, and waits until they have a leader. `verb` comes before etcd's flags:
    /// nothing for etcd itself.
    pub async fn start(program: &Path, verb: &[&str], dir: &Path, count: usize) -> Result<Self> {
        let mut ports = Vec::new();
        // All are held until all are known, so that no port is given twice.
        for _ in 0..count * 2 {
            ports.push(TcpListener::bind("127.0.0.1:0").context("find a free port")?);
        }
        let urls: Vec<String> = ports
            .iter()
            .map(|listener| listener.local_addr().map(|address| format!("http://{address}")))
            .collect::<std::io::Result<_>>()
            .context("find a free port")?;
        drop(ports);
        let (clients, peers) = urls.split_at(count);
        let cluster = peers.iter().enumerate().map(|(n, url)| format!("m{n}={url}")).collect::<Vec<_>>().join(",");
        let mut started = Self { members: Vec::new(), endpoints: clients.to_vec() };
        for (n, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let child = Command::new(program)
                .args(verb)
                .args(["--name", &format!("m{n}"), "--log-level", "error", "--data-dir"])
                .arg(dir.join(format!("m{n}")))
                .args(["--listen-client-urls", client, "--advertise-client-urls", client])
                .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
                .args(["--initial-cluster", &cluster, "--initial-cluster-state", "new", "--quota-backend-bytes", "8589934592"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .with_context(|| format!("start {}", program.display()))?;
            started.members.push(child);
        }
        started.ready().await?;
        Ok(started)
    }

    /// Where it is, and which processes it is.
    pub fn target(&self) -> Target {
        Target::plain(self.endpoints.clone(), self.members.iter().map(Child::id).collect())
    }

    async fn ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            if self.led().await {
                return Ok(());
            }
            for member in &mut self.members {
                if let Some(status) = member.try_wait().context("look after the members")? {
                    bail!("a member ended while starting: {status}");
                }
            }
            if begun.elapsed() > READY {
                bail!("the members have no leader after {READY:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn led(&self) -> bool {
        let Ok(channels) = self.target().connect(self.endpoints.len()).await else { return false };
        for channel in channels {
            let status = MaintenanceClient::new(channel).status(StatusRequest {}).await;
            if status.map_or(0, |status| status.into_inner().leader) == 0 {
                return false;
            }
        }
        true
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}
