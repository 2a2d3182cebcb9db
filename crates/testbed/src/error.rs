//! What can go wrong on a test bed, said with the operation, the object and what to do next.

use std::path::PathBuf;
use std::time::Duration;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a host, its network or the cluster that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be run, or ended with a failure.
    #[error("{what}: `{command}` {outcome}")]
    Command {
        /// The operation it was run for.
        what: String,
        /// The command line.
        command: String,
        /// How it ended, with what it wrote to its standard error.
        outcome: String,
    },
    /// A file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation and the path.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another `tricorn up` holds the data directory.
    #[error(
        "a cluster is already running on {}{}: stop it with `tricorn down --data-dir {}`, or choose another --data-dir",
        dir.display(), holder(*pid), dir.display()
    )]
    AlreadyRunning {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it, when known.
        pid: Option<i32>,
    },
    /// There is no cluster in the data directory.
    #[error("no cluster in {}: start one with `tricorn up --data-dir {}`", dir.display(), dir.display())]
    NoCluster {
        /// The data directory.
        dir: PathBuf,
    },
    /// The operation needs root.
    #[error("{what} needs root, because hosts are network namespaces: run it with sudo, or without workers (`tricorn up --workers 0`)")]
    NotRoot {
        /// What was asked for.
        what: String,
    },
    /// A program that is needed is not installed.
    #[error("`{tool}` is not installed: {purpose}. On Debian or Ubuntu: apt-get install {package}")]
    MissingTool {
        /// The program.
        tool: String,
        /// What it is needed for.
        purpose: String,
        /// The Debian package that carries it.
        package: String,
    },
    /// An address that the cluster needs is in use.
    #[error("{address} is taken by another program: stop it, or choose another port with {flag}")]
    PortTaken {
        /// The address.
        address: String,
        /// The flag that changes it.
        flag: String,
    },
    /// A condition did not come true in time.
    #[error("{what}: not within {} s{}", after.as_secs(), hint(hint_text))]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// The last thing seen, or where to look.
        hint_text: String,
    },
    /// A host's main process ended while it was needed.
    #[error("{host} ended ({status}); the end of {}:\n{tail}", log.display())]
    HostEnded {
        /// The host.
        host: String,
        /// Its exit status.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// No host has that name.
    #[error("no host is called {name}: there are {known}")]
    NoHost {
        /// The name that was given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The host is not in the state that the operation needs.
    #[error("{host} is {state}: {next}")]
    WrongState {
        /// The host.
        host: String,
        /// What it is.
        state: String,
        /// What to do about it.
        next: String,
    },
    /// This kernel or this mode cannot do it.
    #[error("{0}")]
    Unsupported(String),
    /// The data directory was written by something else.
    #[error("{}: {problem}", dir.display())]
    DataDir {
        /// The data directory.
        dir: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An answer of a server could not be used.
    #[error("{what}: {problem}")]
    Api {
        /// The request.
        what: String,
        /// What came back.
        problem: String,
    },
}

fn holder(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

fn hint(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}
