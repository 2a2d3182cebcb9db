//! PersistentVolumeClaimResize: only a bound claim whose class allows it may ask for more.

use async_trait::async_trait;
use serde_json::Value;
use tricorn_meta::{Quantity, Status};

use crate::{Objects, Operation, Plugin, Request};

const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// See the module.
pub struct PersistentVolumeClaimResize;

fn size(claim: &Value) -> Option<Quantity> {
    claim.pointer("/spec/resources/requests/storage").and_then(Value::as_str).and_then(|s| s.parse().ok())
}

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Update && request.is("", "persistentvolumeclaims", "")
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let (old, new) = (request.stored(), request.new_object());
        match (size(old), size(new)) {
            (Some(old), Some(new)) if new > old => {}
            _ => return Ok(()),
        }
        if old.pointer("/status/phase").and_then(Value::as_str) != Some("Bound") {
            return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
        }
        let annotated = new.pointer("/metadata/annotations").and_then(|a| a.get(OLD_CLASS));
        let class = annotated.or_else(|| new.pointer("/spec/storageClassName")).and_then(Value::as_str).unwrap_or_default();
        let class = if class.is_empty() { None } else { objects.get("storage.k8s.io", "storageclasses", "", class).await? };
        if class.and_then(|c| c.get("allowVolumeExpansion").and_then(Value::as_bool)) != Some(true) {
            let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
            return Err(request.forbidden(why));
        }
        Ok(())
    }
}
