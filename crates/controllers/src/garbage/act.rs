//! Asks the server about objects of any kind, and changes or deletes them.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Api, Client};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tricorn_client::{Context as _, Next, Queue, RequestError};

use super::graph::{FOREGROUND, Graph, Identity, Item, ORPHAN, Wake};
use super::plan::{Decision, OwnerState, Policy, decide};
use crate::discovery::Found;

/// The graph, and what is needed to act on it.
pub(super) struct Collector {
    pub(super) client: Client,
    pub(super) graph: Mutex<Graph>,
    /// Resources by group and kind.
    pub(super) kinds: RwLock<HashMap<(String, String), Arc<Found>>>,
    pub(super) deletions: Queue<String>,
    pub(super) orphans: Queue<String>,
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

impl Collector {
    /// Puts what was woken in the queues.
    pub(super) fn wake(&self, wake: Wake) {
        wake.delete.into_iter().for_each(|uid| self.deletions.add(uid));
        wake.orphan.into_iter().for_each(|uid| self.orphans.add(uid));
    }

    fn found(&self, id: &Identity) -> Option<Arc<Found>> {
        self.kinds.read().get(&(group_of(&id.api_version).to_owned(), id.kind.clone())).cloned()
    }

    fn api<K>(&self, id: &Identity, found: &Found) -> Api<K>
    where
        K: kube::Resource<DynamicType = kube::core::ApiResource, Scope = kube::core::DynamicResourceScope>,
    {
        if found.namespaced {
            Api::namespaced_with(self.client.clone(), &id.namespace, &found.resource)
        } else {
            Api::all_with(self.client.clone(), &found.resource)
        }
    }

    /// The object as the server has it now; none if it is gone, or another one has its name.
    async fn live(&self, id: &Identity) -> Result<Option<ObjectMeta>, RequestError> {
        let Some(found) = self.found(id) else { return Err(unknown_kind(id)) };
        if found.namespaced && id.namespace.is_empty() {
            return Ok(None);
        }
        let api: Api<PartialObjectMeta<DynamicObject>> = self.api(id, &found);
        let object = api.get_opt(&id.name).await.context("get", || describe(id))?;
        Ok(object.map(|object| object.metadata).filter(|meta| meta.uid.as_deref() == Some(&id.uid)))
    }

    async fn patch(&self, id: &Identity, patch: Value) -> Result<(), RequestError> {
        let Some(found) = self.found(id) else { return Err(unknown_kind(id)) };
        let api: Api<PartialObjectMeta<DynamicObject>> = self.api(id, &found);
        let params = PatchParams { field_manager: Some("generic-garbage-collector".to_owned()), ..PatchParams::default() };
        match api.patch(&id.name, &params, &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.context("patch", || describe(id)).map(|_| ()),
        }
    }

    async fn delete(&self, id: &Identity, meta: &ObjectMeta, policy: Policy) -> Result<(), RequestError> {
        let Some(found) = self.found(id) else { return Err(unknown_kind(id)) };
        let api: Api<DynamicObject> = self.api(id, &found);
        let params = DeleteParams {
            propagation_policy: Some(match policy {
                Policy::Background => PropagationPolicy::Background,
                Policy::Foreground => PropagationPolicy::Foreground,
                Policy::Orphan => PropagationPolicy::Orphan,
            }),
            preconditions: Some(Preconditions {
                uid: Some(id.uid.clone()),
                resource_version: meta.resource_version.clone().filter(|_| policy != Policy::Foreground),
            }),
            ..DeleteParams::default()
        };
        match api.delete(&id.name, &params).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.context("delete", || describe(id)).map(|_| ()),
        }
    }

    /// Looks at one object: whether its owners still hold it, or, if it waits for its dependents, whether they are gone.
    pub(super) async fn try_delete(&self, uid: &str) -> Result<Next, RequestError> {
        let Some(item) = self.graph.lock().get(uid).cloned() else { return Ok(Next::Done) };
        if item.deleting && !item.foreground {
            return Ok(Next::Done);
        }
        let Some(meta) = self.live(&item.id).await? else {
            if item.rumoured {
                let wake = self.graph.lock().remove(uid);
                self.wake(wake);
            }
            return Ok(Next::Done);
        };
        if item.foreground {
            return self.finish_foreground(&item, &meta).await;
        }
        let mut states = Vec::new();
        for owner in meta.owner_references.iter().flatten() {
            states.push((owner.uid.clone(), self.owner_state(owner, &item.id.namespace).await?));
        }
        match decide(&meta, &states, !item.dependents.is_empty()) {
            Decision::Keep => {}
            Decision::Disown(gone) => self.disown(&item.id, &meta, &gone).await?,
            Decision::Delete(policy) => self.delete(&item.id, &meta, policy).await?,
        }
        Ok(Next::Done)
    }

    async fn owner_state(&self, owner: &OwnerReference, namespace: &str) -> Result<OwnerState, RequestError> {
        let id = Identity {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            namespace: namespace.to_owned(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        };
        let known = self.graph.lock().get(&owner.uid).filter(|item| !item.rumoured).cloned();
        // An object in the graph under the same coordinates is enough; anything else is asked for.
        if let Some(item) = known
            && item.id.kind == id.kind
            && item.id.name == id.name
            && group_of(&item.id.api_version) == group_of(&id.api_version)
            && (item.id.namespace.is_empty() || item.id.namespace == id.namespace)
        {
            return Ok(if item.foreground { OwnerState::Waiting } else { OwnerState::Solid });
        }
        let Some(meta) = self.live(&id).await? else { return Ok(OwnerState::Gone) };
        let waits = meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(|finalizer| finalizer == FOREGROUND);
        Ok(if waits { OwnerState::Waiting } else { OwnerState::Solid })
    }

    async fn finish_foreground(&self, item: &Item, meta: &ObjectMeta) -> Result<Next, RequestError> {
        let blocking: Vec<(String, bool)> = {
            let graph = self.graph.lock();
            graph.blocking(&item.id.uid).into_iter().map(|dependent| (dependent.id.uid.clone(), dependent.foreground)).collect()
        };
        if blocking.is_empty() {
            self.drop_finalizer(&item.id, meta, FOREGROUND).await?;
            return Ok(Next::Done);
        }
        blocking.into_iter().filter(|(_, foreground)| !foreground).for_each(|(uid, _)| self.deletions.add(uid));
        Ok(Next::Done)
    }

    async fn drop_finalizer(&self, id: &Identity, meta: &ObjectMeta, finalizer: &str) -> Result<(), RequestError> {
        let left: Vec<&String> = meta.finalizers.iter().flatten().filter(|name| *name != finalizer).collect();
        if left.len() == meta.finalizers.as_ref().map_or(0, Vec::len) {
            return Ok(());
        }
        self.patch(id, json!({"metadata": {"uid": id.uid, "resourceVersion": meta.resource_version, "finalizers": left}})).await
    }

    async fn disown(&self, id: &Identity, meta: &ObjectMeta, gone: &[String]) -> Result<(), RequestError> {
        let left: Vec<&OwnerReference> = meta.owner_references.iter().flatten().filter(|owner| !gone.contains(&owner.uid)).collect();
        self.patch(id, json!({"metadata": {"uid": id.uid, "resourceVersion": meta.resource_version, "ownerReferences": left}})).await
    }

    /// Lets the dependents of an object go, then the object itself.
    pub(super) async fn try_orphan(&self, uid: &str) -> Result<Next, RequestError> {
        let (item, dependents) = {
            let graph = self.graph.lock();
            (graph.get(uid).cloned(), graph.dependents(uid))
        };
        let Some(item) = item else { return Ok(Next::Done) };
        for dependent in dependents {
            if let Some(meta) = self.live(&dependent.id).await? {
                self.disown(&dependent.id, &meta, std::slice::from_ref(&item.id.uid)).await?;
            }
        }
        if let Some(meta) = self.live(&item.id).await? {
            self.drop_finalizer(&item.id, &meta, ORPHAN).await?;
        }
        Ok(Next::Done)
    }
}

fn describe(id: &Identity) -> String {
    if id.namespace.is_empty() { format!("{} {}", id.kind, id.name) } else { format!("{} {}/{}", id.kind, id.namespace, id.name) }
}

/// The kind is not served (any more, or yet): nothing can be said about its objects.
fn unknown_kind(id: &Identity) -> RequestError {
    let text = format!("no resource is known for kind {} of {}", id.kind, id.api_version);
    let status = kube::core::Status::failure(&text, "NoKindMatch").boxed();
    RequestError { operation: "find the resource of", object: describe(id), source: kube::Error::Api(status) }
}
