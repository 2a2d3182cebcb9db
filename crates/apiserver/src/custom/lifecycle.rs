//! From a CustomResourceDefinition that somebody wrote to endpoints that are served, and back.

use super::kind::endpoints;
use crate::context::Context;
use crate::options::DeleteParameters;
use crate::pipeline::Target;
use crate::server::Server;
use crate::stamp;
use crate::verbs::delete_object;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tricorn_meta::{Status, UserInfo};
use tricorn_registry::{ListQuery, Object, Paged, Predicate, Step, StoredResource, Version, WriteOptions};

const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Held on a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

fn definitions() -> StoredResource {
    StoredResource::builtin("apiextensions.k8s.io", "customresourcedefinitions", false)
}

/// Follows the definitions for as long as the server runs.
pub(crate) async fn run(server: Arc<Server>) {
    loop {
        if let Err(error) = follow(&server).await {
            tracing::warn!(%error, "custom resource definitions could not be followed; trying again");
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn follow(server: &Arc<Server>) -> Result<(), Status> {
    let stored = definitions();
    let (objects, _, mut watch) = server.registry.watch_list(&stored, None, Version::Any, Predicate::all()).await?;
    let cache = server.registry.cache(&stored);
    take_up(server, &objects).await?;
    loop {
        if !watch.next().await?.events.is_empty() {
            take_up(server, &cache.all()).await?;
        }
    }
}

async fn take_up(server: &Arc<Server>, all: &[Arc<Object>]) -> Result<(), Status> {
    let mut custom = Vec::new();
    for crd in all {
        if stamp::is_terminating(crd.value()) {
            custom.extend(endpoints(crd.value()));
        } else if conflict(crd, all).is_none() {
            custom.extend(endpoints(crd.value()));
        }
    }
    let next = server.endpoints.load().with_custom(custom);
    server.endpoints.store(Arc::new(next));
    for crd in all {
        if stamp::is_terminating(crd.value()) {
            clean_up(server, crd).await?;
        } else {
            establish(server, crd, conflict(crd, all)).await?;
        }
    }
    Ok(())
}

/// The definition that took one of this one's names before it, in words.
fn conflict(crd: &Object, all: &[Arc<Object>]) -> Option<String> {
    let names = |object: &Object| {
        let names = &object.value()["spec"]["names"];
        (object.value()["spec"]["group"].clone(), names["plural"].clone(), names["kind"].clone())
    };
    let (group, plural, kind) = names(crd);
    let older = |other: &&Arc<Object>| {
        let created = |object: &Object| (stamp::text(object.value(), "creationTimestamp").to_owned(), object.name().to_owned());
        other.uid() != crd.uid() && created(other) < created(crd)
    };
    let taken =
        all.iter().filter(older).map(|other| names(other)).find(|other| other.0 == group && (other.1 == plural || other.2 == kind))?;
    Some(if taken.1 == plural { format!("{plural} is already in use") } else { format!("{kind} is already in use") })
}

/// Writes the conditions, once.
async fn establish(server: &Server, crd: &Arc<Object>, conflict: Option<String>) -> Result<(), Status> {
    let change = |current: Arc<Object>| {
        let conflict = conflict.clone();
        async move {
            let next = established(current.value(), conflict.as_deref());
            Ok(if next == *current.value() { Step::Keep } else { Step::Put(next) })
        }
    };
    // Most wake-ups change nothing: that is seen without the store.
    if established(crd.value(), conflict.as_deref()) == *crd.value() {
        return Ok(());
    }
    match server.registry.update(&definitions(), "", crd.name(), WriteOptions::default(), change).await {
        Err(refusal) if !refusal.is_not_found() => Err(refusal),
        _ => Ok(()),
    }
}

fn established(crd: &Value, conflict: Option<&str>) -> Value {
    let mut next = crd.clone();
    let spec = &crd["spec"];
    let stored =
        spec["versions"].as_array().into_iter().flatten().find(|version| version["storage"] == true).map(|version| version["name"].clone());
    if conflict.is_none() {
        next["status"]["acceptedNames"] = spec["names"].clone();
    } else if next["status"]["acceptedNames"].is_null() {
        next["status"]["acceptedNames"] = json!({"plural": "", "kind": ""});
    }
    let mut versions = next["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    if let Some(stored) = stored
        && !versions.contains(&stored)
    {
        versions.push(stored);
    }
    next["status"]["storedVersions"] = versions.into();
    let (accepted, reason, message) = match conflict {
        None => ("True", "NoConflicts", "no conflicts found".to_owned()),
        Some(why) => ("False", "NamesConflict", why.to_owned()),
    };
    condition(&mut next, "NamesAccepted", accepted, reason, &message);
    let (reason, message) = if accepted == "True" {
        ("InitialNamesAccepted", "the initial names have been accepted")
    } else {
        ("NotAccepted", "not all names are accepted")
    };
    condition(&mut next, "Established", accepted, reason, message);
    let mut finalizers = stamp::finalizers(&next);
    if !finalizers.iter().any(|name| name == CLEANUP) {
        finalizers.push(CLEANUP.to_owned());
        stamp::set_finalizers(&mut next, finalizers);
    }
    next
}

fn condition(crd: &mut Value, kind: &str, status: &str, reason: &str, message: &str) {
    if !crd["status"]["conditions"].is_array() {
        crd["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = crd["status"]["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(condition) if condition["status"] == status => {}
        Some(condition) => {
            *condition =
                json!({"type": kind, "status": status, "lastTransitionTime": stamp::now().rfc3339(), "reason": reason, "message": message});
        }
        None => conditions.push(
            json!({"type": kind, "status": status, "lastTransitionTime": stamp::now().rfc3339(), "reason": reason, "message": message}),
        ),
    }
}

/// Deletes what a terminating definition defined, then lets it go. One server does it: the leader.
async fn clean_up(server: &Server, crd: &Arc<Object>) -> Result<(), Status> {
    if !server.registry.store().leadership().borrow().is_leader || !stamp::finalizers(crd.value()).iter().any(|name| name == CLEANUP) {
        return Ok(());
    }
    let context = Context::internal(UserInfo::new("system:apiserver", ["system:masters"]));
    if let Some(endpoint) = endpoints(crd.value()).into_iter().next() {
        let Paged::Page(listing) = server.registry.list(&endpoint.stored, &ListQuery::default()).await? else {
            return Err(Status::internal("a whole list cannot have expired"));
        };
        for object in &listing.objects {
            let target = Target { endpoint: &endpoint, subresource: "", namespace: object.namespace(), name: object.name() };
            match delete_object(server, &context, target, &DeleteParameters::default()).await {
                Err(refusal) if !refusal.is_not_found() => return Err(refusal),
                _ => {}
            }
        }
        let Paged::Page(left) = server.registry.list(&endpoint.stored, &ListQuery::default()).await? else { return Ok(()) };
        if !left.objects.is_empty() {
            // Finalizers hold some of them; their owners write, but not to this definition: look again soon.
            return Err(Status::internal(format!("{} objects of {} are still held by finalizers", left.objects.len(), crd.name())));
        }
    }
    let change = |current: Arc<Object>| async move {
        let mut next = current.value().clone();
        let left: Vec<_> = stamp::finalizers(&next).into_iter().filter(|name| name != CLEANUP).collect();
        stamp::set_finalizers(&mut next, left);
        Ok(if stamp::may_vanish(&next) { Step::Delete } else { Step::Put(next) })
    };
    match server.registry.update(&definitions(), "", crd.name(), WriteOptions::default(), change).await {
        Err(refusal) if !refusal.is_not_found() => Err(refusal),
        _ => Ok(()),
    }
}
