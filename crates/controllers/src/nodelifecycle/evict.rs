//! Deletes pods from nodes whose NoExecute taints they do not tolerate, or no longer.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tricorn_client::{Change, Deletion, EventKind, Key, Next, Objects, Queue, Recorder, RequestError, Shared};

use super::plan::{Stay, stay};
use crate::context::{Context, now};
use crate::pods;
use crate::supervise::Failure;

/// Pods that are looked at at a time.
const WORKERS: usize = 8;

struct Controller {
    objects: Objects,
    recorder: Recorder,
    nodes: Shared<Node>,
    pods: Shared<Pod>,
}

fn evicting(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().filter(|taint| taint.effect == "NoExecute").cloned().collect()
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let controller = Arc::new(Controller {
        objects: context.objects("taint-eviction-controller"),
        recorder: context.recorder.named("taint-eviction-controller"),
        nodes: context.informers.of(),
        pods: context.informers.of(),
    });
    controller.nodes.synced().await;
    controller.pods.synced().await;
    let queue = Queue::new("taint-eviction");
    let (wake, own) = (queue.clone(), controller.clone());
    controller.nodes.on_change(move |change| {
        let node = change.latest();
        let before = change.old().map(|old| evicting(old)).unwrap_or_default();
        if matches!(change, Change::Deleted(_)) || evicting(node) == before {
            return;
        }
        let here = own.pods.all().into_iter().filter(|pod| pods::node(pod) == node.metadata.name.as_deref());
        here.for_each(|pod| wake.add(Key::of(pod.as_ref())));
    });
    let (wake, own) = (queue.clone(), controller.clone());
    controller.pods.on_change(move |change| {
        let pod = change.latest();
        let tolerations = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.tolerations.clone());
        let news = change.old().is_none_or(|old| pods::node(old) != pods::node(pod) || tolerations(old) != tolerations(pod));
        let node = pods::node(pod).and_then(|node| own.nodes.named(node));
        if news && node.is_some_and(|node| !evicting(&node).is_empty()) {
            wake.add(Key::of(pod.as_ref()));
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
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(pod) = self.pods.get(key).filter(|pod| !pods::is_deleting(pod)) else { return Ok(Next::Done) };
        let Some(node) = pods::node(&pod).and_then(|node| self.nodes.named(node)) else { return Ok(Next::Done) };
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.clone()).unwrap_or_default();
        match stay(&tolerations, &evicting(&node), now()) {
            Stay::Forever => return Ok(Next::Done),
            Stay::For(left) => return Ok(Next::After(left)),
            Stay::Over => {}
        }
        let text = format!("Marking for deletion Pod {key}");
        self.recorder.event(pod.as_ref(), EventKind::Normal, "TaintManagerEviction", text);
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [{
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": Time(now()),
        }]}});
        match self.objects.strategic_status::<Pod>(key.namespace(), &key.name, patch).await {
            Err(error) if error.is_not_found() => return Ok(Next::Done),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let deletion = Deletion::of_uid(pods::uid(&pod));
        match self.objects.delete::<Pod>(key.namespace(), &key.name, &deletion).await {
            Err(error) if !error.is_conflict() => Err(error),
            _ => Ok(Next::Done),
        }
    }
}
