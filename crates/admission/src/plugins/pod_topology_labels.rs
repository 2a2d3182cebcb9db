//! PodTopologyLabels: a pod that is bound to a node learns the node's zone and region from its own labels.

use async_trait::async_trait;
use serde_json::Value;
use tricorn_meta::Status;

use crate::{Objects, Operation, Plugin, Request};

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// See the module.
pub struct PodTopologyLabels;

#[async_trait]
impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Create && (request.is("", "pods", "binding") || request.is("", "bindings", ""))
    }

    /// Puts the labels on the binding; whoever carries out the binding merges them into the pod.
    async fn mutate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let target = request.new_object().pointer("/target");
        let kind = target.and_then(|t| t.get("kind")).and_then(Value::as_str).unwrap_or("Node");
        let name = target.and_then(|t| t.get("name")).and_then(Value::as_str).unwrap_or_default();
        if !kind.is_empty() && kind != "Node" || name.is_empty() {
            return Ok(());
        }
        let Some(node) = objects.get("", "nodes", "", name).await? else { return Ok(()) };
        let labels = node.pointer("/metadata/labels");
        let found: Vec<(&str, Value)> = LABELS.iter().filter_map(|l| Some((*l, labels?.get(*l)?.clone()))).collect();
        if found.is_empty() {
            return Ok(());
        }
        if let Some(labels) = request.object.as_mut().and_then(|b| tricorn_meta::json::ensure_object(b, "metadata.labels")) {
            labels.extend(found.into_iter().map(|(label, value)| (label.to_owned(), value)));
        }
        Ok(())
    }
}
