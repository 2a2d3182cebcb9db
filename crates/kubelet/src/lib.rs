//! Pods on a node: it watches the pods bound to its node, runs them through the Container Runtime Interface, and
//! reports their state and the node's. It starts a containerd of its own. It knows the API through a
//! [`kube::Client`] only, and must never know the store, the registry, or how traffic reaches a Service.

pub mod cgroup;
pub mod cni;
pub mod config;
pub mod context;
pub mod cri;
pub mod error;
pub mod images;
mod kubelet;
pub mod logs;
pub mod manager;
pub mod node;
pub mod objects;
pub mod pod;
pub mod probe;
pub mod recorder;
pub mod runtime;
pub mod server;
pub mod volumes;

pub use config::KubeletConfig;
pub use error::{Error, Result};
pub use kubelet::Kubelet;
pub use runtime::cleanup;
