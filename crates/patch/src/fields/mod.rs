//! Sets of field paths, in the form that `metadata.managedFields` spells them.

mod element;
mod encode;
mod set;

pub(crate) use element::{display, field, index_of_keys, value};
pub(crate) use encode::{subtract_encoded, union_encoded};
pub use set::FieldSet;
