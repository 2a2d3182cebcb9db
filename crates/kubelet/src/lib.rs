//! Pods on a node: it watches the pods bound to its node, runs them through the Container Runtime Interface, and
//! reports their state and the node's. It starts a containerd of its own. It knows the API through a
//! [`kube::Client`] only, and must never know the store, the registry, or how traffic reaches a Service.

pub mod error;
