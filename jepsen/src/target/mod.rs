//! What is put to the test: members of a group on hosts of their own, and the ways to reach and to break them.

mod api;
mod builds;
mod client;
mod group;
mod login;
mod membership;
mod pieces;
mod system;
pub mod twin;
mod wire;

pub use api::{ApiClient, ApiGroup, of_read, version, within};
pub use builds::Builds;
pub use client::{Client, Failure};
pub use group::{Group, GroupOptions, Program};
pub use login::with_token;
pub use system::System;
pub(crate) use wire::watch_message;
