//! One pod on the node: what is observed of it, what is to be done about it, what is reported.

pub mod backoff;
pub mod container;
pub mod env;
pub mod exec;
pub mod observed;
pub mod phase;
pub mod plan;
pub mod resources;
pub mod security;
pub mod spec;
pub mod status;
pub mod worker;

/// Labels and annotations by which a kubelet finds its pods again in the runtime: upstream's names.
pub mod labels {
    /// Pod name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// Pod namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// Pod UID.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// Container name.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// Hash of the container's specification.
    pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
    /// How often the container was restarted.
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    /// Path of the termination message in the container.
    pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    /// Where the termination message comes from.
    pub const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    /// Grace period of the pod, for a kubelet that finds it without its specification.
    pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
}
