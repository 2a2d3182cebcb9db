//! The container runtime of this node: a containerd of its own, its events, and cleaning up after it.

pub mod cleanup;
pub mod containerd;
pub mod events;

pub use cleanup::cleanup;
pub use containerd::Containerd;
