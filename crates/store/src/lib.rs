//! The replicated store: etcd's state machine on Raft. Any member takes any request; writes are durable on a quorum before
//! they are answered, and reads are linearizable unless they say otherwise.
//!
//! Requests and answers are etcd's own messages. openraft and RocksDB are named here and nowhere else, and their types stay
//! inside. This crate must never know what the keys mean: no Kubernetes, no HTTP for clients, no command line.

mod auth;
mod bolt;
mod compactor;
mod config;
mod counters;
mod current;
mod engine;
mod error;
mod events;
mod force;
mod foreign;
mod grpc;
mod handler;
mod host;
mod hub;
mod identity;
mod leadership;
mod leases;
mod lessor;
mod link;
mod log;
mod machine;
mod maintenance;
mod members;
mod mutation;
mod network;
mod node;
mod pacing;
mod passwords;
mod proposer;
mod reads;
mod recent;
mod restore;
mod snapshot;
mod space;
mod start;
mod state;
mod store;
mod ticks;
mod tokens;
mod trim;
mod types;
mod watcher;
mod worker;

pub use auth::Credential;
pub use config::{AuthConfig, AutoCompaction, Bootstrap, InitialMember, PeerListen, PeerTls, Storage, StoreConfig, Timing};
pub use counters::{BUCKETS, Counters, TimingSnapshot};
pub use engine::{Disk, Engine, MemoryDisk, Purpose, RocksDisk, RocksOptions, inspect_log};
pub use error::{Error, Result};
pub use events::Events;
pub use handler::Handler;
pub use host::Host;
pub use leadership::Leadership;
pub use link::{Lane, Link, LinkError, LinkResult, Transport};
pub use maintenance::{SnapshotStream, Status};
pub use members::MemberInfo;
#[cfg(feature = "mutations")]
pub use mutation::{MUTATIONS, Mutation, choose};
pub use pacing::Pacing;
pub use restore::{RestoreConfig, SnapshotInfo, inspect, inspect_etcd, is_etcd, restore, restore_etcd, set_aside};
pub use store::Store;
pub use tricorn_mvcc as mvcc;
pub use tricorn_proto::peer::Caller;
pub use types::Member;
pub use watcher::{WatchHandle, WatchMessage, WatchOptions, Watcher};
