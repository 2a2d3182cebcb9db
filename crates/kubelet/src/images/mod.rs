//! Images on the node: the built-in pause image, and the import of archives into containerd.

pub mod archive;
pub mod pause;
mod store;

pub use store::{import, import_pause};
