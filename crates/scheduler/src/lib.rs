//! The scheduler: gives every pod without a node the best one. Placement is pure: a function of the pod and of what is
//! known of the cluster. Around it stand a queue that wakes pods when something changes for them, and a binder. This
//! crate must never know the registry, the store, or how pods come to run.

mod cluster;
mod filter;
mod fit_error;
mod place;
mod pod_info;
mod preempt;
mod queue;
mod resources;
mod run;
mod score;
mod terms;

pub use run::{Context, run};
