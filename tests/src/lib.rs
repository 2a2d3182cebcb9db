//! Whole-binary tests of Tricorn: real clusters on testbed hosts, driven by real clients.
//!
//! [`Lab`] is a cluster of its own for one test; [`until`] waits for a condition with a deadline. What a test makes goes with it,
//! whether it passes or not; the logs of a test that fails are printed first.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cache;
mod command;
mod javascript;
mod lab;
pub mod lone;
mod members;
mod python;
mod wait;

pub use command::{Ran, binary, run, run_within};
pub use javascript::javascript;
pub use lab::Lab;
pub use lone::LoneServer;
pub use members::{Members, spawn};
pub use python::python;
pub use wait::{until, within};
