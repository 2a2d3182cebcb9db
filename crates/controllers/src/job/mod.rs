//! Jobs: pods that run to completion, each counted exactly once.

mod indexes;
mod plan;
mod runner;
pub(crate) mod ttl;

pub(crate) use runner::run;
