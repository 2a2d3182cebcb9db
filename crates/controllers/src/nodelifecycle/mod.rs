//! Watches over nodes: notices those that fall silent, taints them, and evicts what does not tolerate that.

pub(crate) mod evict;
mod plan;
pub(crate) mod watch;
