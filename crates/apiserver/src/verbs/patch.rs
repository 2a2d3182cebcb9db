//! Changing parts of an object: JSON patch, merge patch, strategic merge patch, apply.

use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::WriteParameters;
use crate::pipeline::{Target, Write, prune, settle};
use crate::respond;
use crate::server::Server;
use crate::stamp;
use http::StatusCode;
use serde_json::Value;
use tricorn_meta::{FieldError, FieldPath, Status};
use tricorn_patch::{Writer, apply, json_patch, merge_patch, reset_fields, strategic_merge};
use tricorn_registry::Object;

/// The media types that a patch may have.
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
    Apply(Value),
}

impl Patch {
    fn parse(context: &Context, endpoint: &Endpoint, bytes: &[u8]) -> Result<Self, Status> {
        match body::content_type(&context.headers) {
            JSON_PATCH => body::json(bytes).map(Self::Json),
            MERGE_PATCH => body::json(bytes).map(Self::Merge),
            STRATEGIC_PATCH if endpoint.is_builtin() => body::json(bytes).map(Self::Strategic),
            APPLY_PATCH => body::yaml(bytes).map(Self::Apply),
            _ if endpoint.is_builtin() => Err(Status::unsupported_media_type(&[JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH])),
            _ => Err(Status::unsupported_media_type(&[JSON_PATCH, MERGE_PATCH, APPLY_PATCH])),
        }
    }
}

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Endpoint, bytes: &[u8]) -> Answer {
    let parameters = WriteParameters::parse(context)?;
    let target = Target::new(endpoint, context);
    match Patch::parse(context, endpoint, bytes)? {
        Patch::Apply(applied) => serve_apply(server, context, target, applied, &parameters).await,
        patch => {
            if parameters.force || context.query.get("force").is_some() {
                let error = FieldError::forbidden(&FieldPath::new("force"), "may not be specified for non-apply patch");
                return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![error]));
            }
            let make = |old: &Object| {
                let mut new = endpoint.shown(old.value());
                patched(endpoint, &patch, &mut new)?;
                settle(target, &mut new)?;
                prune(context, endpoint, &parameters, &mut new)?;
                Ok(Some(endpoint.to_stored(new)))
            };
            let object = server.update_object(Write::new(context, target, &parameters), make).await?;
            respond::object(context, endpoint, StatusCode::OK, &object)
        }
    }
}

fn patched(endpoint: &Endpoint, patch: &Patch, value: &mut Value) -> Result<(), Status> {
    match patch {
        Patch::Json(patch) => json_patch(value, patch),
        Patch::Merge(patch) => merge_patch(value, patch),
        Patch::Strategic(patch) => strategic_merge(endpoint.node(), value, patch),
        Patch::Apply(_) => Err(Status::internal("an apply is no patch of the stored object alone")),
    }
}

async fn serve_apply(server: &Server, context: &Context, target: Target<'_>, mut applied: Value, parameters: &WriteParameters) -> Answer {
    let endpoint = target.endpoint;
    if !parameters.named_manager {
        let error = FieldError::required(&FieldPath::new("fieldManager"), "is required for apply patch");
        return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![error]));
    }
    if applied["metadata"].get("managedFields").is_some_and(|fields| fields.as_array().is_some_and(|fields| !fields.is_empty())) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    settle(target, &mut applied)?;
    prune(context, endpoint, parameters, &mut applied)?;
    let applied = &applied;
    let make = |old: &Object| {
        let uid = stamp::text(applied, "uid");
        if !uid.is_empty() && uid != old.uid() {
            return Err(Status::conflict(
                &endpoint.group,
                &endpoint.plural,
                target.name,
                format_args!("uid mismatch: the provided object specified uid {uid}, and the existing object has uid {}", old.uid()),
            ));
        }
        let shown = endpoint.shown(old.value());
        let new = merged(target, Some(&shown), applied, parameters)?;
        Ok(Some(endpoint.to_stored(new)))
    };
    let write = Write { tracked: true, ..Write::new(context, target, parameters) };
    // Two attempts: between "not there" and the creation somebody else may create.
    for _ in 0..2 {
        match server.update_object(write, make).await {
            Err(refusal) if refusal.is_not_found() && target.subresource.is_empty() => {}
            updated => return respond::object(context, endpoint, StatusCode::OK, &*updated?),
        }
        let uid = stamp::text(applied, "uid");
        if !uid.is_empty() {
            return Err(Status::conflict(
                &endpoint.group,
                &endpoint.plural,
                target.name,
                format_args!("uid mismatch: the provided object specified uid {uid}, and no existing object was found"),
            ));
        }
        let value = endpoint.to_stored(merged(target, None, applied, parameters)?);
        match server.create_object(write, value).await {
            Err(refusal) if refusal.is_already_exists() => {}
            created => return respond::object(context, endpoint, StatusCode::CREATED, &*created?),
        }
    }
    Err(Status::conflict(
        &endpoint.group,
        &endpoint.plural,
        target.name,
        "the object is created and deleted by others at the same time; please try again",
    ))
}

fn merged(target: Target<'_>, live: Option<&Value>, applied: &Value, parameters: &WriteParameters) -> Result<Value, Status> {
    let endpoint = target.endpoint;
    let reset = reset_fields(&endpoint.plural, target.subresource, endpoint.has_status());
    let time = stamp::now().rfc3339();
    let api_version = endpoint.api_version();
    let writer = Writer {
        manager: &parameters.field_manager,
        api_version: &api_version,
        time: &time,
        subresource: target.subresource,
        builtin: endpoint.is_builtin(),
        reset: &reset,
    };
    apply(endpoint.node(), live, applied, &writer, parameters.force)
}
