//! The admission chain: plugins that complete an object before it is stored, and plugins that refuse it.
//!
//! This crate must never know HTTP, the store or how webhooks are called: it reads other objects through [`Objects`], and
//! webhooks and policies are handed in as [`External`]. Each plugin is one file, pure but for those reads.
//!
//! A write goes: patch, default, `track_update` (patch), then [`Chain::mutate`], schema validation,
//! [`Chain::validate`], store. [`Chain::admit`] does both halves at once.

mod chain;
mod objects;
mod plugin;
pub mod plugins;
mod request;

pub use chain::{Chain, External, Warnings};
pub use objects::Objects;
pub use plugin::Plugin;
pub use request::{Operation, Request};
