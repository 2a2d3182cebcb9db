//! StorageObjectInUseProtection: claims and volumes are not taken away from under those who use them.

use async_trait::async_trait;
use serde_json::{Value, json};
use tricorn_meta::Status;

use crate::{Objects, Operation, Plugin, Request};

/// See the module.
pub struct StorageObjectInUseProtection;

fn finalizer(request: &Request<'_>) -> Option<&'static str> {
    if request.operation != Operation::Create || !request.subresource.is_empty() {
        return None;
    }
    match (request.resource.group.as_str(), request.resource.resource.as_str()) {
        ("", "persistentvolumeclaims") => Some("kubernetes.io/pvc-protection"),
        ("", "persistentvolumes") => Some("kubernetes.io/pv-protection"),
        ("storage.k8s.io", "volumeattributesclasses") => Some("kubernetes.io/vac-protection"),
        _ => None,
    }
}

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        finalizer(request).is_some()
    }

    async fn mutate(&self, request: &mut Request<'_>, _objects: &dyn Objects) -> Result<(), Status> {
        let Some(finalizer) = finalizer(request) else { return Ok(()) };
        let Some(metadata) = request.object.as_mut().and_then(|o| tricorn_meta::json::ensure_object(o, "metadata")) else { return Ok(()) };
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if finalizers.is_null() {
            *finalizers = json!([]);
        }
        if let Some(finalizers) = finalizers.as_array_mut()
            && !finalizers.iter().any(|f| f.as_str() == Some(finalizer))
        {
            finalizers.push(Value::from(finalizer));
        }
        Ok(())
    }
}
