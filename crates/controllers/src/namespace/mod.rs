//! Empties namespaces that are being deleted, then lets them go.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, ListParams};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Api, ResourceExt};
use tricorn_client::{Context as _, Key, Next, Objects, Queue, RequestError, Shared};

use self::plan::{Leftover, conditions};
use crate::context::{Context, now};
use crate::discovery::{self, Found};
use crate::supervise::Failure;

/// Namespaces that are emptied at a time.
const WORKERS: usize = 4;
/// The finalizer that stands for a namespace's content.
const FINALIZER: &str = "kubernetes";
/// Pause before content that goes away by itself is looked for again, in seconds.
const LOOK_AGAIN_SECONDS: u64 = 1;

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let objects = Arc::new(context.objects("namespace-controller"));
    let namespaces = context.informers.of::<Namespace>();
    namespaces.synced().await;
    let queue = Queue::new("namespace");
    let wake = queue.clone();
    namespaces.on_change(move |change| {
        if change.latest().metadata.deletion_timestamp.is_some() {
            wake.add(Key::of(change.latest().as_ref()));
        }
    });
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let (objects, namespaces) = (objects.clone(), namespaces.clone());
            async move { sync(&objects, &namespaces, &key).await }
        })
        .await;
    Ok(())
}

async fn sync(objects: &Objects, namespaces: &Shared<Namespace>, key: &Key) -> Result<Next, RequestError> {
    let Some(namespace) = namespaces.get(key) else { return Ok(Next::Done) };
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    if namespace.metadata.deletion_timestamp.is_none() || !finalizers.iter().any(|name| name == FINALIZER) {
        return Ok(Next::Done);
    }
    let (resources, complete) = discovery::resources(objects.client()).await?;
    let wanted = resources.into_iter().filter(|found| found.namespaced && found.offers(&["delete", "list"]));
    let (pods, others): (Vec<Found>, Vec<Found>) =
        wanted.partition(|found| found.resource.plural == "pods" && found.resource.group.is_empty());
    let mut left = Vec::new();
    let mut failure = None;
    // Pods go first, so that nothing they need is taken from under them.
    for group in [pods, others] {
        for found in group {
            match empty(objects, &key.name, &found).await {
                Ok(None) => {}
                Ok(Some(leftover)) => left.push(leftover),
                Err(error) => failure = Some(error),
            }
        }
        if !left.is_empty() || failure.is_some() {
            break;
        }
    }
    let done = left.is_empty() && failure.is_none() && complete;
    if done {
        let mut finalized = namespace.as_ref().clone();
        if let Some(spec) = &mut finalized.spec {
            spec.finalizers = Some(finalizers.into_iter().filter(|name| name != FINALIZER).collect());
        }
        return match objects.update_subresource("finalize", &finalized).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Done),
        };
    }
    report(objects, &namespace, &left, failure.as_ref(), complete).await?;
    match failure {
        Some(error) => Err(error),
        None => Ok(Next::After(Duration::from_secs(LOOK_AGAIN_SECONDS))),
    }
}

/// Deletes all objects of a resource in a namespace and tells what is still there.
async fn empty(objects: &Objects, namespace: &str, found: &Found) -> Result<Option<Leftover>, RequestError> {
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::namespaced_with(objects.client().clone(), namespace, &found.resource);
    let what = || format!("{} in namespace {namespace}", found.label());
    let list = api.list(&ListParams::default()).await.context("list", what)?;
    if list.items.is_empty() {
        return Ok(None);
    }
    if found.offers(&["deletecollection"]) {
        let api: Api<DynamicObject> = Api::namespaced_with(objects.client().clone(), namespace, &found.resource);
        api.delete_collection(&DeleteParams::background(), &ListParams::default()).await.context("delete", what)?;
    } else {
        let api: Api<DynamicObject> = Api::namespaced_with(objects.client().clone(), namespace, &found.resource);
        for object in &list.items {
            match api.delete(&object.name_any(), &DeleteParams::background()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => {
                    other.context("delete", what)?;
                }
            }
        }
    }
    let list = api.list(&ListParams::default()).await.context("list", what)?;
    let finalizers = list.items.iter().flat_map(|object| object.finalizers().to_vec()).collect();
    Ok((!list.items.is_empty()).then(|| Leftover { resource: found.label(), count: list.items.len(), finalizers }))
}

async fn report(
    objects: &Objects,
    namespace: &Namespace,
    left: &[Leftover],
    failure: Option<&RequestError>,
    complete: bool,
) -> Result<(), RequestError> {
    let mut status = namespace.status.clone().unwrap_or_default();
    let mut all = status.conditions.take().unwrap_or_default();
    for wanted in conditions(left, failure.map(ToString::to_string), complete) {
        let same = |known: &&mut NamespaceCondition| known.type_ == wanted.kind;
        match all.iter_mut().find(same) {
            Some(known) if known.status == wanted.status && known.message.as_deref() == Some(wanted.message.as_str()) => {}
            Some(known) => {
                if known.status != wanted.status {
                    known.last_transition_time = Some(Time(now()));
                }
                known.status = wanted.status.to_owned();
                known.reason = Some(wanted.reason.to_owned());
                known.message = Some(wanted.message);
            }
            None => all.push(NamespaceCondition {
                type_: wanted.kind.to_owned(),
                status: wanted.status.to_owned(),
                reason: Some(wanted.reason.to_owned()),
                message: Some(wanted.message),
                last_transition_time: Some(Time(now())),
            }),
        }
    }
    status.conditions = Some(all);
    if namespace.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut updated = namespace.clone();
    updated.status = Some(status);
    match objects.update_status(&updated).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}
