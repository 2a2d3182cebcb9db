//! The Scale of what has replicas, in one shape for all kinds.

use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::endpoint::{Endpoint, ScalePaths};
use crate::options::WriteParameters;
use crate::pipeline::{Target, Write};
use crate::respond;
use crate::server::Server;
use crate::stamp;
use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tricorn_meta::{FieldError, FieldPath, Status};
use tricorn_patch::{json_patch, merge_patch};
use tricorn_registry::Object;

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Arc<Endpoint>, request: Request<Body>) -> Answer {
    let paths = endpoint.scale_paths().ok_or_else(Status::path_not_found)?;
    let target = Target::new(endpoint, context);
    match context.info.verb.as_str() {
        "get" => {
            let object = server.registry.read(&endpoint.stored, target.namespace, target.name).await?;
            respond::unstored(context, StatusCode::OK, &scale(&paths, object.value()))
        }
        "update" | "patch" => {
            let bytes = body::read(request).await?;
            write(server, context, target, &paths, &bytes).await
        }
        verb => Err(Status::method_not_supported(&endpoint.group, &format!("{}/scale", endpoint.plural), verb)),
    }
}

async fn write(server: &Server, context: &Context, target: Target<'_>, paths: &ScalePaths, bytes: &[u8]) -> Answer {
    let parameters = WriteParameters::parse(context)?;
    let sent = if context.info.verb == "update" {
        body::object(&context.headers, bytes)?
    } else if body::content_type(&context.headers) == "application/apply-patch+yaml" {
        body::yaml(bytes)?
    } else {
        body::json(bytes)?
    };
    let make = |old: &Object| {
        let before = scale(paths, old.value());
        let after = wanted(context, &before, &sent)?;
        let mut new = old.value().clone();
        apply(target, paths, &mut new, &after)?;
        if let Some(metadata) = stamp::metadata(&mut new) {
            for field in ["resourceVersion", "uid"] {
                match after["metadata"].get(field) {
                    Some(value) => metadata.insert(field.to_owned(), value.clone()),
                    None => metadata.shift_remove(field),
                };
            }
        }
        Ok(Some(new))
    };
    // A scale is a change of the object's spec, made under another name.
    let plain = Target { subresource: "", ..target };
    let object = server.update_object(Write::new(context, plain, &parameters), make).await?;
    respond::unstored(context, StatusCode::OK, &scale(paths, object.value()))
}

fn wanted(context: &Context, before: &Value, sent: &Value) -> Result<Value, Status> {
    if context.info.verb == "update" {
        return Ok(sent.clone());
    }
    let mut after = before.clone();
    match body::content_type(&context.headers) {
        "application/json-patch+json" => json_patch(&mut after, sent)?,
        "application/merge-patch+json" | "application/strategic-merge-patch+json" | "application/apply-patch+yaml" => {
            merge_patch(&mut after, sent)?
        }
        _ => {
            return Err(Status::unsupported_media_type(&[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
            ]));
        }
    }
    Ok(after)
}

fn apply(target: Target<'_>, paths: &ScalePaths, new: &mut Value, after: &Value) -> Result<(), Status> {
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
