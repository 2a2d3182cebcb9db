//! A host: power on, start its main process, pause, take it away.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};

use crate::error::{Error, Result};
use crate::process::{self, ProcessId};
use crate::state::HostRecord;

/// What a host is in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the store, the API, scheduler and controllers.
    Server,
    /// Runs pods.
    Worker,
}

/// The first process of a host: gives the host its own /proc, an empty /run (as after a boot), places of its own for what
/// CNI and kubelets keep outside their data directory, and its name; then reaps orphans until its standard input
/// ends, which it does when whoever holds the host dies.
const INIT: &str = r#"set -e
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs -o mode=755,size=256m tmpfs /run
mkdir -p /run/lock /run/netns
hostname "$1"
for place in /var/lib/cni /var/log/pods /var/log/containers; do
  mkdir -p "$2$place" "$place"
  mount --bind "$2$place" "$place"
done
echo ready
exec env --ignore-signal=CHLD cat >/dev/null"#;

/// What a line of a host's log begins with that says how its main process ended when nobody had asked it to.
pub const ENDED: &str = "testbed: the main process has ended";

const BOOT_DEADLINE: Duration = Duration::from_secs(20);
const END_DEADLINE: Duration = Duration::from_secs(30);

/// A host that is on, held by this process: dropping it takes the host away.
#[derive(Debug)]
pub struct Host {
    name: String,
    namespaces: bool,
    init: Option<(Child, ProcessId)>,
    main: Option<(Child, ProcessId)>,
}

impl Host {
    /// Powers on the host of `record`: in network namespace `record.netns`, or, with none, as plain processes.
    /// `private` is a directory for what the host keeps to itself.
    pub async fn power_on(record: &HostRecord, private: &Path) -> Result<Self> {
        let mut host = Self { name: record.name.clone(), namespaces: !record.netns.is_empty(), init: None, main: None };
        if host.namespaces {
            host.init = Some(start_init(record, private).await?);
        }
        Ok(host)
    }

    /// The first process, if the host has namespaces.
    pub fn init(&self) -> Option<ProcessId> {
        self.init.as_ref().map(|(_, id)| *id)
    }

    /// The main process, while it is known.
    pub fn main(&self) -> Option<ProcessId> {
        self.main.as_ref().map(|(_, id)| *id)
    }

    /// Starts the main process, its output appended to `log`.
    pub async fn start_main(&mut self, argv: &[String], env: &[(String, String)], log: &Path) -> Result<ProcessId> {
        let what = || format!("start {} on {}", argv.get(1).map_or("nothing", String::as_str), self.name);
        let file = open_log(log)?;
        let errors = file.try_clone().map_err(|e| Error::io(what(), e))?;
        let mut command = match self.init() {
            Some(init) => enter(init, argv),
            None => {
                // Without namespaces nothing ends the process when its holder dies, so the kernel is asked to.
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]).args(argv);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0).kill_on_drop(true);
        for name in crate::launch::NOT_INHERITED {
            command.env_remove(name);
        }
        command.envs(env.iter().map(|(k, v)| (k, v)));
        let mut child = command.spawn().map_err(|e| Error::io(what(), e))?;
        let outer = child.id().map_or(0, |id| id as i32);
        let begin = Instant::now();
        let id = loop {
            // nsenter stays outside and waits; what it started is the process meant.
            let found = if self.namespaces { process::child_of(outer) } else { ProcessId::of(outer) };
            if let Some(id) = found {
                break id;
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(ended(&self.name, &status.to_string(), log));
            }
            if begin.elapsed() > BOOT_DEADLINE {
                return Err(Error::Timeout { what: what(), after: BOOT_DEADLINE, hint_text: String::new() });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        self.main = Some((child, id));
        Ok(id)
    }

    /// How the main process ended, if it did since the last call.
    pub fn main_ended(&mut self) -> Option<String> {
        let (child, id) = self.main.as_mut()?;
        let status = match child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            // nsenter passes the status on, unless it was stopped with the host and is still so.
            Ok(None) if process::stopped(child.id()?) && !id.alive() => "killed".to_owned(),
            _ => return None,
        };
        self.main = None;
        Some(status)
    }

    /// Whether the first process has ended; always false without namespaces.
    pub fn init_ended(&mut self) -> bool {
        self.init.as_mut().is_some_and(|(child, id)| child.try_wait().is_ok_and(|s| s.is_some()) || !id.alive())
    }

    /// Takes the host away and collects its processes.
    pub async fn power_off(mut self) -> Result<()> {
        let what = format!("power off {}", self.name);
        if let Some((mut child, id)) = self.init.take() {
            id.signal(Signal::SIGKILL);
            let _ = tokio::time::timeout(END_DEADLINE, child.wait()).await;
            id.gone(&what, END_DEADLINE).await?;
        }
        if let Some((mut child, id)) = self.main.take() {
            id.signal(Signal::SIGKILL);
            // nsenter stops when what it started is stopped, and would not notice its end.
            let _ = child.start_kill();
            let _ = tokio::time::timeout(END_DEADLINE, child.wait()).await;
        }
        Ok(())
    }
}

fn open_log(log: &Path) -> Result<std::fs::File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(log).map_err(|e| Error::io(format!("open {}", log.display()), e))
}

/// Notes in a host's log that its main process has ended by itself, for whoever reads it later: a signal leaves no words.
pub(crate) fn log_end(log: &Path, status: &str) {
    use std::io::Write;
    let note = |mut file: std::fs::File| writeln!(file, "{ENDED}: {status}").map_err(|e| Error::io(format!("write {}", log.display()), e));
    if let Err(error) = open_log(log).and_then(note) {
        tracing::warn!(%error, "note the end of a process");
    }
}

async fn start_init(record: &HostRecord, private: &Path) -> Result<(Child, ProcessId)> {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let what = format!("power on {}", record.name);
    let net = format!("--net=/run/netns/{}", record.netns);
    let mut command = Command::new("nsenter");
    command.args([&net, "unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--", "/bin/sh", "-c", INIT]);
    command.args(["init", &record.name]).arg(private);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| Error::io(what.clone(), e))?;
    let mut line = String::new();
    let out = child.stdout.take().map(BufReader::new);
    let read = async {
        match out {
            Some(mut out) => out.read_line(&mut line).await.map(drop),
            None => Ok(()),
        }
    };
    let late = |_| Error::Timeout { what: what.clone(), after: BOOT_DEADLINE, hint_text: String::new() };
    tokio::time::timeout(BOOT_DEADLINE, read).await.map_err(late)?.map_err(|e| Error::io(what.clone(), e))?;
    let init = child.id().and_then(|id| process::child_of(id as i32));
    match init {
        Some(init) if line.trim() == "ready" => Ok((child, init)),
        _ => {
            drop(child.stdin.take());
            let output = child.wait_with_output().await.map_err(|e| Error::io(what.clone(), e))?;
            let said = String::from_utf8_lossy(&output.stderr);
            let outcome = format!("failed ({}): {}", output.status, said.trim());
            Err(Error::Command { what, command: "nsenter … unshare … sh".to_owned(), outcome })
        }
    }
}

/// A command that runs `argv` inside the host whose first process is `init`.
pub(crate) fn enter(init: ProcessId, argv: &[String]) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &init.pid.to_string(), "--mount", "--uts", "--net", "--pid", "--"]).args(argv);
    command
}

/// All processes of a host, known by its record.
pub(crate) fn processes(record: &HostRecord) -> Vec<ProcessId> {
    let mut found = Vec::new();
    for root in [record.init, record.main].into_iter().flatten().filter(ProcessId::alive) {
        found.extend(process::tree(root));
    }
    found
}

/// Takes away a host known by its record: its first process, and with it all others.
pub(crate) async fn power_off(record: &HostRecord) -> Result<()> {
    let what = format!("power off {}", record.name);
    for root in [record.init, record.main].into_iter().flatten() {
        root.signal(Signal::SIGKILL);
    }
    for root in [record.init, record.main].into_iter().flatten() {
        root.gone(&what, END_DEADLINE).await?;
    }
    Ok(())
}

/// Lets a host go on that was stopped, with the nsenter outside that stopped along with its main process.
pub(crate) fn resume(record: &HostRecord) {
    if let (Some(_), Some(main)) = (record.init, record.main.filter(ProcessId::alive))
        && let Some(outer) = process::parent_of(main)
    {
        outer.signal(Signal::SIGCONT);
    }
    signal_all(record, Signal::SIGCONT);
}

/// Sends `signal` to every process of a host, again until no new ones appear.
pub(crate) fn signal_all(record: &HostRecord, signal: Signal) {
    let mut seen = Vec::new();
    for _ in 0..10 {
        let fresh: Vec<_> = processes(record).into_iter().filter(|p| !seen.contains(p)).collect();
        if fresh.is_empty() {
            return;
        }
        for process in &fresh {
            process.signal(signal);
        }
        seen.extend(fresh);
    }
}

/// The error of a host whose main process ended, with the end of its log.
pub(crate) fn ended(host: &str, status: &str, log: &Path) -> Error {
    let tail = tail(log);
    Error::HostEnded { host: host.to_owned(), status: status.to_owned(), log: PathBuf::from(log), tail }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(12)).map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n")
}
