//! Notices nodes that fall silent, and keeps taints in step with conditions. The silence is measured by this server's
//! own clock, from when it last saw a sign of life, so that clocks that differ do no harm.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use parking_lot::Mutex;
use serde_json::json;
use tricorn_client::{Change, EventKind, Key, Next, Objects, Queue, Recorder, RequestError, Shared};

use super::plan::{condition, readiness, silenced, taints};
use crate::context::{Context, now};
use crate::pods;
use crate::supervise::Failure;

/// Nodes that are worked on at a time.
const WORKERS: usize = 8;
/// Where kubelets renew their leases.
const LEASES: &str = "kube-node-lease";

struct Controller {
    objects: Objects,
    recorder: Recorder,
    nodes: Shared<Node>,
    pods: Shared<Pod>,
    grace: Duration,
    period: Duration,
    /// When each node last gave a sign of life.
    seen: Mutex<HashMap<String, Instant>>,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let controller = Arc::new(Controller {
        objects: context.objects("node-controller"),
        recorder: context.recorder.named("node-controller"),
        nodes: context.informers.of(),
        pods: context.informers.of(),
        grace: context.config.node_monitor_grace,
        period: context.config.node_monitor_period,
        seen: Mutex::default(),
    });
    let leases = context.informers.of::<Lease>();
    controller.nodes.synced().await;
    controller.pods.synced().await;
    leases.synced().await;
    let queue = Queue::new("nodelifecycle");
    let (wake, own) = (queue.clone(), controller.clone());
    controller.nodes.on_change(move |change| own.node_changed(change, &wake));
    let own = controller.clone();
    leases.on_change(move |change| {
        let lease = change.latest();
        let renewed = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        let is_sign = change.old().is_none_or(|old| renewed(old) != renewed(lease));
        if is_sign && lease.namespace().as_deref() == Some(LEASES) && !matches!(change, Change::Deleted(_)) {
            own.seen.lock().insert(lease.name_any(), Instant::now());
        }
    });
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let controller = controller.clone();
            async move { controller.sync(&key).await }
        })
        .await;
    Ok(())
}

impl Controller {
    fn node_changed(&self, change: &Change<Node>, wake: &Queue<Key>) {
        let node = change.latest();
        let name = node.name_any();
        match change {
            Change::Deleted(_) => {
                self.seen.lock().remove(&name);
                // One node fewer may mean that all that are left are silent.
                self.nodes.all().iter().for_each(|node| wake.add(Key::of(node.as_ref())));
                return;
            }
            Change::Added(_) => {
                self.seen.lock().entry(name).or_insert_with(Instant::now);
            }
            Change::Updated { old, new } => {
                let beat = |node: &Node| condition(node, "Ready").and_then(|ready| ready.last_heartbeat_time.clone());
                if beat(old) != beat(new) {
                    self.seen.lock().insert(name, Instant::now());
                }
                if readiness(old) != readiness(new) {
                    self.nodes.all().iter().for_each(|node| wake.add(Key::of(node.as_ref())));
                }
            }
        }
        wake.add(Key::of(node.as_ref()));
    }

    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(node) = self.nodes.get(key) else { return Ok(Next::Done) };
        let seen = *self.seen.lock().entry(key.name.clone()).or_insert_with(Instant::now);
        let silence = seen.elapsed();
        let mut node = node.as_ref().clone();
        let is_silent = silence >= self.grace;
        if is_silent && let Some(conditions) = silenced(&node, now()) {
            node.status.get_or_insert_with(Default::default).conditions = Some(conditions);
            node = self.objects.update_status(&node).await?;
            let text = format!("Node {} status is now: NodeNotReady", key.name);
            self.recorder.event(&node, EventKind::Normal, "NodeNotReady", text);
        }
        // With no node ready at all, the fault is more likely here, and nothing would have a place to go.
        let evict = readiness(&node) == "True" || self.nodes.all().iter().any(|other| readiness(other) == "True");
        let wanted = taints(&node, evict, now());
        let present = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        if wanted != present {
            let patch = json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": wanted}});
            self.objects.merge::<Node>(None, &key.name, patch).await?;
        }
        if readiness(&node) != "True" {
            self.mark_pods_not_ready(&key.name).await?;
        }
        let left = if is_silent { self.period } else { self.grace.saturating_sub(silence) };
        Ok(Next::After(left.max(Duration::from_millis(50))))
    }

    /// Pods of a node that is not ready get no traffic.
    async fn mark_pods_not_ready(&self, node: &str) -> Result<(), RequestError> {
        let here = self.pods.all().into_iter().filter(|pod| pods::node(pod) == Some(node) && pods::is_ready(pod));
        for pod in here {
            let patch = json!({"status": {"conditions": [{
                "type": "Ready", "status": "False", "lastTransitionTime": Time(now()),
            }]}});
            match self.objects.strategic_status::<Pod>(pod.metadata.namespace.as_deref(), pods::name(&pod), patch).await {
                Ok(_) => {
                    self.recorder.event(pod.as_ref(), EventKind::Warning, "NodeNotReady", "Node is not ready");
                }
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
