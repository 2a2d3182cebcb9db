//! A cluster for one test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use tricorn_testbed::{Cluster, ClusterConfig, Silent, StateFile, Status, exec_command, is_root, status};

use crate::command::{Ran, binary, run, run_within};
use crate::wait::until;

/// How long the cluster has for what follows by itself from what was asked.
const SOON: Duration = Duration::from_secs(60);
/// How much of each log is shown of a test that fails.
const LOG_LINES: usize = 60;

/// One cluster at a time: tests that measure how fast a cluster recovers must not share the machine with another.
static TURN: Mutex<()> = Mutex::const_new(());

/// A cluster of its own, gone when dropped.
pub struct Lab {
    /// The cluster.
    pub cluster: Cluster,
    dir: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// Starts a cluster, three servers and two workers unless `change` says otherwise. None, with the reason printed, where that is
    /// impossible.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(change: impl FnOnce(&mut ClusterConfig)) -> Option<Self> {
        if !is_root() {
            eprintln!("skipped: hosts in network namespaces need root");
            return None;
        }
        let turn = TURN.lock().await;
        // Short, for the sockets below it.
        let dir = tempfile::Builder::new().prefix("tricorn-").tempdir_in("/tmp").expect("a temporary directory");
        let mut config = ClusterConfig::new(dir.path().join("d"), binary());
        config.api_port = 0;
        change(&mut config);
        let cluster = match Cluster::start(config, &Silent).await {
            Ok(cluster) => cluster,
            Err(error) => {
                show_logs(dir.path());
                panic!("the cluster did not come up: {error}");
            }
        };
        Some(Self { cluster, dir, _turn: turn })
    }

    /// The cluster's state, for the testbed's functions.
    pub fn file(&self) -> &StateFile {
        self.cluster.file()
    }

    /// A file of the test's own.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The repository's root.
    pub fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Runs kubectl as the administrator.
    pub async fn kubectl(&self, line: &str) -> Ran {
        self.kubectl_args(&line.split_whitespace().collect::<Vec<_>>()).await
    }

    /// Runs kubectl as the administrator, with arguments that hold spaces.
    pub async fn kubectl_args(&self, arguments: &[&str]) -> Ran {
        run("kubectl", arguments, &[("KUBECONFIG", &self.cluster.kubeconfig())]).await
    }

    /// What kubectl says, once it says all of `words`: events, for one, are written a moment after what they tell of.
    pub async fn until_says(&self, line: &str, words: &[&str]) -> String {
        until(&format!("`kubectl {line}` says {words:?}"), SOON, async || {
            let ran = self.kubectl(line).await;
            let says = ran.code == Some(0) && words.iter().all(|word| ran.out.contains(word));
            if says { Ok(ran.out) } else { Err(format!("{}{}", ran.out, ran.err)) }
        })
        .await
    }

    /// Applies a manifest given as text.
    pub async fn apply(&self, manifest: &str) -> Ran {
        let path = self.scratch("manifest.yaml");
        std::fs::write(&path, manifest).expect("write the manifest");
        self.kubectl_args(&["apply", "-f", path.to_str().expect("a path")]).await
    }

    /// Runs a command on a host.
    pub async fn on(&self, host: &str, line: &str) -> Ran {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let command = exec_command(self.file(), host, &words).expect("a command on a host");
        let command = command.as_std();
        let arguments: Vec<_> = command.get_args().collect();
        run_within(Duration::from_secs(30), command.get_program(), &arguments, &[]).await
    }

    /// The cluster as `tricorn status` sees it.
    ///
    /// # Panics
    /// When it cannot be looked at.
    pub async fn status(&self) -> Status {
        status(self.file()).await.expect("the cluster's status")
    }

    /// The name of the leader, once all servers that run agree on one.
    pub async fn leader(&self) -> String {
        until("servers agree on a leader", SOON, async || {
            let status = self.status().await;
            status.leader.clone().ok_or_else(|| format!("{status:?}"))
        })
        .await
    }

    /// Waits until every server has applied what had been acknowledged before the call: some answers are of one server's own state, and
    /// nobody knows which server the next request goes to.
    pub async fn caught_up(&self) {
        let mut wanted = None;
        until("all servers have caught up", SOON, async || {
            let status = self.status().await;
            let applied = || status.hosts.iter().filter_map(|host| host.applied);
            // All of them answer then, the leader too, which has applied whatever was acknowledged.
            if status.healthy && applied().min() >= *wanted.get_or_insert(applied().max()) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }

    /// A kube-rs client of the administrator's.
    ///
    /// # Panics
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> kube::Client {
        let config = kube::config::Kubeconfig::read_from(self.cluster.kubeconfig()).expect("the kubeconfig");
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options).await.expect("a client's configuration");
        kube::Client::try_from(config).expect("a client")
    }

    /// Ends the cluster in good order.
    ///
    /// # Panics
    /// When that fails.
    pub async fn down(self) {
        let Self { cluster, dir, _turn } = self;
        cluster.down().await.expect("take the cluster down");
        drop(dir);
    }
}

/// Shows what a cluster looked like when the test that holds this fails: its objects if it still answers, and its logs.
struct Guard<'a> {
    dir: &'a Path,
    kubeconfig: PathBuf,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_objects();
            show_logs(self.dir);
        }
    }
}

impl Guard<'_> {
    fn show_objects(&self) {
        for line in ["get nodes,deployments,replicasets,pods -A -o wide", "describe nodes", "describe pods -A", "get events -A"] {
            let mut kubectl = std::process::Command::new("kubectl");
            kubectl.arg("--request-timeout=5s").args(line.split(' ')).env("KUBECONFIG", &self.kubeconfig);
            eprintln!("--- kubectl {line}");
            match kubectl.output() {
                Ok(output) => eprintln!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
                Err(error) => eprintln!("{error}"),
            }
        }
    }
}

impl Lab {
    /// To be held by a test: shows the cluster's objects and logs if the test fails.
    pub fn watch_over(&self) -> impl Drop + '_ {
        Guard { dir: self.dir.path(), kubeconfig: self.cluster.kubeconfig() }
    }
}

fn show_logs(dir: &Path) {
    for host in std::fs::read_dir(dir.join("d/logs")).into_iter().flatten().flatten() {
        for log in std::fs::read_dir(host.path()).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(log.path()).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            eprintln!("--- the end of {}", log.path().display());
            for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES)) {
                eprintln!("{line}");
            }
        }
    }
}
