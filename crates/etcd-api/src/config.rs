//! What the etcd door needs to be told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::tokens::TokenMode;

/// The etcd version that clients are told: they switch features on by it.
pub const ETCD_VERSION: &str = "3.6.6";
/// The version all members speak, as etcd reports it.
pub const ETCD_CLUSTER_VERSION: &str = "3.6.0";

/// Settings of the door.
#[derive(Clone, Debug)]
pub struct EtcdApiConfig {
    /// Where to listen for clients; gRPC and HTTP/1.1 share each address. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// TLS of the client addresses. Whether clients must show certificates is set in there; ALPN is set here.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// A client that shows a certificate is the user that its common name says, unless it shows a token. Certificates are
    /// checked by `tls`.
    pub client_cert_auth: bool,
    /// What clients show after they have logged in.
    pub tokens: TokenMode,
    /// Further addresses that serve health and metrics only, without TLS.
    pub metrics_listen: Vec<SocketAddr>,
    /// Largest request, in bytes. Answers to watches that allow it are cut into pieces of this size.
    pub max_request_bytes: usize,
    /// Requests and streams under way at once on one connection.
    pub max_concurrent_streams: u32,
    /// Connections open at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How often a watch that asked for it is told how far it has come.
    pub progress_interval: Duration,
    /// How long a stream that requires a leader goes on without one.
    pub no_leader_grace: Duration,
    /// How long open requests may take to end after a shutdown has been asked for.
    pub drain: Duration,
}

impl Default for EtcdApiConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 2379))],
            tls: None,
            client_cert_auth: false,
            tokens: TokenMode::Simple,
            metrics_listen: Vec::new(),
            max_request_bytes: 1_572_864,
            max_concurrent_streams: 10_000,
            max_connections: 20_000,
            progress_interval: Duration::from_secs(600),
            no_leader_grace: Duration::from_secs(3),
            drain: Duration::from_secs(5),
        }
    }
}
