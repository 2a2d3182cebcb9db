//! Schemas of custom kinds at work: what they fill in, what they leave out and what they refuse. What such a schema may look like is said in
//! `kinds/structural.rs`.

mod defaults;
mod formats;
mod rules;

pub use defaults::{default, is_pruned};
pub use rules::Rules;
