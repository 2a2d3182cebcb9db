//! pods/binding: the scheduler's word on where a pod runs.

use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::WriteParameters;
use crate::pipeline::Target;
use crate::respond;
use crate::server::Server;
use crate::stamp;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use tricorn_admission::Operation;
use tricorn_meta::{FieldError, FieldPath, Status};
use tricorn_registry::{Object, Step};

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Endpoint, bytes: &[u8]) -> Answer {
    let parameters = WriteParameters::parse(context)?;
    let binding = body::object(&context.headers, bytes)?;
    let target = Target::new(endpoint, context);
    let node = check(&binding, target)?.to_owned();
    let mut request = server.admission_request(context, target, Operation::Create, parameters.dry_run);
    request.object = Some(binding.clone());
    let objects = server.admission_objects();
    server.admission.mutate(&mut request, &objects).await?;
    server.admission.validate(&mut request, &objects).await?;
    let (binding, node, parameters) = (&binding, node.as_str(), &parameters);
    let change = |old: Arc<Object>| async move { bound(server, target, &old, binding, node, parameters) };
    let options = context.write_options(parameters.dry_run);
    server.registry.update(&endpoint.stored, target.namespace, target.name, options, change).await?;
    respond::status(context, StatusCode::CREATED, &Status::success(None))
}

fn check<'a>(binding: &'a Value, target: Target<'_>) -> Result<&'a str, Status> {
    let invalid = |error| Err(Status::invalid("", "Binding", target.name, vec![error]));
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    if !kind.is_empty() && kind != "Node" {
        return invalid(FieldError::invalid(&FieldPath::new("target.kind"), kind, "must be empty or \"Node\""));
    }
    match binding["target"]["name"].as_str().filter(|name| !name.is_empty()) {
        Some(node) => Ok(node),
        None => invalid(FieldError::required(&FieldPath::new("target.name"), "")),
    }
}

fn bound(
    server: &Server,
    target: Target<'_>,
    old: &Object,
    binding: &Value,
    node: &str,
    parameters: &WriteParameters,
) -> Result<Step, Status> {
    let conflict = |why: String| Status::conflict("", "pods/binding", target.name, why);
    let uid = stamp::text(binding, "uid");
    if !uid.is_empty() && uid != old.uid() {
        return Err(conflict(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.uid())));
    }
    if stamp::is_terminating(old.value()) {
        return Err(conflict(format!("pod {} is being deleted, cannot be assigned to a host", target.name)));
    }
    let assigned = old.value()["spec"]["nodeName"].as_str().unwrap_or_default();
    if !assigned.is_empty() {
        return Err(conflict(format!("pod {} is already assigned to node {assigned:?}", target.name)));
    }
    if old.value()["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        return Err(conflict(format!("pod {} has non-empty .spec.schedulingGates", target.name)));
    }
    let mut new = old.value().clone();
    new["spec"]["nodeName"] = node.into();
    copy_annotations(&mut new, binding);
    scheduled(&mut new);
    stamp::bump_generation(&mut new);
    server.track(Target { subresource: "binding", ..target }, Some(old.value()), &mut new, parameters);
    Ok(Step::Put(new))
}

fn copy_annotations(new: &mut Value, binding: &Value) {
    for part in ["annotations", "labels"] {
        for (key, value) in binding["metadata"][part].as_object().into_iter().flatten() {
            new["metadata"][part][key.as_str()] = value.clone();
        }
    }
}

/// The condition PodScheduled becomes true.
fn scheduled(new: &mut Value) {
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": stamp::now().rfc3339()});
    if !new["status"]["conditions"].is_array() {
        new["status"]["conditions"] = json!([]);
    }
    if let Some(conditions) = new["status"]["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(condition);
    }
}
