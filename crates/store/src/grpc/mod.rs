//! Members over gRPC, with mutual TLS when it is configured.

mod client;
mod server;

pub(crate) use client::GrpcTransport;
pub(crate) use server::serve;

use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};

/// Largest message taken: a batch of log entries, or one large entry.
pub(crate) const MESSAGE_BYTES: usize = 64 << 20;
/// A connection that does not answer for this long is given up.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);
pub(crate) const STREAM_WINDOW: u32 = 4 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 16 << 20;
/// Goes with every request: the id of the cluster that the asking member is of, as etcd's members tell it.
pub(crate) const CLUSTER: &str = "x-etcd-cluster-id";

fn written(cluster_id: u64) -> Option<MetadataValue<Ascii>> {
    format!("{cluster_id:x}").parse().ok()
}
