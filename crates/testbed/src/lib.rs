//! Hosts in network namespaces, and clusters standing on them: what `tricorn up` and the end-to-end tests share.
//!
//! A host is a network namespace with an address on a private bridge, and, while it is on, a process, mount and UTS
//! namespace of its own. Taking its first process away takes everything that runs on it, as pulling the plug would.
//! This crate starts the `tricorn` binary it is given and watches it from outside: it must never know what
//! servers and workers do inside, and never links them.

mod access;
mod cgroup;
mod clean;
mod cluster;
mod command;
mod control;
mod dial;
mod error;
mod forward;
mod host;
mod hosts;
mod images;
mod launch;
mod network;
mod preflight;
mod process;
mod progress;
mod queue;
mod slow;
mod state;
mod status;
mod supervisor;

pub use access::ApiAccess;
pub use clean::clean;
pub use cluster::{Cluster, ClusterConfig};
pub use control::{cut, delay, exec_command, heal, kill, load, lose, partition, pause, restart, resume, start, stop};
pub use dial::Dialer;
pub use error::{Error, Result};
pub use forward::Forwarder;
pub use host::{ENDED, Host, Role};
pub use hosts::{Ground, Hosts};
pub use images::{build_images, busybox_path};
pub use network::{Cut, Network};
pub use preflight::{is_root, preflight};
pub use process::ProcessId;
pub use progress::{Progress, Silent};
pub use slow::Delay;
pub use state::{ClusterState, Desired, HostRecord, Mode, StateFile};
pub use status::{HostStatus, Status, status};
