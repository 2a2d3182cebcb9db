//! DefaultStorageClass: a claim that names no class gets the default one.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tricorn_meta::Status;

use crate::{Objects, Plugin, Request};

const IS_DEFAULT: [&str; 2] = ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// See the module.
pub struct DefaultStorageClass;

/// Of the objects that an annotation marks as default, the newest; of several the first by name.
pub(super) fn newest_default<'a>(objects: &'a [Arc<Value>], annotations: &[&str]) -> Option<&'a str> {
    let annotated = |o: &Value| {
        let have = o.pointer("/metadata/annotations");
        annotations.iter().any(|a| have.and_then(|h| h.get(*a)).and_then(Value::as_str) == Some("true"))
    };
    let text = |o: &'a Value, pointer: &str| o.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let mut defaults: Vec<(&str, &str)> =
        objects.iter().filter(|o| annotated(o)).map(|o| (text(o, "/metadata/creationTimestamp"), text(o, "/metadata/name"))).collect();
    defaults.sort_by(|a, b| b.0.cmp(a.0).then(a.1.cmp(b.1)));
    defaults.first().map(|(_, name)| *name)
}

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        if !request.creates("", "persistentvolumeclaims") {
            return false;
        }
        let claim = request.new_object();
        let class = claim.pointer("/spec/storageClassName").is_some_and(|c| !c.is_null());
        !class && claim.pointer("/metadata/annotations").is_none_or(|a| a.get(OLD_CLASS).is_none())
    }

    async fn mutate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let classes = objects.list("storage.k8s.io", "storageclasses", "").await?;
        if let (Some(class), Some(claim)) = (newest_default(&classes, &IS_DEFAULT), request.object.as_mut()) {
            tricorn_meta::json::set(claim, "spec.storageClassName", class);
        }
        Ok(())
    }
}
