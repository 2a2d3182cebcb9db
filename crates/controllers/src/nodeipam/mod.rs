//! Gives every node a network for its pods.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use parking_lot::Mutex;
use serde_json::json;
use tricorn_client::{Change, EventKind, Key, Next, Objects, Queue, Recorder, RequestError, Shared};

use self::plan::Space;
use crate::context::Context;
use crate::supervise::Failure;

struct Controller {
    objects: Objects,
    recorder: Recorder,
    nodes: Shared<Node>,
    space: Space,
    /// What was given to nodes whose change the cache may not show yet.
    given: Mutex<HashMap<String, u32>>,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let space = Space::parse(&context.config.cluster_cidr, context.config.node_cidr_bits).map_err(Failure::Config)?;
    let controller = Arc::new(Controller {
        objects: context.objects("node-ipam-controller"),
        recorder: context.recorder.named("cidrAllocator"),
        nodes: context.informers.of(),
        space,
        given: Mutex::default(),
    });
    controller.nodes.synced().await;
    let queue = Queue::new("nodeipam");
    let (wake, own) = (queue.clone(), controller.clone());
    controller.nodes.on_change(move |change| match change {
        Change::Deleted(node) => {
            own.given.lock().remove(&node.name_any());
        }
        Change::Added(node) | Change::Updated { new: node, .. } if cidr_of(node).is_none() => wake.add(Key::of(node.as_ref())),
        Change::Added(_) | Change::Updated { .. } => {}
    });
    // One at a time: two nodes must not be given the same network.
    queue
        .run(1, context.shutdown.clone(), move |key| {
            let controller = controller.clone();
            async move { controller.sync(&key).await }
        })
        .await;
    Ok(())
}

fn cidr_of(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|cidr| !cidr.is_empty())
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(node) = self.nodes.get(key) else { return Ok(Next::Done) };
        if cidr_of(&node).is_some() || node.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Done);
        }
        let all = self.nodes.all();
        let chosen = {
            let mut given = self.given.lock();
            let taken = all.iter().filter_map(|node| cidr_of(node)).filter_map(|cidr| self.space.index_of(cidr));
            let taken = taken.chain(given.values().copied()).collect();
            let chosen = given.get(&key.name).copied().or_else(|| self.space.first_free(&taken));
            if let Some(index) = chosen {
                given.insert(key.name.clone(), index);
            }
            chosen
        };
        let Some(index) = chosen else {
            let text = format!("Node {} status is now: CIDRNotAvailable", key.name);
            self.recorder.event(node.as_ref(), EventKind::Normal, "CIDRNotAvailable", text);
            return Ok(Next::After(std::time::Duration::from_secs(30)));
        };
        let cidr = self.space.at(index);
        let patch = json!({"metadata": {"uid": node.metadata.uid}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
        match self.objects.merge::<Node>(None, &key.name, patch).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Done),
        }
    }
}
