//! Priority: the name of a priority class becomes the number that the scheduler sorts by.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tricorn_meta::Status;

use crate::{Objects, Plugin, Request};

const GROUP: &str = "scheduling.k8s.io";
const RESOURCE: &str = "priorityclasses";
const PREEMPT: &str = "PreemptLowerPriority";

/// Classes that are there in every cluster, with their values.
const SYSTEM: [(&str, i64); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// See the module.
pub struct Priority;

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        request.writes("", "pods")
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        request.writes(GROUP, RESOURCE)
    }

    async fn mutate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        if let Some(stored) = request.old_object.clone() {
            keep(request, &stored);
            return Ok(());
        }
        let name = request.new_object().pointer("/spec/priorityClassName").and_then(Value::as_str).unwrap_or_default().to_owned();
        let class = if name.is_empty() { default_class(objects).await? } else { Some(find(request, objects, &name).await?) };
        let class = class.unwrap_or_default();
        check_sent(request, &class)?;
        if let Some(spec) = request.object.as_mut().and_then(|pod| tricorn_meta::json::ensure_object(pod, "spec")) {
            if !class.name.is_empty() {
                spec.insert("priorityClassName".into(), class.name.into());
            }
            spec.insert("priority".into(), class.value.into());
            spec.insert("preemptionPolicy".into(), class.policy.into());
        }
        Ok(())
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let new = request.new_object();
        if new.get("globalDefault").and_then(Value::as_bool) != Some(true) {
            return Ok(());
        }
        let own = new.pointer("/metadata/name");
        for other in objects.list(GROUP, RESOURCE, "").await? {
            let name = other.pointer("/metadata/name");
            if name != own && other.get("globalDefault").and_then(Value::as_bool) == Some(true) {
                let name = name.and_then(Value::as_str).unwrap_or_default();
                return Err(request.forbidden(format!("PriorityClass {name} is already marked as default. Only one default can exist")));
            }
        }
        Ok(())
    }
}

struct Class {
    name: String,
    value: i64,
    policy: String,
}

impl Default for Class {
    fn default() -> Self {
        Self { name: String::new(), value: 0, policy: PREEMPT.to_owned() }
    }
}

impl Class {
    fn of(object: &Value) -> Class {
        Class {
            name: object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            value: object.get("value").and_then(Value::as_i64).unwrap_or_default(),
            policy: object.get("preemptionPolicy").and_then(Value::as_str).unwrap_or(PREEMPT).to_owned(),
        }
    }
}

/// An update that leaves the resolved fields out does not mean to clear them.
fn keep(request: &mut Request<'_>, stored: &Arc<Value>) {
    let Some(spec) = request.object.as_mut().and_then(|pod| pod.get_mut("spec")).and_then(Value::as_object_mut) else { return };
    for field in ["priority", "preemptionPolicy"] {
        if let (None | Some(Value::Null), Some(value)) = (spec.get(field), stored.pointer(&format!("/spec/{field}"))) {
            spec.insert(field.into(), value.clone());
        }
    }
}

async fn find(request: &Request<'_>, objects: &dyn Objects, name: &str) -> Result<Class, Status> {
    if let Some(object) = objects.get(GROUP, RESOURCE, "", name).await? {
        return Ok(Class::of(&object));
    }
    if let Some((name, value)) = SYSTEM.iter().find(|(system, _)| *system == name) {
        return Ok(Class { name: (*name).to_owned(), value: *value, policy: PREEMPT.to_owned() });
    }
    match objects.get_fresh(GROUP, RESOURCE, "", name).await? {
        Some(object) => Ok(Class::of(&object)),
        None => Err(request.forbidden(format!("no PriorityClass with name {name} was found"))),
    }
}

/// The class marked as default; of several the one with the lowest value.
async fn default_class(objects: &dyn Objects) -> Result<Option<Class>, Status> {
    let classes = objects.list(GROUP, RESOURCE, "").await?;
    let defaults = classes.iter().filter(|c| c.get("globalDefault").and_then(Value::as_bool) == Some(true));
    Ok(defaults.map(|c| Class::of(c)).min_by_key(|c| c.value))
}

/// The number is for the server to set: one that was sent must be the one that is computed.
fn check_sent(request: &Request<'_>, class: &Class) -> Result<(), Status> {
    let spec = request.new_object().get("spec").unwrap_or(&Value::Null);
    if let Some(sent) = spec.get("priority").and_then(Value::as_i64)
        && sent != class.value
    {
        return Err(request.forbidden(format!(
            "the integer value of priority ({sent}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name",
            class.value
        )));
    }
    if let Some(sent) = spec.get("preemptionPolicy").and_then(Value::as_str)
        && sent != class.policy
    {
        return Err(request.forbidden(format!(
            "the string value of PreemptionPolicy ({sent}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name",
            class.policy
        )));
    }
    Ok(())
}
