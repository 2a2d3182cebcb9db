//! The store alone: members started with etcd's flags on loopback.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::command::{Ran, binary, run};
use crate::wait::until;

const SOON: Duration = Duration::from_secs(60);

/// Three members on loopback; they go when it is dropped.
pub struct Members {
    dir: TempDir,
    members: Vec<(Vec<String>, Child)>,
    endpoints: Vec<String>,
}

impl Members {
    /// Starts them; they may take a moment to agree on a leader.
    ///
    /// # Panics
    /// When there are no ports, or the program cannot be started.
    pub fn start() -> Self {
        // Held until all are known, so that none is given twice.
        let held: Vec<_> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let urls: Vec<_> = held.iter().map(|port| format!("http://{}", port.local_addr().unwrap())).collect();
        drop(held);
        let (clients, peers) = urls.split_at(3);
        let cluster = peers.iter().enumerate().map(|(n, peer)| format!("m{n}={peer}")).collect::<Vec<_>>().join(",");
        let dir = tempfile::tempdir().unwrap();
        let mut group = Self { members: Vec::new(), endpoints: clients.to_vec(), dir };
        for n in 0..3 {
            let data = group.dir.path().join(format!("m{n}")).display().to_string();
            // One dash or two, a value after a blank or after `=`: etcd takes all of it.
            let line = format!(
                "etcd -name m{n} --data-dir={data} --listen-client-urls {0} --advertise-client-urls {0} --listen-peer-urls={1} \
                 --initial-advertise-peer-urls {1} --initial-cluster {cluster} --initial-cluster-state new --initial-cluster-token t",
                clients[n], peers[n]
            );
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let child = spawn(&arguments, &group.log(n));
            group.members.push((arguments, child));
        }
        group
    }

    /// A file of the test's own.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where a member's clients reach it.
    pub fn endpoint(&self, member: usize) -> &str {
        &self.endpoints[member]
    }

    /// The flags that a member is started with; changes count from its next start on.
    pub fn flags(&mut self, member: usize) -> &mut Vec<String> {
        &mut self.members[member].0
    }

    fn log(&self, member: usize) -> PathBuf {
        self.dir.path().join(format!("m{member}.log"))
    }

    /// Takes a member away at once.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn kill(&mut self, member: usize) {
        self.members[member].1.kill().await.unwrap();
    }

    /// Starts a member that was killed.
    pub fn start_again(&mut self, member: usize) {
        self.members[member].1 = spawn(&self.members[member].0, &self.log(member));
    }

    /// Runs etcdctl against one member.
    pub async fn etcdctl(&self, member: usize, arguments: &[&str]) -> Ran {
        let endpoint = format!("--endpoints={}", self.endpoints[member]);
        let all: Vec<&str> = [&[endpoint.as_str()], arguments].concat();
        run("etcdctl", &all, &[("ETCDCTL_API", Path::new("3"))]).await
    }

    /// Waits until a member says that it is well.
    pub async fn healthy(&self, member: usize) {
        until(&format!("member {member} is healthy"), SOON, async || {
            let ran = self.etcdctl(member, &["endpoint", "health"]).await;
            let log = || std::fs::read_to_string(self.log(member)).unwrap_or_default();
            if ran.code == Some(0) { Ok(()) } else { Err(format!("{}{}", ran.err, log())) }
        })
        .await;
    }

    /// The member that leads, as all see it.
    pub async fn leader(&self) -> usize {
        until("all agree on a leader", SOON, async || {
            let mut said = Vec::new();
            for member in 0..3 {
                let ran = self.etcdctl(member, &["endpoint", "status", "-w", "json"]).await;
                let status: Value = serde_json::from_str(&ran.out).unwrap_or_default();
                said.push((status[0]["Status"]["header"]["member_id"].clone(), status[0]["Status"]["leader"].clone()));
            }
            let leader = said.iter().position(|(member, leader)| member == leader && !member.is_null());
            let agreed = said.iter().all(|(_, leader)| *leader == said[0].1);
            leader.filter(|_| agreed).ok_or_else(|| format!("{said:?}"))
        })
        .await
    }
}

/// Starts the program under test; what it says goes to `log`.
///
/// # Panics
/// When it cannot be started.
pub fn spawn(arguments: &[String], log: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    command.spawn().unwrap()
}
