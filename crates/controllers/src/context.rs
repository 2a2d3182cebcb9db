//! What every controller is given.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio_util::sync::CancellationToken;
use tricorn_client::{Informers, Objects, Recorder};

/// Settings of the controllers.
#[derive(Clone, Debug)]
pub struct Config {
    /// The CA that pods are to trust for the API server, PEM. Published as the ConfigMap `kube-root-ca.crt`; not
    /// published where it is empty.
    pub root_ca_pem: String,
    /// The network that nodes get their pod networks from, such as `10.42.0.0/16`.
    pub cluster_cidr: String,
    /// Length of the prefix that each node gets.
    pub node_cidr_bits: u8,
    /// How long a node may stay silent before it counts as unknown.
    pub node_monitor_grace: Duration,
    /// How often a silent node is looked at again; a node's silence itself is noticed when its grace ends.
    pub node_monitor_period: Duration,
    /// Terminated pods that may stay before the oldest are deleted; 0 keeps all.
    pub terminated_pods_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root_ca_pem: String::new(),
            cluster_cidr: "10.42.0.0/16".to_owned(),
            node_cidr_bits: 24,
            node_monitor_grace: Duration::from_secs(40),
            node_monitor_period: Duration::from_secs(5),
            terminated_pods_max: 12_500,
        }
    }
}

/// The client, the shared caches, the settings and the sign to stop.
#[derive(Clone)]
pub struct Context {
    /// How the API is reached.
    pub client: Client,
    /// The shared caches.
    pub informers: Informers,
    /// Settings.
    pub config: Arc<Config>,
    /// Where events go.
    pub recorder: Recorder,
    /// Cancelled when the controllers are to stop.
    pub shutdown: CancellationToken,
}

impl Context {
    /// Typed requests in the name of `manager`.
    pub(crate) fn objects(&self, manager: &str) -> Objects {
        Objects::new(self.client.clone(), manager)
    }
}

/// Now, as plans take it.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
