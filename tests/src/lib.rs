//! Whole-binary tests of Tricorn: real clusters on testbed hosts, driven by real clients.
//!
//! [`Lab`] is a cluster of its own for one test; [`until`] waits for a condition with a deadline. What a test makes goes with it,
//! whether it passes or not; the logs of a test that fails are printed first.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod command;
mod lab;
mod wait;

pub use command::{Ran, binary, run, run_within};
pub use lab::Lab;
pub use wait::{until, within};
