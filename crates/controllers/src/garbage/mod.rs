//! Deletes objects whose owners are gone, and lets owners wait for, or let go of, what they own.

mod act;
mod graph;
mod monitors;
mod plan;

pub(crate) use monitors::run;
