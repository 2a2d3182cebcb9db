//! Changing parts of an object: JSON patch, merge patch, strategic merge patch, apply.

use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::WriteParameters;
use crate::pipeline::{Target, Write, complain, read, settle};
use crate::respond;
use crate::server::Server;
use crate::stamp;
use http::StatusCode;
use serde_json::Value;
use tricorn_meta::{FieldError, FieldPath, Status};
use tricorn_patch::{Writer, apply, json_patch, merge_patch, reset_fields, strategic_merge};
use tricorn_registry::Object;
use tricorn_schema::Node;

/// The media types that a patch may have.
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";
const APPLY_CBOR_PATCH: &str = "application/apply-patch+cbor";

/// A patch of any sort.
pub(crate) enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
    Apply(Value),
}

impl Patch {
    /// Reads a body; only built-in kinds know how lists merge strategically.
    pub(crate) fn parse(context: &Context, endpoint: &Endpoint, parameters: &WriteParameters, bytes: &[u8]) -> Result<Self, Status> {
        let (document, sort): (_, fn(Value) -> Self) = match body::content_type(&context.headers) {
            JSON_PATCH => (body::json(bytes)?, Self::Json),
            MERGE_PATCH => (body::json(bytes)?, Self::Merge),
            STRATEGIC_PATCH if endpoint.is_builtin() => (body::json(bytes)?, Self::Strategic),
            APPLY_PATCH => (body::yaml(bytes)?, Self::Apply),
            APPLY_CBOR_PATCH => (body::cbor(bytes)?, Self::Apply),
            _ => {
                let all = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH, APPLY_CBOR_PATCH, STRATEGIC_PATCH];
                let known = if endpoint.is_builtin() { &all[..] } else { &all[..4] };
                return Err(Status::unsupported_media_type(known));
            }
        };
        complain(context, parameters, &endpoint.kind, &endpoint.version, document.twice)?;
        let patch = sort(document.value);
        patch.check(context, parameters)?;
        Ok(patch)
    }

    /// Refuses what this sort of patch cannot be asked for.
    fn check(&self, context: &Context, parameters: &WriteParameters) -> Result<(), Status> {
        let invalid = |error| Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![error]));
        match self {
            Self::Apply(_) if !parameters.named_manager => {
                invalid(FieldError::required(&FieldPath::new("fieldManager"), "is required for apply patch"))
            }
            Self::Apply(applied) => {
                let fields = applied["metadata"].get("managedFields").and_then(Value::as_array);
                if fields.is_some_and(|fields| !fields.is_empty()) {
                    return Err(Status::bad_request("metadata.managedFields must be nil"));
                }
                Ok(())
            }
            _ if parameters.force || context.query.get("force").is_some() => {
                invalid(FieldError::forbidden(&FieldPath::new("force"), "may not be specified for non-apply patch"))
            }
            _ => Ok(()),
        }
    }

    /// The refusal of a patch that makes an object which cannot be read. A strategic one is shown as it was read, others as what they make.
    fn refused(&self, target: Target<'_>, old: &Object, why: &str) -> Status {
        let shown = match self {
            Self::Strategic(patch) => printed(patch),
            _ => {
                let mut made = target.endpoint.shown(old.value());
                match self.change(target.endpoint.node(), &mut made) {
                    Ok(()) => made.to_string(),
                    Err(refusal) => return refusal,
                }
            }
        };
        Status::invalid("", "", "", vec![FieldError::invalid(&FieldPath::new("patch"), shown, why)])
    }

    /// Changes an object of the type `node`. An apply is more than a change of the object.
    pub(crate) fn change(&self, node: Node<'_>, value: &mut Value) -> Result<(), Status> {
        match self {
            Self::Json(patch) => json_patch(value, patch),
            Self::Merge(patch) => merge_patch(value, patch),
            Self::Strategic(patch) => strategic_merge(node, value, patch),
            Self::Apply(_) => Err(Status::internal("an apply is no patch of the stored object alone")),
        }
    }
}

/// A value as Go prints it.
fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}:{}", printed(value))).collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Endpoint, bytes: &[u8]) -> Answer {
    let parameters = WriteParameters::parse(context)?;
    let target = Target::new(endpoint, context);
    let patch = Patch::parse(context, endpoint, &parameters, bytes)?;
    match patch {
        Patch::Apply(applied) => serve_apply(server, context, target, applied, &parameters).await,
        patch => {
            let make = |old: &Object| {
                let mut new = endpoint.shown(old.value());
                patch.change(endpoint.node(), &mut new)?;
                settle(target, &mut new)?;
                read(context, endpoint, &parameters, &mut new, Vec::new()).map_err(|why| patch.refused(target, old, &why))?;
                Ok(Some(endpoint.to_stored(new)))
            };
            let object = server.update_object(Write::new(context, target, &parameters), make).await?;
            respond::object(context, endpoint, StatusCode::OK, &object)
        }
    }
}

async fn serve_apply(server: &Server, context: &Context, target: Target<'_>, mut applied: Value, parameters: &WriteParameters) -> Answer {
    let endpoint = target.endpoint;
    // Nothing is pruned: a configuration with fields that the kind does not have cannot be applied.
    settle(target, &mut applied)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_is_shown_as_it_was_read() {
        let patch = json!({"spec": {"replicas": "x", "list": [1, null, {"b": true, "a": ""}]}});
        assert_eq!(printed(&patch), "map[spec:map[list:[1 <nil> map[a: b:true]] replicas:x]]");
    }
}
