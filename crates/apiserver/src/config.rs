//! What an API server is told at its start.

use crate::authn::TokenAuthenticator;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tricorn_pki::{ServiceAccountKey, Verifier};

/// What an API server is told at its start.
pub struct ApiServerConfig {
    /// The address under which others reach this server; it becomes an endpoint of the Service `kubernetes`.
    pub advertise_address: IpAddr,
    /// The port that goes with it.
    pub advertise_port: u16,
    /// First address of the range of Service addresses.
    pub service_network: Ipv4Addr,
    /// Its prefix length in bits.
    pub service_prefix_bits: u8,
    /// Signs service account tokens.
    pub service_account_key: Arc<ServiceAccountKey>,
    /// Checks service account tokens.
    pub service_account_verifier: Verifier,
    /// Who issues service account tokens, and their default audience.
    pub issuer: String,
    /// Further ways to accept a bearer token, such as join tokens.
    pub token_authenticator: Option<Arc<dyn TokenAuthenticator>>,
    /// How this server speaks with kubelets: shows its own client certificate, trusts the cluster's authority. `None`: logs, exec and the like are refused.
    pub kubelet_tls: Option<Arc<rustls::ClientConfig>>,
    /// Served under `/tricorn/` after authentication and before authorization.
    pub extra_routes: axum::Router,
    /// Whether requests without credentials are let in as `system:anonymous`.
    pub anonymous: bool,
    /// Requests that write, at once.
    pub max_mutating_requests: usize,
    /// Requests that read, at once.
    pub max_reading_requests: usize,
    /// Watches and streams, at once.
    pub max_long_running_requests: usize,
    /// A request that is no watch or stream ends after this long.
    pub request_timeout: Duration,
    /// What is let through unasked while the server drains.
    pub drain_timeout: Duration,
}

impl ApiServerConfig {
    /// The defaults, for a server that is reached at `advertise_address`.
    pub fn new(advertise_address: IpAddr, advertise_port: u16, service_account_key: Arc<ServiceAccountKey>) -> Self {
        let issuer = "https://kubernetes.default.svc.cluster.local".to_owned();
        Self {
            advertise_address,
            advertise_port,
            service_network: Ipv4Addr::new(10, 43, 0, 0),
            service_prefix_bits: 16,
            service_account_verifier: service_account_key.verifier(vec![issuer.clone()]),
            service_account_key,
            issuer,
            token_authenticator: None,
            kubelet_tls: None,
            extra_routes: axum::Router::new(),
            anonymous: true,
            max_mutating_requests: 400,
            max_reading_requests: 800,
            max_long_running_requests: 20_000,
            request_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
