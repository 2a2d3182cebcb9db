//! Starts containerd with a configuration of its own, restarts it with back-off when it ends, stops it in the end.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tricorn_proto::cri;

use crate::config::KubeletConfig;
use crate::cri::Cri;
use crate::error::{Error, Result};
use crate::images::pause;

const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MOST: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long containerd may take from its start to serving CRI.
pub const READY_LIMIT: Duration = Duration::from_secs(60);
/// The longest path that fits in a Unix socket address.
const SOCKET_PATH_LIMIT_BYTES: usize = 107;

/// A running containerd. Dropping it cancels the supervisor, which stops the process.
#[derive(Debug)]
pub struct Containerd {
    stop: CancellationToken,
    supervisor: Option<tokio::task::JoinHandle<()>>,
}

impl Containerd {
    /// Writes the configuration, starts the process and waits until it serves CRI.
    pub async fn start(config: &KubeletConfig, cri: &Cri) -> Result<Self> {
        let directory = config.containerd_dir();
        let socket = config.containerd_socket();
        if socket.as_os_str().len() + ".ttrpc".len() > SOCKET_PATH_LIMIT_BYTES {
            return Err(Error::Invalid(format!(
                "containerd socket {}: the path is too long, choose a shorter data directory",
                socket.display()
            )));
        }
        for path in [&directory, &config.cni_conf_dir()] {
            std::fs::create_dir_all(path).map_err(Error::io("create", path))?;
        }
        let file = directory.join("config.toml");
        std::fs::write(&file, configuration(config, may_lower_oom_score())).map_err(Error::io("write", &file))?;
        super::cleanup::end_stale_containerd(config);
        let child = spawn(config, &file)?;
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(supervise(config.clone(), child, stop.clone()));
        let running = Self { stop, supervisor: Some(supervisor) };
        running.ready(cri, &directory).await?;
        Ok(running)
    }

    async fn ready(&self, cri: &Cri, directory: &Path) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            match cri.version("containerd", cri::VersionRequest::default()).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(Error::Invalid(format!(
                        "containerd did not come up within {READY_LIMIT:?} (see {}): {error}",
                        directory.join("containerd.log").display()
                    )));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Stops the process and waits for its end. Containers keep running under their shims.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(supervisor) = self.supervisor.take() {
            let _ = supervisor.await;
        }
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn supervise(config: KubeletConfig, mut child: Child, stop: CancellationToken) {
    let file = config.containerd_dir().join("config.toml");
    let mut backoff = BACKOFF_FIRST;
    loop {
        let started = Instant::now();
        tokio::select! {
            () = stop.cancelled() => return terminate(child).await,
            ended = child.wait() => tracing::warn!(?ended, "containerd ended; starting it again"),
        }
        if started.elapsed() > BACKOFF_MOST {
            backoff = BACKOFF_FIRST;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(backoff) => {}
            }
            backoff = (backoff * 2).min(BACKOFF_MOST);
            match spawn(&config, &file) {
                Ok(next) => {
                    child = next;
                    break;
                }
                Err(error) => tracing::error!(%error, "start containerd"),
            }
        }
    }
}

async fn terminate(mut child: Child) {
    if let Some(pid) = child.id() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGTERM);
    }
    if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

fn spawn(config: &KubeletConfig, file: &Path) -> Result<Child> {
    let log = config.containerd_dir().join("containerd.log");
    let output = std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(Error::io("open", &log))?;
    let errors = output.try_clone().map_err(Error::io("open", &log))?;
    let mut command = std::process::Command::new(&config.containerd);
    command.arg("--config").arg(file).stdin(Stdio::null()).stdout(output).stderr(errors);
    // A process group of its own, so that a terminal's Ctrl-C reaches the agent alone.
    command.process_group(0);
    let mut command = Command::from(command);
    command.kill_on_drop(true).spawn().map_err(Error::io("start", &config.containerd))
}

/// Whether this process may lower an out-of-memory score: CAP_SYS_RESOURCE, number 24.
fn may_lower_oom_score() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 << 24 != 0)
}

/// containerd's configuration file, version 2.
pub fn configuration(config: &KubeletConfig, may_lower_oom_score: bool) -> String {
    let directory = config.containerd_dir();
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
    format!(
        r#"version = 2
root = {root}
state = {state}
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
  address = {socket}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = {restrict}
  netns_mounts_under_state_dir = true
  enable_unprivileged_icmp = true
  enable_unprivileged_ports = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {cni_bin}
    conf_dir = {cni_conf}
    max_conf_num = 1

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = {runc}
        Root = {runc_root}
        SystemdCgroup = false
"#,
        root = quoted(&directory.join("root")),
        state = quoted(&directory.join("state")),
        socket = quoted(&config.containerd_socket()),
        pause = pause::IMAGE,
        restrict = !may_lower_oom_score,
        cni_bin = quoted(&config.cni_bin_dir),
        cni_conf = quoted(&config.cni_conf_dir()),
        runc = quoted(&config.runc),
        runc_root = quoted(&directory.join("runc")),
    )
}
