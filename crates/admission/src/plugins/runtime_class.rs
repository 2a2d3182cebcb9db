//! RuntimeClass: a pod that names a runtime class carries its overhead and runs where the runtime is.

use async_trait::async_trait;
use serde_json::{Value, json};
use tricorn_meta::Status;

use crate::{Objects, Plugin, Request};

/// See the module.
pub struct RuntimeClass;

fn class_name<'r>(request: &'r Request<'_>) -> &'r str {
    request.new_object().pointer("/spec/runtimeClassName").and_then(Value::as_str).unwrap_or_default()
}

async fn find(request: &Request<'_>, objects: &dyn Objects) -> Result<std::sync::Arc<Value>, Status> {
    let name = class_name(request);
    let found = match objects.get("node.k8s.io", "runtimeclasses", "", name).await? {
        Some(class) => Some(class),
        None => objects.get_fresh("node.k8s.io", "runtimeclasses", "", name).await?,
    };
    found.ok_or_else(|| request.forbidden(format!("pod rejected: RuntimeClass {name:?} not found")))
}

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        request.creates("", "pods") && !class_name(request).is_empty()
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        request.creates("", "pods") && request.new_object().pointer("/spec/overhead").is_some_and(|o| !o.is_null())
    }

    async fn mutate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let class = find(request, objects).await?;
        set_overhead(request, &class)?;
        let Some(scheduling) = class.get("scheduling").filter(|s| !s.is_null()) else { return Ok(()) };
        merge_selector(request, scheduling)?;
        let tolerations = scheduling.get("tolerations").and_then(Value::as_array);
        let Some(spec) = request.object.as_mut().and_then(|pod| tricorn_meta::json::ensure_object(pod, "spec")) else { return Ok(()) };
        for toleration in tolerations.into_iter().flatten() {
            let own = spec.entry("tolerations").or_insert_with(|| json!([]));
            if let Some(own) = own.as_array_mut().filter(|own| !own.contains(toleration)) {
                own.push(toleration.clone());
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let without = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
        if class_name(request).is_empty() {
            return Err(request.forbidden(without));
        }
        let class = find(request, objects).await?;
        match class.pointer("/overhead/podFixed") {
            None => Err(request.forbidden(without)),
            Some(fixed) if Some(fixed) != request.new_object().pointer("/spec/overhead") => {
                Err(request.forbidden("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"))
            }
            Some(_) => Ok(()),
        }
    }
}

fn set_overhead(request: &mut Request<'_>, class: &Value) -> Result<(), Status> {
    let Some(fixed) = class.pointer("/overhead/podFixed").filter(|f| f.as_object().is_some_and(|f| !f.is_empty())) else { return Ok(()) };
    let sent = request.new_object().pointer("/spec/overhead").filter(|o| o.as_object().is_some_and(|o| !o.is_empty()));
    if sent.is_some_and(|sent| sent != fixed) {
        return Err(request.forbidden("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"));
    }
    if let Some(pod) = request.object.as_mut() {
        tricorn_meta::json::set(pod, "spec.overhead", fixed.clone());
    }
    Ok(())
}

fn merge_selector(request: &mut Request<'_>, scheduling: &Value) -> Result<(), Status> {
    let Some(selector) = scheduling.get("nodeSelector").and_then(Value::as_object).filter(|s| !s.is_empty()) else { return Ok(()) };
    let own = request.new_object().pointer("/spec/nodeSelector");
    let conflict = selector.iter().find(|(key, value)| own.and_then(|o| o.get(key.as_str())).is_some_and(|own| own != *value));
    if let Some((key, value)) = conflict {
        let own = own.and_then(|o| o.get(key)).and_then(Value::as_str).unwrap_or_default();
        let wanted = value.as_str().unwrap_or_default();
        return Err(request.forbidden(format!(
            "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {own}"
        )));
    }
    if let Some(own) = request.object.as_mut().and_then(|pod| tricorn_meta::json::ensure_object(pod, "spec.nodeSelector")) {
        own.extend(selector.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Ok(())
}
