//! Deleting one object: at once, after a grace period, or when its finalizers are gone.

use crate::Answer;
use crate::allocate::Held;
use crate::body;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::{DeleteParameters, Propagation};
use crate::pipeline::Target;
use crate::respond;
use crate::server::Server;
use crate::stamp;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use tricorn_admission::Operation;
use tricorn_meta::{Status, StatusDetails};
use tricorn_registry::{Object, Step};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Endpoint, bytes: &[u8]) -> Answer {
    let options = if bytes.is_empty() { Value::Null } else { body::object(&context.headers, bytes)? };
    let parameters = DeleteParameters::parse(&context.query, &options)?;
    warn_of_orphans(context, endpoint, &parameters);
    let target = Target::new(endpoint, context);
    let object = delete_object(server, context, target, &parameters).await?;
    let gone = !stamp::is_terminating(object.value()) || stamp::may_vanish(object.value());
    if gone && endpoint.plural != "pods" {
        let details = StatusDetails {
            name: target.name.to_owned(),
            group: endpoint.group.clone(),
            kind: endpoint.plural.clone(),
            uid: object.uid().to_owned(),
            ..StatusDetails::default()
        };
        return respond::status(context, StatusCode::OK, &Status::success(Some(details)));
    }
    respond::object(context, endpoint, StatusCode::OK, &object)
}

/// Deletes one object, or marks it for deletion; answers its last form.
pub(crate) async fn delete_object(
    server: &Server,
    context: &Context,
    target: Target<'_>,
    parameters: &DeleteParameters,
) -> Result<Arc<Object>, Status> {
    let endpoint = target.endpoint;
    let change = |old: Arc<Object>| async move {
        check_preconditions(target, &old, parameters)?;
        let mut request = server.admission_request(context, target, Operation::Delete, parameters.dry_run);
        request.old_object = Some(old.shared());
        let objects = server.admission_objects();
        server.admission.mutate(&mut request, &objects).await?;
        server.admission.validate(&mut request, &objects).await?;
        request.warnings.drain(..).for_each(|text| context.warn(text));
        Ok(plan(endpoint, old.value(), parameters))
    };
    let options = context.write_options(parameters.dry_run);
    let object = server.registry.update(&endpoint.stored, target.namespace, target.name, options, change).await?;
    if !parameters.dry_run {
        server.settle(target, &object, &Held::default()).await;
    }
    Ok(object)
}

fn check_preconditions(target: Target<'_>, old: &Object, parameters: &DeleteParameters) -> Result<(), Status> {
    let endpoint = target.endpoint;
    let refuse = |why: String| Err(Status::conflict(&endpoint.group, &endpoint.plural, target.name, why));
    match (&parameters.uid, &parameters.resource_version) {
        (Some(uid), _) if uid != old.uid() => {
            refuse(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.uid()))
        }
        (_, Some(version)) if *version != old.revision().to_string() => refuse(format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            old.revision()
        )),
        _ => Ok(()),
    }
}

/// What a deletion does to the object as it is.
fn plan(endpoint: &Endpoint, old: &Value, parameters: &DeleteParameters) -> Step {
    let grace = grace_seconds(endpoint, old, parameters);
    let before = stamp::finalizers(old);
    let finalizers = finalizers(&before, propagation(endpoint, &before, parameters));
    let mut new = old.clone();
    stamp::set_finalizers(&mut new, finalizers.clone());
    let held =
        !finalizers.is_empty() || (is_namespace(endpoint) && old["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty()));
    let terminating = stamp::is_terminating(old);
    if grace == 0 && !held {
        return Step::Delete;
    }
    let shorter = old["metadata"]["deletionGracePeriodSeconds"].as_i64().is_none_or(|left| grace < left);
    if terminating && !shorter && finalizers == before {
        return Step::Keep;
    }
    if !terminating || shorter {
        mark(&mut new, old, grace);
        if is_namespace(endpoint) {
            new["status"]["phase"] = json!("Terminating");
        }
        if !terminating {
            stamp::bump_generation(&mut new);
        }
    }
    Step::Put(new)
}

/// What is to become of dependents: what the client says, else what the object's finalizers say, else what the kind does.
fn propagation(endpoint: &Endpoint, finalizers: &[String], parameters: &DeleteParameters) -> Option<Propagation> {
    let decided = finalizers.iter().any(|name| name == ORPHAN || name == FOREGROUND);
    parameters.propagation.or_else(|| (!decided && orphans_by_default(endpoint)).then_some(Propagation::Orphan))
}

/// Kinds from before there was a garbage collector let go of what they own, unless told otherwise.
fn orphans_by_default(endpoint: &Endpoint) -> bool {
    matches!((endpoint.group.as_str(), endpoint.plural.as_str()), ("", "replicationcontrollers") | ("batch", "jobs"))
}

/// Tells who deletes jobs without a word on their pods that these stay.
pub(super) fn warn_of_orphans(context: &Context, endpoint: &Endpoint, parameters: &DeleteParameters) {
    if parameters.propagation.is_none() && endpoint.group == "batch" && orphans_by_default(endpoint) {
        context.warn(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or \
             set propagationPolicy=Orphan to suppress this warning",
        );
    }
}

fn is_namespace(endpoint: &Endpoint) -> bool {
    endpoint.group.is_empty() && endpoint.plural == "namespaces"
}

/// Writes when the object is to be gone.
fn mark(new: &mut Value, old: &Value, grace: i64) {
    // A shortened grace period counts from when the deletion began.
    let began = old["metadata"]["deletionTimestamp"].as_str().and_then(tricorn_meta::Timestamp::parse);
    let left = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    let start = began.map_or(stamp::now(), |at| at.plus_seconds(-left));
    if let Some(metadata) = stamp::metadata(new) {
        metadata.insert("deletionTimestamp".to_owned(), start.plus_seconds(grace).rfc3339().into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    }
}

/// Only pods have time to say goodbye, and only those that run.
fn grace_seconds(endpoint: &Endpoint, old: &Value, parameters: &DeleteParameters) -> i64 {
    if !(endpoint.group.is_empty() && endpoint.plural == "pods") {
        return 0;
    }
    let unscheduled = old["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let ended = matches!(old["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let wanted = parameters.grace_seconds.or_else(|| old["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30);
    if unscheduled || ended {
        return 0;
    }
    // A negative period means as short as can be.
    if wanted < 0 { 1 } else { wanted }
}

/// The finalizers after the client said what is to become of dependents.
fn finalizers(before: &[String], propagation: Option<Propagation>) -> Vec<String> {
    let Some(propagation) = propagation else { return before.to_vec() };
    let mut after: Vec<String> = before.iter().filter(|name| *name != ORPHAN && *name != FOREGROUND).cloned().collect();
    match propagation {
        Propagation::Orphan => after.push(ORPHAN.to_owned()),
        Propagation::Foreground => after.push(FOREGROUND.to_owned()),
        Propagation::Background => {}
    }
    after
}
