//! `tricorn up`.

use std::io::{BufRead, IsTerminal, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use tricorn_testbed::{Cluster, ClusterConfig, Mode, Progress, StateFile, clean, is_root};

use crate::{logging, signals};

/// Where the cluster of `up` is kept.
#[derive(clap::Args)]
pub struct DataDir {
    /// Where the cluster is kept, one folder a host
    #[arg(long, env = "TRICORN_DATA_DIR", default_value = "./tricorn-data", global = true)]
    data_dir: PathBuf,
}

impl DataDir {
    /// The cluster's state.
    pub fn file(&self) -> Result<StateFile> {
        Ok(StateFile::new(&self.data_dir)?)
    }
}

/// Starts a whole cluster on this machine. As root, each server and worker gets a host of its own: a network namespace
/// with an address on a private bridge. Without root, servers alone are started, on loopback addresses.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  tricorn up\n  tricorn up --detach --data-dir /srv/tricorn\n  tricorn up --servers 1 --workers 1 --api-port 16443"
)]
pub struct Args {
    /// How many servers hold the store and the API; an odd number
    #[arg(long, env = "TRICORN_SERVERS", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    servers: u8,
    /// How many workers run pods [default: 2, or 0 without root]
    #[arg(long, env = "TRICORN_WORKERS", value_parser = clap::value_parser!(u8).range(0..=9))]
    workers: Option<u8>,
    #[command(flatten)]
    data_dir: DataDir,
    /// Return once the cluster is up, and leave it running
    #[arg(long, short, env = "TRICORN_DETACH")]
    detach: bool,
    /// The API's port on 127.0.0.1 of this machine; 0 takes a free one
    #[arg(long, env = "TRICORN_UP_API_PORT", default_value_t = 6443)]
    api_port: u16,
    /// The network of the hosts, A.B.C.0, 24 bits; no other network of the machine sees it
    #[arg(long, env = "TRICORN_UP_SUBNET", default_value = "172.30.0.0")]
    subnet: Ipv4Addr,
    /// How long each step may take, in seconds
    #[arg(long, env = "TRICORN_UP_TIMEOUT", default_value_t = 120)]
    timeout: u64,
    /// A further flag for every server (repeatable), such as --server-arg=--node-monitor-grace-period=10
    #[arg(long, allow_hyphen_values = true)]
    server_arg: Vec<String>,
    /// A further flag for every worker (repeatable)
    #[arg(long, allow_hyphen_values = true)]
    agent_arg: Vec<String>,
    /// Tell of progress in JSON lines, for the process that detached this one
    #[arg(long, hide = true)]
    report: bool,
}

/// What a detached `up` tells the one that waits for it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Report {
    Step(String),
    Note(String),
    Failed(String),
    Ready,
}

impl Args {
    /// Starts the cluster and looks after it until a signal or `tricorn down`; with `--detach`, leaves that to a process of its own.
    pub async fn run(self) -> Result<()> {
        let begin = Instant::now();
        if self.detach && !self.report {
            let progress = shown();
            self.detached(progress.as_ref())?;
            progress.finish();
            return farewell(&self.config()?.data_dir, begin.elapsed(), &self.data_dir.file()?, true);
        }
        if self.report {
            logging::start();
            return match self.supervise(&Reporter, begin).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    say(&Report::Failed(format!("{error:#}")));
                    Err(error)
                }
            };
        }
        let progress = shown();
        self.supervise(progress.as_ref(), begin).await
    }

    fn config(&self) -> Result<ClusterConfig> {
        let binary = std::env::current_exe().context("find this program's own file")?;
        let file = self.data_dir.file()?;
        let mut config = ClusterConfig::new(file.dir(), binary);
        config.servers = self.servers;
        config.workers = self.workers.unwrap_or(if is_root() { 2 } else { 0 });
        config.subnet = self.subnet;
        config.api_port = self.api_port;
        config.deadline = Duration::from_secs(self.timeout);
        config.server_args = self.server_arg.clone();
        config.agent_args = self.agent_arg.clone();
        config.restart = true;
        if config.mode == Mode::Loopback && self.api_port != 6443 {
            bail!("--api-port needs root: without it the servers themselves listen, on port 6443 of their loopback addresses");
        }
        Ok(config)
    }

    async fn supervise(&self, progress: &dyn Shown, begin: Instant) -> Result<()> {
        let config = self.config()?;
        let shutdown = signals::shutdown()?;
        let started = tokio::select! {
            started = Box::pin(Cluster::start(config, progress.steps())) => Some(started),
            () = shutdown.cancelled() => None,
        };
        let Some(started) = started else {
            // What was half made is cleared away; the data directory's lock went with the cluster.
            clean(&self.data_dir.file()?).await?;
            bail!("interrupted: nothing of the cluster was left running");
        };
        let cluster = started?;
        progress.finish();
        if self.report {
            say(&Report::Ready);
        } else {
            farewell(cluster.dir(), begin.elapsed(), cluster.file(), false)?;
        }
        shutdown.cancelled().await;
        progress.steps().step("Taking the cluster down");
        cluster.down().await?;
        progress.finish();
        Ok(())
    }

    /// Starts this program again in a session of its own and shows what it reports until the cluster is up.
    fn detached(&self, progress: &dyn Shown) -> Result<()> {
        let config = self.config()?;
        let logs = config.data_dir.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
        let log_path = logs.join("up.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&log_path);
        let log = log.with_context(|| format!("open {}", log_path.display()))?;
        let mut command = std::process::Command::new("setsid");
        command.arg(&config.binary).args(["up", "--report", "--data-dir"]).arg(&config.data_dir);
        command.args(["--servers", &config.servers.to_string(), "--workers", &config.workers.to_string()]);
        command.args(["--api-port", &self.api_port.to_string(), "--subnet", &self.subnet.to_string()]);
        command.args(["--timeout", &self.timeout.to_string()]);
        for (flag, values) in [("--server-arg", &self.server_arg), ("--agent-arg", &self.agent_arg)] {
            command.args(values.iter().map(|value| format!("{flag}={value}")));
        }
        command.env_remove("TRICORN_DETACH").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().context("start the supervising process")?;
        let reports = child.stdout.take().context("listen to the supervising process")?;
        for line in std::io::BufReader::new(reports).lines() {
            match serde_json::from_str(&line.context("listen to the supervising process")?) {
                Ok(Report::Step(what)) => progress.steps().step(&what),
                Ok(Report::Note(what)) => progress.steps().note(&what),
                Ok(Report::Ready) => return Ok(()),
                Ok(Report::Failed(error)) => {
                    progress.abandon();
                    let _ = child.wait();
                    bail!("{error}");
                }
                Err(_) => {}
            }
        }
        progress.abandon();
        let status = child.wait().context("wait for the supervising process")?;
        bail!("the supervising process ended ({status}) before the cluster was up: see {}", log_path.display())
    }
}

/// Progress that can be brought to an end.
trait Shown: Send + Sync {
    fn steps(&self) -> &dyn Progress;
    /// The last step is done.
    fn finish(&self);
    /// The last step was not.
    fn abandon(&self);
}

fn shown() -> Box<dyn Shown> {
    if std::io::stderr().is_terminal() { Box::new(Spinner::new()) } else { Box::new(Lines) }
}

/// One line that turns while a step lasts, and stays with its time when it is done.
struct Spinner {
    bar: ProgressBar,
    current: Mutex<Option<(String, Instant)>>,
}

impl Spinner {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, current: Mutex::new(None) }
    }

    fn end(&self, mark: &str) {
        let ended = self.current.lock().ok().and_then(|mut current| current.take());
        if let Some((what, since)) = ended {
            self.bar.println(format!("{mark} {what} ({:.1} s)", since.elapsed().as_secs_f32()));
        }
    }
}

impl Progress for Spinner {
    fn step(&self, what: &str) {
        self.end("✓");
        self.bar.reset_elapsed();
        self.bar.set_message(what.to_owned());
        if let Ok(mut current) = self.current.lock() {
            *current = Some((what.to_owned(), Instant::now()));
        }
    }

    fn note(&self, what: &str) {
        self.bar.println(format!("  {what}"));
    }
}

impl Shown for Spinner {
    fn steps(&self) -> &dyn Progress {
        self
    }

    fn finish(&self) {
        self.end("✓");
        self.bar.finish_and_clear();
    }

    fn abandon(&self) {
        self.end("✗");
        self.bar.finish_and_clear();
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// One plain line a step.
struct Lines;

impl Progress for Lines {
    fn step(&self, what: &str) {
        eprintln!("{what}");
    }

    fn note(&self, what: &str) {
        eprintln!("{what}");
    }
}

impl Shown for Lines {
    fn steps(&self) -> &dyn Progress {
        self
    }

    fn finish(&self) {}

    fn abandon(&self) {}
}

/// JSON lines on standard output.
struct Reporter;

/// Writes one report; nobody may be listening any more.
fn say(report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

impl Progress for Reporter {
    fn step(&self, what: &str) {
        say(&Report::Step(what.to_owned()));
        tracing::info!("{what}");
    }

    fn note(&self, what: &str) {
        say(&Report::Note(what.to_owned()));
        tracing::info!("{what}");
    }
}

impl Shown for Reporter {
    fn steps(&self) -> &dyn Progress {
        self
    }

    fn finish(&self) {}

    fn abandon(&self) {}
}

/// What was started, and what to type next.
#[allow(clippy::print_stdout)]
fn farewell(dir: &Path, took: Duration, file: &StateFile, detached: bool) -> Result<()> {
    let state = file.read()?;
    let (servers, workers) = (state.servers().count(), state.workers().count());
    let dir = dir.display();
    println!("\nTricorn is up: servers {servers}, workers {workers}, API at {} ({:.1} s)\n", state.api, took.as_secs_f32());
    if state.mode == Mode::Loopback {
        println!("These are servers alone, on loopback: workers, and links to cut, need root (`sudo tricorn up`).\n");
    }
    println!("Next:");
    println!("  export KUBECONFIG={dir}/kubeconfig");
    println!("  kubectl get {}", if workers > 0 { "nodes" } else { "namespaces" });
    if workers > 0 {
        println!("  kubectl apply -f deploy/examples/web.yaml");
    }
    println!("  tricorn status --data-dir {dir}");
    println!("  tricorn host kill s1 --data-dir {dir}        (and see what happens)");
    if detached {
        println!("  tricorn down --data-dir {dir}");
    } else {
        println!("Ctrl-C takes the cluster down; its data stays in {dir}.");
    }
    Ok(())
}
