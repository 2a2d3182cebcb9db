//! A cluster on loopback of anything that takes etcd's flags.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
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
    program: PathBuf,
    members: Vec<Member>,
}

struct Member {
    endpoint: String,
    arguments: Vec<OsString>,
    process: Child,
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
        let mut started = Self { program: program.to_owned(), members: Vec::new() };
        for (n, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let mut arguments: Vec<OsString> = verb.iter().map(OsString::from).collect();
            let name = format!("m{n}");
            let words = [
                ["--name", &name],
                ["--log-level", "error"],
                ["--listen-client-urls", client],
                ["--advertise-client-urls", client],
                ["--listen-peer-urls", peer],
                ["--initial-advertise-peer-urls", peer],
                ["--initial-cluster", &cluster],
                ["--initial-cluster-state", "new"],
                ["--quota-backend-bytes", "8589934592"],
            ];
            arguments.extend(words.iter().flatten().map(OsString::from));
            arguments.extend(["--data-dir".into(), dir.join(&name).into_os_string()]);
            let process = spawn(program, &arguments)?;
            started.members.push(Member { endpoint: client.clone(), arguments, process });
        }
        started.ready().await?;
        Ok(started)
    }

    /// How many members it has.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The number of the member that leads.
    pub async fn leader(&self) -> Result<usize> {
        for (n, channel) in self.target().connect(self.size()).await?.into_iter().enumerate() {
            let status = MaintenanceClient::new(channel).status(StatusRequest {}).await.context("ask a member who leads")?.into_inner();
            if status.header.is_some_and(|header| header.member_id == status.leader) {
                return Ok(n);
            }
        }
        bail!("no member leads")
    }

    /// Ends a member at once, as a crash would.
    pub fn kill(&mut self, n: usize) -> Result<()> {
        let member = self.members.get_mut(n).with_context(|| format!("there is no member {n}"))?;
        member.process.kill().context("kill a member")?;
        member.process.wait().context("wait for a killed member")?;
        Ok(())
    }

    /// Starts a member that was killed, on what it has.
    pub fn restart(&mut self, n: usize) -> Result<()> {
        let member = self.members.get_mut(n).with_context(|| format!("there is no member {n}"))?;
        member.process = spawn(&self.program, &member.arguments)?;
        Ok(())
    }

    /// The members but one.
    pub fn without(&self, n: usize) -> Target {
        let left = self.members.iter().enumerate().filter(|(number, _)| *number != n).map(|(_, member)| member);
        let (endpoints, pids) = left.map(|member| (member.endpoint.clone(), member.process.id())).unzip();
        Target::plain(endpoints, pids)
    }

    /// Where it is, and which processes it is.
    pub fn target(&self) -> Target {
        let of = |member: &Member| (member.endpoint.clone(), member.process.id());
        let (endpoints, pids) = self.members.iter().map(of).unzip();
        Target::plain(endpoints, pids)
    }

    /// Waits until all members know the same leader.
    pub async fn ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            if self.led().await {
                return Ok(());
            }
            for member in &mut self.members {
                if let Some(status) = member.process.try_wait().context("look after the members")? {
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
        let Ok(channels) = self.target().connect(self.size()).await else { return false };
        let mut known = None;
        for channel in channels {
            let status = MaintenanceClient::new(channel).status(StatusRequest {}).await;
            let leader = status.map_or(0, |status| status.into_inner().leader);
            if leader == 0 || *known.get_or_insert(leader) != leader {
                return false;
            }
        }
        true
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.process.kill();
            let _ = member.process.wait();
        }
    }
}

fn spawn(program: &Path, arguments: &[OsString]) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("start {}", program.display()))
}
