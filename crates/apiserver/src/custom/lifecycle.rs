//! From a CustomResourceDefinition that somebody wrote to endpoints that are served, and back.

use super::kind::{endpoints, stored_endpoint};
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::DeleteParameters;
use crate::pipeline::Target;
use crate::server::Server;
use crate::stamp;
use crate::verbs::delete_object;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tricorn_meta::{Status, UserInfo};
use tricorn_registry::{ListQuery, Object, Paged, Predicate, Step, StoredResource, Version, Watch, WriteOptions};

/// Pause before what broke is begun again, and before a cleanup that is not done is looked at again: whoever holds its objects writes to them and not to
/// the definition.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Held on a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// One cleanup deletes at most this many objects before others get their turn, so many of them at a time.
const CLEANUP_BATCH: usize = 1024;
const CLEANUP_PARALLEL: usize = 16;

fn definitions() -> StoredResource {
    StoredResource::builtin("apiextensions.k8s.io", "customresourcedefinitions", false)
}

/// Follows the definitions for as long as the server runs.
pub(crate) async fn run(server: Arc<Server>) {
    let mut leadership = server.registry.store().leadership();
    loop {
        if let Err(error) = follow(&server, &mut leadership, |now| now.is_leader).await {
            tracing::warn!(%error, "custom resource definitions could not be followed; trying again");
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// `leads` reads out of `leadership` whether this server leads.
async fn follow<L>(server: &Server, leadership: &mut watch::Receiver<L>, leads: fn(&L) -> bool) -> Result<(), Status> {
    let stored = definitions();
    let (mut all, _, mut changes) = server.registry.watch_list(&stored, None, Version::Any, Predicate::all()).await?;
    let cache = server.registry.cache(&stored);
    loop {
        publish(server, &all);
        loop {
            let leading = leads(&leadership.borrow_and_update());
            let done = look_after(server, &all, leading).await;
            tokio::select! {
                changed = next_change(&mut changes) => {
                    changed?;
                    break;
                }
                // A new leader goes on where the last one stopped, whether a definition changes or not.
                changed = leadership.changed() => changed.map_err(|_| Status::service_unavailable("the store has stopped"))?,
                () = tokio::time::sleep(RETRY_PAUSE), if !done => {}
            }
        }
        all = cache.all();
    }
}

async fn next_change(changes: &mut Watch) -> Result<(), Status> {
    while changes.next().await?.events.is_empty() {}
    Ok(())
}

/// Serves what the definitions define. One that is on its way out is served until its objects are gone.
fn publish(server: &Server, all: &[Arc<Object>]) {
    let good = all.iter().filter(|crd| stamp::is_terminating(crd.value()) || conflict(crd, all).is_none());
    let custom = good.flat_map(|crd| endpoints(crd.value())).collect();
    let next = server.endpoints.load().with_custom(custom);
    server.endpoints.store(Arc::new(next));
}

/// Establishes what is new, then cleans up behind what is to go; neither waits for another definition's trouble. Says whether nothing is left to do.
async fn look_after(server: &Server, all: &[Arc<Object>], leads: bool) -> bool {
    let (going, staying): (Vec<_>, Vec<_>) = all.iter().partition(|crd| stamp::is_terminating(crd.value()));
    let mut done = true;
    for crd in staying {
        if let Err(error) = establish(server, crd, conflict(crd, all)).await {
            tracing::warn!(definition = crd.name(), %error, "a custom resource definition could not be established yet");
            done = false;
        }
    }
    // One server cleans up: the leader.
    for crd in going.into_iter().filter(|_| leads) {
        done &= clean_up(server, crd).await.unwrap_or_else(|error| {
            tracing::warn!(definition = crd.name(), %error, "objects of a custom resource definition could not be deleted yet");
            false
        });
    }
    done
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

/// Deletes what a terminating definition defined, then lets it go. Says whether it is done: finalizers may hold some of the objects.
async fn clean_up(server: &Server, crd: &Arc<Object>) -> Result<bool, Status> {
    if !stamp::finalizers(crd.value()).iter().any(|name| name == CLEANUP) {
        return Ok(true);
    }
    if let Some(endpoint) = stored_endpoint(crd.value()) {
        delete_objects(server, &endpoint).await?;
        let left = objects(server, &endpoint).await?.len();
        if left > 0 {
            tracing::debug!(definition = crd.name(), left, "objects are still there");
            return Ok(false);
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
        _ => Ok(true),
    }
}

async fn objects(server: &Server, endpoint: &Endpoint) -> Result<Vec<Arc<Object>>, Status> {
    match server.registry.list(&endpoint.stored, &ListQuery::default()).await? {
        Paged::Page(listing) => Ok(listing.objects),
        Paged::Expired { message, .. } => Err(Status::expired(message)),
    }
}

/// Deletes a batch of what is not on its way out yet. One that cannot be deleted keeps none of the others.
async fn delete_objects(server: &Server, endpoint: &Endpoint) -> Result<(), Status> {
    let context = &Context::internal(UserInfo::new("system:apiserver", ["system:masters"]));
    let parameters = &DeleteParameters::default();
    let staying = objects(server, endpoint).await?.into_iter().filter(|object| !stamp::is_terminating(object.value()));
    let deletions = staying.take(CLEANUP_BATCH).map(|object| async move {
        let target = Target { endpoint, subresource: "", namespace: object.namespace(), name: object.name() };
        match delete_object(server, context, target, parameters).await {
            Err(refusal) if !refusal.is_not_found() => Err(refusal),
            _ => Ok(()),
        }
    });
    let results: Vec<_> = stream::iter(deletions).buffer_unordered(CLEANUP_PARALLEL).collect().await;
    results.into_iter().collect()
}

#[cfg(test)]
mod tests;
