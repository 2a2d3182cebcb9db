//! What the runtime says about one pod, in a form that plans and statuses are made from.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

/// A pod sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// Which sandbox of the pod it is, from 0.
    pub attempt: u32,
    /// Whether it is up.
    pub ready: bool,
    /// When it was created.
    pub created: Timestamp,
    /// The pod's addresses in it; empty for pods of the host network.
    pub addresses: Vec<String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Created, not started.
    Created,
    /// Running since.
    Running {
        /// When it started.
        started: Timestamp,
    },
    /// Over.
    Exited {
        /// When it started; the epoch when it never did.
        started: Timestamp,
        /// When it ended.
        finished: Timestamp,
        /// Its exit code.
        code: i32,
        /// The runtime's reason: Completed, Error, OOMKilled, StartError.
        reason: String,
        /// The runtime's or the container's own message.
        message: String,
    },
    /// The runtime lost it.
    Unknown,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The runtime's id.
    pub id: String,
    /// Name in the pod's specification.
    pub name: String,
    /// The sandbox it is in.
    pub sandbox: String,
    /// How many of its name were before it.
    pub attempt: u32,
    /// When it was created.
    pub created: Timestamp,
    /// Where it is in its life.
    pub state: State,
    /// The image by the name it was asked for.
    pub image: String,
    /// The image by its digest or id.
    pub image_ref: String,
    /// Hash of the specification it was made from.
    pub hash: String,
    /// Its log file.
    pub log_path: String,
}

impl Instance {
    /// Whether it runs.
    pub fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// Whether it may still have processes.
    pub fn alive(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Created | State::Unknown)
    }

    /// Its exit code, once it has one.
    pub fn exit_code(&self) -> Option<i32> {
        match &self.state {
            State::Exited { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Everything the runtime has of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Newest first.
    pub containers: Vec<Instance>,
}

impl Observed {
    /// The newest sandbox.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first()
    }

    /// The newest container of a name.
    pub fn latest(&self, name: &str) -> Option<&Instance> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The newest container of a name in a sandbox.
    pub fn latest_in(&self, name: &str, sandbox: &str) -> Option<&Instance> {
        self.containers.iter().find(|container| container.name == name && container.sandbox == sandbox)
    }

    /// The container of this name before the newest.
    pub fn previous(&self, name: &str) -> Option<&Instance> {
        self.containers.iter().filter(|container| container.name == name).nth(1)
    }

    /// The pod's addresses.
    pub fn addresses(&self) -> &[String] {
        self.sandbox().filter(|sandbox| sandbox.ready).map(|sandbox| sandbox.addresses.as_slice()).unwrap_or_default()
    }

    /// Puts the newest first.
    pub fn sort(&mut self) {
        self.sandboxes.sort_by_key(|one| Reverse((one.attempt, one.created)));
        self.containers.sort_by_key(|one| Reverse((one.created, one.attempt)));
    }
}

/// What a probe has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProbeResults {
    /// Startup: none until decided.
    pub startup: Option<bool>,
    /// Readiness: none until decided.
    pub readiness: Option<bool>,
    /// Liveness: none until decided.
    pub liveness: Option<bool>,
}

/// Why something waits: as status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Upstream's reason, such as ErrImagePull.
    pub reason: String,
    /// The whole story.
    pub message: String,
}

/// A failed attempt, not to be repeated before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What to show meanwhile.
    pub waiting: Waiting,
    /// When to try again.
    pub retry_at: Timestamp,
}

/// What a worker remembers between plans.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Restart back-off by container name.
    pub restarts: BTreeMap<String, super::backoff::Backoff>,
    /// Image pull back-off by container name.
    pub pulls: BTreeMap<String, super::backoff::Backoff>,
    /// Containers that could not be started, by name.
    pub failures: BTreeMap<String, Failure>,
    /// The sandbox or the volumes could not be made.
    pub pod_failure: Option<Failure>,
    /// Probe results by container id.
    pub probes: BTreeMap<String, ProbeResults>,
    /// Containers being stopped, by id.
    pub stopping: std::collections::BTreeSet<String>,
    /// Containers whose postStart hook is done (or that have none), by id.
    pub hooked: std::collections::BTreeSet<String>,
    /// The pod is to end although nobody deletes it: reason and message for its status.
    pub ending: Option<Waiting>,
    /// Everything of the pod is gone from the runtime and the disk.
    pub cleaned: bool,
    /// The pod vanished from the API.
    pub forgotten: bool,
}
