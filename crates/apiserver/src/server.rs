//! The server itself: what all requests share, and the tasks behind them.

use crate::access;
use crate::allocate::Allocator;
use crate::bootstrap;
use crate::config::ApiServerConfig;
use crate::custom;
use crate::endpoint::{Endpoint, Endpoints};
use crate::limits::Limits;
use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tricorn_admission::Chain;
use tricorn_authz::Authorizer;
use tricorn_registry::Registry;

/// What all requests share.
pub(crate) struct Server {
    pub config: ApiServerConfig,
    pub registry: Registry,
    pub admission: Chain,
    pub authorizer: RwLock<Authorizer>,
    /// Set when the authorizer has seen all there is.
    pub authorizer_ready: access::Readiness,
    pub endpoints: ArcSwap<Endpoints>,
    pub limits: Limits,
    pub metrics: Metrics,
    pub allocator: Allocator,
    /// Cancelled when the server shuts down: watches end.
    pub stop: CancellationToken,
    draining: AtomicBool,
}

impl Server {
    /// A resource in any version that is served.
    pub(crate) fn any_version(&self, group: &str, resource: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.load().any_version(group, resource)
    }

    /// A resource in one version.
    pub(crate) fn endpoint(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.load().get(group, version, resource)
    }

    /// A server without its tasks.
    pub(crate) fn new(config: ApiServerConfig, registry: Registry) -> Arc<Self> {
        let limits = Limits::new(&config);
        let allocator = Allocator::new(config.service_network, config.service_prefix_bits);
        Arc::new(Self {
            registry,
            admission: Chain::builtin(),
            authorizer: RwLock::default(),
            authorizer_ready: access::Readiness::default(),
            endpoints: ArcSwap::from_pointee(Endpoints::builtin()),
            limits,
            metrics: Metrics::new(),
            allocator,
            stop: CancellationToken::new(),
            draining: AtomicBool::new(false),
            config,
        })
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// A Kubernetes API server. Clones share everything.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) server: Arc<Server>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl ApiServer {
    /// Starts the server's own tasks: authorization caches, custom resources, bootstrap objects. It serves as soon as this returns; until the tasks have
    /// seen the store, `/readyz` says no and only members of `system:masters` are let through. Must be called within a runtime.
    pub fn start(config: ApiServerConfig, registry: Registry) -> Self {
        let server = Server::new(config, registry);
        let mut tasks = JoinSet::new();
        access::spawn(&server, &mut tasks);
        tasks.spawn(custom::run(server.clone()));
        bootstrap::spawn(&server, &mut tasks);
        Self { server, tasks: Arc::new(Mutex::new(tasks)) }
    }

    /// The registry beneath.
    pub fn registry(&self) -> &Registry {
        &self.server.registry
    }

    /// Whether the server can serve: what `/readyz` says.
    pub fn is_ready(&self) -> bool {
        crate::health::is_ready(&self.server)
    }

    /// Drains: `/readyz` says no, watches end, connections close after what they are doing; then the server's own tasks end.
    pub async fn shutdown(&self) {
        self.server.draining.store(true, Ordering::Relaxed);
        self.server.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }
}
