//! Load generators and side-by-side reports: how much a cluster does in a second, how long one request takes, and what it
//! costs in processor time and memory, next to etcd under the same load. It knows servers only from outside, by their
//! APIs and by what the kernel says of their processes; it must never know the store or any other room of the house.

pub mod api;
pub mod calm;
pub mod compare;
mod connect;
mod etcd;
pub mod failover;
mod fan_out;
pub mod kv;
mod measure;
mod process;
pub mod report;
mod watch;
mod workload;

pub use connect::Target;
pub use etcd::EtcdCluster;
pub use measure::{Measurement, at_share};
pub use workload::Workload;
