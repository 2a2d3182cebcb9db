//! TaintNodesByCondition: a new node takes no pods before it has said that it is ready.

use async_trait::async_trait;
use serde_json::json;
use tricorn_meta::Status;

use crate::{Objects, Plugin, Request};

/// See the module.
pub struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        request.creates("", "nodes")
    }

    async fn mutate(&self, request: &mut Request<'_>, _objects: &dyn Objects) -> Result<(), Status> {
        let Some(node) = request.object.as_mut() else { return Ok(()) };
        let spec = tricorn_meta::json::ensure_object(node, "spec");
        let Some(spec) = spec else { return Ok(()) };
        let taints = spec.entry("taints").or_insert_with(|| json!([]));
        if taints.is_null() {
            *taints = json!([]);
        }
        let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
        if let Some(taints) = taints.as_array_mut()
            && !taints.iter().any(|t| t.get("key") == not_ready.get("key") && t.get("effect") == not_ready.get("effect"))
        {
            taints.push(not_ready);
        }
        Ok(())
    }
}
