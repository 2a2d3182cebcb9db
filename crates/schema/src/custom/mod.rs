//! Schemas of custom kinds at work: what they fill in, what they leave out and what they refuse. What such a schema may look like is said in
//! `kinds/structural.rs`.

mod defaults;
mod embedded;
mod formats;
mod lists;
mod rules;
mod shape;

pub use defaults::{default, has_defaults, is_defaulted, is_pruned};
pub use rules::Rules;
pub use shape::{closed, with_own_fields};
