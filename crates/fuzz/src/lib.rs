//! Bytes that nobody meant: every reader of bytes from outside is a [`Target`], given what it would be given in good faith, changed at random.
//! It must answer, soon, with a value or an error: a panic, a hang, or memory without bound is a defect.
//!
//! Inputs that once were a defect are kept in `corpus/TARGET/`, and played first. The random ones are the same in every run with the same
//! seed. There is no feedback from coverage: seeds that reach deep are what makes up for it.

mod mutate;
mod play;
mod seeds;
mod targets;

pub use play::{Outcome, play};
pub use targets::{TARGETS, Target};
