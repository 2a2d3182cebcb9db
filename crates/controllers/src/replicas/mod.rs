//! A fixed number of equal pods: ReplicaSets, and ReplicationControllers, which differ in spelling only.

mod plan;
pub(crate) mod replicaset;
pub(crate) mod replicationcontroller;
mod sync;
