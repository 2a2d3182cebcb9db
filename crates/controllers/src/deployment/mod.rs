//! Deployments: a sequence of ReplicaSets, of which the newest one is to hold all pods.

mod conditions;
mod numbers;
mod plan;
mod revisions;
mod runner;
mod status;

pub(crate) use numbers::scaled;
pub(crate) use runner::run;
