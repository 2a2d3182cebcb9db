//! The Scale of what has replicas, in one shape for all kinds.

use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::endpoint::{Endpoint, ScalePaths};
use crate::options::WriteParameters;
use crate::pipeline::{Target, Write, cannot_be_handled, complain, unknown_field};
use crate::respond;
use crate::server::Server;
use crate::stamp;
use crate::verbs::Patch;
use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tricorn_meta::{FieldError, FieldPath, GroupVersionKind, Status};
use tricorn_patch::{FieldSet, Writer, apply, from_scale, to_scale, track_update};
use tricorn_registry::Object;
use tricorn_schema::{Node, definition_name, definitions, mismatches, prune};

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Arc<Endpoint>, request: Request<Body>) -> Answer {
    let paths = endpoint.scale_paths().ok_or_else(Status::path_not_found)?;
    let target = Target::new(endpoint, context);
    match context.info.verb.as_str() {
        "get" => {
            let object = server.registry.read(&endpoint.stored, target.namespace, target.name).await?;
            respond::unstored(context, endpoint, StatusCode::OK, &scale(&paths, object.value()))
        }
        "update" | "patch" => {
            let bytes = body::read(request).await?;
            write(server, context, target, &paths, &bytes).await
        }
        verb => Err(Status::method_not_supported(&endpoint.group, &format!("{}/scale", endpoint.plural), verb)),
    }
}

/// What a client sends to change a scale.
enum Sent {
    Whole(Value),
    Patch(Patch),
}

async fn write(server: &Server, context: &Context, target: Target<'_>, paths: &ScalePaths, bytes: &[u8]) -> Answer {
    let parameters = WriteParameters::parse(context)?;
    let sent = if context.info.verb == "update" {
        Sent::Whole(body::object(&context.headers, bytes)?)
    } else {
        Sent::Patch(Patch::parse(context, target.endpoint, &parameters, bytes)?)
    };
    let make = |old: &Object| {
        let mut before = scale(paths, old.value());
        let path: Vec<&str> = paths.spec_replicas.iter().map(String::as_str).collect();
        let managed = old.value()["metadata"].get("managedFields");
        before["metadata"]["managedFields"] = to_scale(managed, &path)?.into();
        let after = wanted(context, target, &parameters, &before, &sent)?;
        let mut new = old.value().clone();
        apply_to(target, paths, &mut new, &after)?;
        let managed = from_scale(managed, after["metadata"].get("managedFields"), &path, &target.endpoint.api_version())?;
        if let Some(metadata) = stamp::metadata(&mut new) {
            for field in ["resourceVersion", "uid"] {
                match after["metadata"].get(field) {
                    Some(value) => metadata.insert(field.to_owned(), value.clone()),
                    None => metadata.shift_remove(field),
                };
            }
            match managed.is_empty() {
                true => metadata.shift_remove("managedFields"),
                false => metadata.insert("managedFields".to_owned(), managed.into()),
            };
        }
        Ok(Some(new))
    };
    // A scale is a change of the object's spec, made under another name.
    let plain = Target { subresource: "", ..target };
    let write = Write { tracked: true, ..Write::new(context, plain, &parameters) };
    let object = server.update_object(write, make).await?;
    respond::unstored(context, target.endpoint, StatusCode::OK, &scale(paths, object.value()))
}

/// The scale after the change, with its owners.
fn wanted(context: &Context, target: Target<'_>, parameters: &WriteParameters, before: &Value, sent: &Sent) -> Result<Value, Status> {
    let node = scale_node()?;
    let nothing_reset = FieldSet::default();
    let time = stamp::now().rfc3339();
    let writer = Writer {
        manager: &parameters.field_manager,
        api_version: "autoscaling/v1",
        time: &time,
        subresource: target.subresource,
        builtin: true,
        reset: &nothing_reset,
    };
    let mut after = match sent {
        Sent::Whole(whole) => whole.clone(),
        Sent::Patch(Patch::Apply(applied)) => {
            check_target(target, applied)?;
            return apply(node, Some(before), applied, &writer, parameters.force);
        }
        Sent::Patch(patch) => {
            let mut after = before.clone();
            patch.change(node, &mut after)?;
            after
        }
    };
    settle(context, target, parameters, node, &mut after)?;
    track_update(node, Some(before), &mut after, &writer);
    Ok(after)
}

fn scale_node() -> Result<Node<'static>, Status> {
    definitions().node(&definition_name("autoscaling", "v1", "Scale")).ok_or_else(|| Status::internal("there is no type of scales"))
}

/// Checks that a document is a scale of the object that the URL names.
fn check_target(target: Target<'_>, scale: &Value) -> Result<(), Status> {
    let sent = GroupVersionKind::of(scale);
    if !sent.kind.is_empty() && (sent.kind != "Scale" || sent.api_version() != "autoscaling/v1") {
        return Err(Status::bad_request(format!("{} of {:?} is no Scale of \"autoscaling/v1\"", sent.kind, sent.api_version())));
    }
    let name = stamp::text(scale, "name");
    if !name.is_empty() && name != target.name {
        let message = format!("the name of the object ({name}) does not match the name on the URL ({})", target.name);
        return Err(Status::bad_request(message));
    }
    Ok(())
}

/// The same, and takes out what a scale does not know.
fn settle(context: &Context, target: Target<'_>, parameters: &WriteParameters, node: Node<'_>, scale: &mut Value) -> Result<(), Status> {
    check_target(target, scale)?;
    let unknown = prune(node, scale).iter().map(|path| unknown_field(path)).collect();
    complain(context, parameters, "Scale", "v1", unknown)?;
    match mismatches(node, scale).first() {
        Some(wrong) => Err(cannot_be_handled("Scale", "v1", &wrong.reason)),
        None => Ok(()),
    }
}

fn apply_to(target: Target<'_>, paths: &ScalePaths, new: &mut Value, after: &Value) -> Result<(), Status> {
    let replicas = after["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let error = FieldError::invalid(&FieldPath::new("spec.replicas"), replicas, "must be greater than or equal to 0");
        return Err(Status::invalid("autoscaling", "Scale", target.name, vec![error]));
    }
    set(new, &paths.spec_replicas, replicas.into());
    Ok(())
}

/// Sets the value at a path of plain fields.
fn set(value: &mut Value, path: &[String], to: Value) {
    let mut at = value;
    for field in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[field.as_str()];
    }
    *at = to;
}

fn get<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |at, field| at.get(field.as_str()))
}

fn scale(paths: &ScalePaths, object: &Value) -> Value {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let number = |path: &[String]| get(object, path).and_then(Value::as_i64).unwrap_or(0);
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(&paths.spec_replicas)},
        "status": {"replicas": number(&paths.status_replicas)},
    });
    let selector = paths.selector.as_ref().and_then(|path| get(object, path)).map(selector_text).unwrap_or_default();
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// A selector as text: of the object form, of a plain map of labels, or as it is.
fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let labels = selector.get("matchLabels").or((selector.get("matchExpressions").is_none()).then_some(selector));
    let mut parts: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    parts.sort();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<_> = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let values = values.join(",");
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}
