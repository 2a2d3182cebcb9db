//! The proxy at work: caches of Services, EndpointSlices and Nodes on one side, the kernel on the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tricorn_client::{Informers, Shared};

use crate::apply::Applier;
use crate::compile::{CompileConfig, compile};
use crate::error::{Error, Result};
use crate::health::{Health, NodePortChecks, serve_health};
use crate::services::{ServicePort, service_ports};
use crate::{conntrack, node, sysctl};

/// Changes that come so close together go into the kernel at once.
const GATHER: Duration = Duration::from_millis(10);
/// At least so long between two writes.
const SPACING: Duration = Duration::from_millis(50);
/// How often it is looked whether the rules are still there.
const VERIFY: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(1);
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// What the proxy of one node is told.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// This node's name.
    pub node_name: String,
    /// The range of all pods' addresses.
    pub cluster_cidr: String,
    /// Where /healthz and /livez are served; none for nowhere.
    pub health_address: Option<SocketAddr>,
    /// Whether routes to other nodes' pods are made.
    pub routes: bool,
}

impl ProxyConfig {
    /// The usual settings for the node called `node_name`: pods in 10.42.0.0/16, health on port 10256, routes.
    pub fn new(node_name: impl Into<String>) -> Self {
        Self {
            node_name: node_name.into(),
            cluster_cidr: "10.42.0.0/16".to_owned(),
            health_address: Some(SocketAddr::from(([0, 0, 0, 0], 10256))),
            routes: true,
        }
    }
}

/// Runs the proxy until `shutdown`. Rules and routes stay in the kernel when it ends, so that a restart is not noticed;
/// [`crate::cleanup`] takes them away.
pub fn run(config: ProxyConfig, client: kube::Client, shutdown: CancellationToken) -> BoxFuture<'static, Result<()>> {
    Box::pin(keep(config, client, shutdown))
}

async fn keep(config: ProxyConfig, client: kube::Client, shutdown: CancellationToken) -> Result<()> {
    sysctl::prepare();
    // The watches end with the proxy even if only the proxy ends.
    let stop = shutdown.child_token();
    let _ending = stop.clone().drop_guard();
    let informers = Informers::new(client, stop.clone());
    let health = Health::default();
    let worker = Worker::new(&config, &informers, health.clone());
    let serve = async {
        match config.health_address {
            Some(address) => serve_health(address, health.clone(), stop.clone()).await,
            None => {
                stop.cancelled().await;
                Ok(())
            }
        }
    };
    let routes = async { if config.routes { keep_routes(&config, &informers, &stop).await } else { stop.cancelled().await } };
    let outcome = tokio::select! {
        served = serve => served,
        () = worker.run(&stop) => Ok(()),
        () = routes => Ok(()),
    };
    stop.cancel();
    let waited = tokio::time::timeout(Duration::from_secs(5), informers.stopped()).await;
    if waited.is_err() {
        tracing::warn!("watches of the proxy did not end within 5 s");
    }
    outcome
}

/// A bell that every change of a cache rings.
fn bell<K: kube::Resource + Send + Sync + 'static>(cache: &Shared<K>, notify: &Arc<Notify>, health: Option<&Health>) {
    let (notify, health) = (notify.clone(), health.cloned());
    cache.on_change(move |_| {
        if let Some(health) = &health {
            health.waiting();
        }
        notify.notify_one();
    });
}

struct Worker {
    config: ProxyConfig,
    services: Shared<Service>,
    slices: Shared<EndpointSlice>,
    nodes: Shared<Node>,
    changed: Arc<Notify>,
    health: Health,
    applier: Applier,
    checks: NodePortChecks,
    known: Vec<ServicePort>,
}

impl Worker {
    fn new(config: &ProxyConfig, informers: &Informers, health: Health) -> Self {
        let worker = Self {
            config: config.clone(),
            services: informers.of(),
            slices: informers.of(),
            nodes: informers.of(),
            changed: Arc::new(Notify::new()),
            health,
            applier: Applier::default(),
            checks: NodePortChecks::default(),
            known: Vec::new(),
        };
        bell(&worker.services, &worker.changed, Some(&worker.health));
        bell(&worker.slices, &worker.changed, Some(&worker.health));
        worker
    }

    async fn run(mut self, stop: &CancellationToken) {
        // Half a picture would take away what works: nothing is written before all is known.
        tokio::select! {
            () = stop.cancelled() => return,
            () = async { tokio::join!(self.services.synced(), self.slices.synced(), self.nodes.synced()); } => {}
        }
        let mut next_verify = Instant::now() + VERIFY;
        loop {
            let begin = Instant::now();
            let outcome = self.sync(stop).await;
            if let Err(error) = &outcome {
                tracing::error!(%error, "Services are not in the kernel: another try follows");
            }
            let wait = async {
                if outcome.is_err() {
                    return tokio::time::sleep(RETRY).await;
                }
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(next_verify) => {}
                }
                tokio::time::sleep(GATHER).await;
                tokio::time::sleep_until(begin + SPACING).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = wait => {}
            }
            if Instant::now() >= next_verify {
                next_verify = Instant::now() + VERIFY;
                if let Err(error) = self.applier.verify().await {
                    tracing::warn!(%error, "look at the kernel's rules");
                }
            }
        }
    }

    async fn sync(&mut self, stop: &CancellationToken) -> Result<()> {
        let begin = Instant::now();
        let (services, slices, nodes) = (self.services.all(), self.slices.all(), self.nodes.all());
        let own = &self.config.node_name;
        let compile_config = CompileConfig {
            node_name: own.clone(),
            zone: node::zone(&nodes, own),
            cluster_cidr: self.config.cluster_cidr.clone(),
            localhost_node_ports: true,
        };
        let wanted = compile(&services, &slices, &compile_config);
        let changed = self.applier.apply(&wanted).await?;
        self.health.leaving(nodes.iter().any(|n| n.metadata.name.as_ref() == Some(own) && leaving(n)));
        self.health.synced();
        let ports = service_ports(&services, &slices, own);
        if changed {
            conntrack::forget(conntrack::stale(&self.known, &ports)).await;
            tracing::debug!(services = services.len(), took = ?begin.elapsed(), "Services are in the kernel");
        }
        self.checks.update(&ports, stop).await;
        self.known = ports;
        Ok(())
    }
}

fn leaving(node: &Node) -> bool {
    let tainted = node.spec.iter().flat_map(|s| s.taints.iter().flatten()).any(|t| t.key == TO_BE_DELETED);
    tainted || node.metadata.deletion_timestamp.is_some()
}

/// Keeps routes to the pods of all other nodes.
async fn keep_routes(config: &ProxyConfig, informers: &Informers, stop: &CancellationToken) {
    let nodes: Shared<Node> = informers.of();
    let changed = Arc::new(Notify::new());
    bell(&nodes, &changed, None);
    tokio::select! {
        () = stop.cancelled() => return,
        () = nodes.synced() => {}
    }
    let mut applied = None;
    loop {
        let wanted = node::wanted_routes(&nodes.all(), &config.node_name);
        // Node objects change with every heartbeat; routes rarely.
        let outcome: Result<(), Error> = if applied.as_ref() == Some(&wanted) { Ok(()) } else { node::apply_routes(&wanted).await };
        let pause = match outcome {
            Ok(()) => {
                applied = Some(wanted);
                VERIFY
            }
            Err(error) => {
                tracing::warn!(%error, "routes to other nodes' pods: another try follows");
                applied = None;
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed.notified() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(pause) => applied = None,
        }
    }
}
