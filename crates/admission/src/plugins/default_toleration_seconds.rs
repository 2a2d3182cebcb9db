//! DefaultTolerationSeconds: pods stay for a while on a node that is not ready or not reachable.

use async_trait::async_trait;
use serde_json::{Value, json};
use tricorn_meta::Status;

use crate::{Objects, Plugin, Request};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// See the module.
pub struct DefaultTolerationSeconds {
    /// Seconds on a node that is not ready.
    pub not_ready_seconds: u32,
    /// Seconds on a node that cannot be reached.
    pub unreachable_seconds: u32,
}

impl Default for DefaultTolerationSeconds {
    fn default() -> Self {
        Self { not_ready_seconds: 300, unreachable_seconds: 300 }
    }
}

fn tolerates(toleration: &Value, key: &str) -> bool {
    let is = |field: &str, wanted: &str| toleration.get(field).and_then(Value::as_str).is_none_or(|v| v.is_empty() || v == wanted);
    is("key", key) && is("effect", "NoExecute")
}

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        request.writes("", "pods")
    }

    async fn mutate(&self, request: &mut Request<'_>, _objects: &dyn Objects) -> Result<(), Status> {
        let Some(spec) = request.object.as_mut().and_then(|pod| tricorn_meta::json::ensure_object(pod, "spec")) else { return Ok(()) };
        let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
        if tolerations.is_null() {
            *tolerations = json!([]);
        }
        let Some(tolerations) = tolerations.as_array_mut() else { return Ok(()) };
        for (key, seconds) in [(NOT_READY, self.not_ready_seconds), (UNREACHABLE, self.unreachable_seconds)] {
            if !tolerations.iter().any(|t| tolerates(t, key)) {
                tolerations.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}));
            }
        }
        Ok(())
    }
}
