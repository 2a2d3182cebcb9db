//! Removes pods that nobody else will remove: of nodes that are gone, never bound and deleted, on nodes out of service,
//! and ended ones beyond a limit.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use parking_lot::Mutex;
use serde_json::json;
use tricorn_client::{Change, Deletion, EventKind, Key, Next, Objects, Queue, Recorder, RequestError, Shared};

use self::plan::{Why, doomed};
use crate::context::{Context, now};
use crate::pods;
use crate::supervise::Failure;

/// A node must be gone for this long before its pods go too, in seconds: it may only be registering anew.
const QUARANTINE_SECONDS: u64 = 40;
/// Pause between a change and the look at it, in milliseconds, so that many changes make one look.
const GATHER_MS: u64 = 500;

struct Controller {
    objects: Objects,
    recorder: Recorder,
    nodes: Shared<Node>,
    pods: Shared<Pod>,
    threshold: usize,
    /// Since when each missing node has been missing.
    missing: Mutex<HashMap<String, Instant>>,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let controller = Arc::new(Controller {
        objects: context.objects("pod-garbage-collector"),
        recorder: context.recorder.named("pod-garbage-collector"),
        nodes: context.informers.of(),
        pods: context.informers.of(),
        threshold: context.config.terminated_pods_max,
        missing: Mutex::default(),
    });
    controller.nodes.synced().await;
    controller.pods.synced().await;
    let queue = Queue::new("podgc");
    let all = Key::new("", "all");
    let gather = Duration::from_millis(GATHER_MS);
    let (wake, key) = (queue.clone(), all.clone());
    controller.nodes.on_change(move |change| {
        let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
        if change.old().is_none_or(|old| taints(old) != taints(change.latest())) {
            wake.add_after(key.clone(), gather);
        }
    });
    let (wake, key, own) = (queue.clone(), all, controller.clone());
    controller.pods.on_change(move |change| {
        let pod = change.latest();
        let lost = pods::node(pod).is_some_and(|node| own.nodes.named(node).is_none());
        let unbound = pods::is_deleting(pod) && pods::node(pod).is_none();
        let ended = pods::is_terminal(pod) && change.old().is_none_or(|old| !pods::is_terminal(old));
        if !matches!(change, Change::Deleted(_)) && (lost || unbound || ended || pods::is_deleting(pod)) {
            wake.add_after(key.clone(), gather);
        }
    });
    queue
        .run(1, context.shutdown.clone(), move |_| {
            let controller = controller.clone();
            async move { controller.sweep().await }
        })
        .await;
    Ok(())
}

impl Controller {
    async fn sweep(&self) -> Result<Next, RequestError> {
        let all = self.pods.all();
        let nodes = self.nodes.all();
        let next = self.note_missing(&all, &nodes).await?;
        let gone = |name: &str| {
            let since = self.missing.lock().get(name).copied();
            since.is_some_and(|since| since.elapsed() >= Duration::from_secs(QUARANTINE_SECONDS))
        };
        for (pod, why) in doomed(&all, &nodes, self.threshold, gone) {
            self.remove(&pod, why).await?;
        }
        Ok(next.map_or(Next::Done, Next::After))
    }

    /// Keeps track of nodes that pods are bound to but that are not there, and tells when to look again.
    async fn note_missing(&self, all: &[Arc<Pod>], nodes: &[Arc<Node>]) -> Result<Option<Duration>, RequestError> {
        let wait = Duration::from_secs(QUARANTINE_SECONDS);
        let named: std::collections::HashSet<&str> = all.iter().filter_map(|pod| pods::node(pod)).collect();
        let absent: Vec<&str> = named.into_iter().filter(|name| !nodes.iter().any(|node| node.name_any() == *name)).collect();
        let mut next = None;
        let mut over = Vec::new();
        {
            let mut missing = self.missing.lock();
            missing.retain(|name, _| absent.contains(&name.as_str()));
            for name in absent {
                let since = *missing.entry(name.to_owned()).or_insert_with(Instant::now);
                match wait.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) {
                    Some(left) => next = Some(next.map_or(left, |other: Duration| other.min(left))),
                    None => over.push(name.to_owned()),
                }
            }
        }
        // The cache may be behind: ask once more before pods are lost.
        for name in over {
            if self.objects.get::<Node>(None, &name).await?.is_some() {
                self.missing.lock().remove(&name);
            }
        }
        Ok(next)
    }

    async fn remove(&self, pod: &Pod, why: Why) -> Result<(), RequestError> {
        let namespace = pod.metadata.namespace.as_deref();
        let name = pods::name(pod);
        if !pods::is_terminal(pod) && why != Why::Terminated {
            let mut status = json!({"phase": "Failed"});
            if let Some(message) = why.message() {
                status["conditions"] = json!([{
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "DeletionByPodGC",
                    "message": message,
                    "lastTransitionTime": Time(now()),
                }]);
            }
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
            match self.objects.strategic_status::<Pod>(namespace, name, patch).await {
                Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        let deletion = Deletion::of_uid(pods::uid(pod)).grace(0);
        self.recorder.event(pod, EventKind::Normal, "PodGC", why.message().unwrap_or("PodGC: pod has ended"));
        match self.objects.delete::<Pod>(namespace, name, &deletion).await {
            Err(error) if !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }
}
