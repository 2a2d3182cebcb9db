//! The Node object: registration, status, lease, and the pod network once the node's range is known.

pub mod info;
pub mod lease;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tricorn_proto::cri;

use crate::cni;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::recorder::node_reference;

const PERIOD: Duration = Duration::from_secs(10);
/// Until the node is ready, every step is tried this often.
const EAGER: Duration = Duration::from_millis(300);
/// An unchanged status is written again after this long.
const REPORT: Duration = Duration::from_secs(300);

/// Keeps the Node object until cancelled.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut keeper = Keeper { context, registered: false, written: None, ready: false };
    loop {
        let pause = match keeper.step().await {
            Ok(()) if keeper.ready => PERIOD,
            Ok(()) => EAGER,
            Err(error) => {
                tracing::warn!(%error, "keep node");
                EAGER * 3
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Keeper {
    context: Arc<Context>,
    registered: bool,
    written: Option<(tokio::time::Instant, Value)>,
    ready: bool,
}

impl Keeper {
    fn api(&self) -> Api<Node> {
        Api::all(self.context.client.clone())
    }

    fn object(&self) -> String {
        format!("node {}", self.context.config.node_name)
    }

    async fn step(&mut self) -> Result<()> {
        if !self.registered {
            self.register().await?;
            self.registered = true;
        }
        let name = self.context.config.node_name.clone();
        let node = match self.api().get_opt(&name).await.map_err(Error::api("get", self.object()))? {
            Some(node) => node,
            None => {
                self.registered = false;
                self.written = None;
                return Ok(());
            }
        };
        self.network(&node)?;
        self.report(&node).await
    }

    async fn register(&self) -> Result<()> {
        let config = &self.context.config;
        let labels = info::labels(config);
        match self.api().get_opt(&config.node_name).await.map_err(Error::api("get", self.object()))? {
            Some(_) => {
                let patch = json!({"metadata": {"labels": labels}});
                let patched = self.api().patch(&config.node_name, &PatchParams::default(), &Patch::Merge(patch)).await;
                patched.map(drop).map_err(Error::api("label", self.object()))
            }
            None if !config.register => {
                Err(Error::Invalid(format!("{} does not exist yet, and this kubelet does not register it", self.object())))
            }
            None => {
                let node = json!({
                    "apiVersion": "v1", "kind": "Node",
                    "metadata": {"name": config.node_name, "labels": labels},
                    "spec": {"taints": config.taints},
                    "status": status::make(&self.context, &status::Observed::default(), Timestamp::now(), None),
                });
                let node: Node =
                    serde_json::from_value(node).map_err(|error| Error::Invalid(format!("encode {}: {error}", self.object())))?;
                match self.api().create(&PostParams::default(), &node).await {
                    Ok(node) => {
                        self.context.recorder.normal(node_reference(&node), "Starting", "Starting kubelet.");
                        Ok(())
                    }
                    Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                    Err(error) => Err(Error::api("create", self.object())(error)),
                }
            }
        }
    }

    /// The pod network, as soon as the node has its range.
    fn network(&self, node: &Node) -> Result<()> {
        let Some(cidr) = node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_deref()) else { return Ok(()) };
        let config = &self.context.config;
        if cni::write(&config.cni_conf_dir(), cidr, &config.root_dir.join("cni/state"))? {
            tracing::info!(cidr, "the node's pod range is known; wrote the network configuration");
        }
        Ok(())
    }

    async fn report(&mut self, node: &Node) -> Result<()> {
        let observed = self.observe().await;
        let was_ready = std::mem::replace(&mut self.ready, observed.not_ready.is_none());
        let made = status::make(&self.context, &observed, Timestamp::now(), node.status.as_ref());
        let stripped = status::without_times(&made);
        if let Some((at, before)) = &self.written
            && *before == stripped
            && at.elapsed() < REPORT
        {
            return Ok(());
        }
        let name = &self.context.config.node_name;
        let patch = json!({"status": made});
        let patched = self.api().patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        let node = patched.map_err(Error::api("patch status of", self.object()))?;
        self.written = Some((tokio::time::Instant::now(), stripped));
        if self.ready && !was_ready {
            self.context.recorder.normal(node_reference(&node), "NodeReady", format!("Node {name} status is now: NodeReady"));
        }
        Ok(())
    }

    async fn observe(&self) -> status::Observed {
        let cri = &self.context.cri;
        let mut observed = status::Observed::default();
        match cri.status("the node", cri::StatusRequest { verbose: false }).await {
            Ok(answer) => observed.not_ready = status::not_ready(&answer.status.unwrap_or_default()),
            Err(error) => observed.not_ready = Some(format!("container runtime is down: {error}")),
        }
        if let Ok(version) = cri.version("containerd", cri::VersionRequest::default()).await {
            observed.runtime_version = format!("{}://{}", version.runtime_name, version.runtime_version);
        }
        if let Ok(images) = cri.list_images("the node", cri::ListImagesRequest::default()).await {
            observed.images = images.images;
        }
        observed
    }
}
