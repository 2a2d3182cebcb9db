//! Claims, volumes and classes of volume attributes stay for as long as somebody uses them: admission gives them a finalizer, and this takes it
//! off those that are deleted once nobody does.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use tricorn_client::{Change, Key, Kind, Next, Objects, Queue, RequestError, Shared};

use crate::context::Context;
use crate::supervise::Failure;

const WORKERS: usize = 2;
const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";
const OF_CLASSES: &str = "kubernetes.io/vac-protection";

/// Runs the controllers until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    tokio::join!(claims(&context), volumes(&context), classes(&context));
    Ok(())
}

/// Whether an object is deleted and waits for this finalizer alone, or among others.
fn waits<K: Kind>(object: &K, finalizer: &str) -> bool {
    object.meta().deletion_timestamp.is_some() && object.finalizers().iter().any(|name| name == finalizer)
}

/// A queue of the objects that wait for a finalizer, whenever they change.
fn waiting<K: Kind>(name: &'static str, objects: &Shared<K>, finalizer: &'static str) -> Queue<Key> {
    let queue = Queue::new(name);
    let wake = queue.clone();
    objects.on_change(move |change| {
        if waits(change.latest().as_ref(), finalizer) {
            wake.add(Key::of(change.latest().as_ref()));
        }
    });
    queue
}

/// Takes the finalizer off; whoever changed the object meanwhile makes it be looked at again.
async fn release<K: Kind>(objects: &Objects, object: &K, finalizer: &str) -> Result<Next, RequestError> {
    let left: Vec<&String> = object.finalizers().iter().filter(|name| *name != finalizer).collect();
    let patch = json!({"metadata": {"finalizers": left, "resourceVersion": object.resource_version()}});
    match objects.merge::<K>(object.namespace().as_deref(), &object.name_any(), patch).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(Next::Done),
    }
}

async fn claims(context: &Context) {
    let objects = Arc::new(context.objects("pvc-protection-controller"));
    let (claims, pods) = (context.informers.of::<PersistentVolumeClaim>(), context.informers.of::<Pod>());
    claims.synced().await;
    pods.synced().await;
    let queue = waiting("pvc-protection", &claims, OF_CLAIMS);
    let wake = queue.clone();
    pods.on_change(move |change| {
        if let Change::Deleted(pod) = change {
            let namespace = pod.namespace().unwrap_or_default();
            claims_of(pod).into_iter().for_each(|name| wake.add(Key::new(namespace.clone(), name)));
        }
    });
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let (objects, claims) = (objects.clone(), claims.clone());
            async move {
                let Some(claim) = claims.get(&key).filter(|claim| waits(claim.as_ref(), OF_CLAIMS)) else { return Ok(Next::Done) };
                // What the cache does not know yet may use it: so the API is asked.
                let pods = objects.list::<Pod>(key.namespace(), &ListParams::default()).await?;
                let used = pods.iter().any(|pod| is_scheduled(pod) && claims_of(pod).contains(&key.name));
                if used { Ok(Next::Done) } else { release(&objects, claim.as_ref(), OF_CLAIMS).await }
            }
        })
        .await;
}

/// A pod that has no node yet will not be started with a claim that goes.
fn is_scheduled(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty())
}

/// The claims of a pod: those it names, and those that are made for it.
fn claims_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{}", pod.name_any(), volume.name)),
            (None, None) => None,
        })
        .collect()
}

async fn volumes(context: &Context) {
    let objects = Arc::new(context.objects("pv-protection-controller"));
    let volumes = context.informers.of::<PersistentVolume>();
    volumes.synced().await;
    let queue = waiting("pv-protection", &volumes, OF_VOLUMES);
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let (objects, volumes) = (objects.clone(), volumes.clone());
            async move {
                let unbound = volumes.get(&key).filter(|volume| waits(volume.as_ref(), OF_VOLUMES) && !is_bound(volume));
                match unbound {
                    Some(volume) => release(&objects, volume.as_ref(), OF_VOLUMES).await,
                    None => Ok(Next::Done),
                }
            }
        })
        .await;
}

fn is_bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

async fn classes(context: &Context) {
    let objects = Arc::new(context.objects("volumeattributesclass-protection-controller"));
    let classes = context.informers.of::<VolumeAttributesClass>();
    let (claims, volumes) = (context.informers.of::<PersistentVolumeClaim>(), context.informers.of::<PersistentVolume>());
    classes.synced().await;
    claims.synced().await;
    volumes.synced().await;
    let queue = waiting("vac-protection", &classes, OF_CLASSES);
    let wake = queue.clone();
    claims.on_change(move |change| let_go(&wake, change, classes_of_claim));
    let wake = queue.clone();
    volumes.on_change(move |change| let_go(&wake, change, |volume| class_of_volume(volume).into_iter().collect()));
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let (objects, classes) = (objects.clone(), classes.clone());
            async move {
                let Some(class) = classes.get(&key).filter(|class| waits(class.as_ref(), OF_CLASSES)) else { return Ok(Next::Done) };
                let claims = objects.list::<PersistentVolumeClaim>(None, &ListParams::default()).await?;
                let volumes = objects.list::<PersistentVolume>(None, &ListParams::default()).await?;
                let used = claims.iter().any(|claim| classes_of_claim(claim).contains(&key.name))
                    || volumes.iter().any(|volume| class_of_volume(volume).as_ref() == Some(&key.name));
                if used { Ok(Next::Done) } else { release(&objects, class.as_ref(), OF_CLASSES).await }
            }
        })
        .await;
}

/// Wakes the classes that an object used, and may use no more.
fn let_go<K>(queue: &Queue<Key>, change: &Change<K>, classes: impl Fn(&K) -> Vec<String>) {
    let before = match change {
        Change::Added(_) => return,
        Change::Updated { old, .. } => old,
        Change::Deleted(object) => object,
    };
    classes(before).into_iter().for_each(|name| queue.add(Key::new("", name)));
}

/// The classes that a claim has, wants, or is on its way to.
fn classes_of_claim(claim: &PersistentVolumeClaim) -> Vec<String> {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.clone());
    let target = status.and_then(|status| status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.clone());
    [wanted, current, target].into_iter().flatten().collect()
}

fn class_of_volume(volume: &PersistentVolume) -> Option<String> {
    volume.spec.as_ref()?.volume_attributes_class_name.clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pod_uses_what_it_names_and_what_is_made_for_it() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [], "volumes": [
            {"name": "a", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "b", "ephemeral": {}}, {"name": "d", "emptyDir": {}}]}}))
        .unwrap();
        assert_eq!(claims_of(&pod), ["c", "p-b"]);
        assert!(is_scheduled(&pod));
    }

    #[test]
    fn only_what_is_deleted_waits() {
        let claim = |deleted: serde_json::Value| -> PersistentVolumeClaim {
            serde_json::from_value(json!({"metadata": {"name": "c", "finalizers": ["x", OF_CLAIMS], "deletionTimestamp": deleted},
                "spec": {"volumeAttributesClassName": "gold"}, "status": {"currentVolumeAttributesClassName": "silver"}}))
            .unwrap()
        };
        assert!(waits(&claim(json!("2026-01-01T00:00:00Z")), OF_CLAIMS));
        assert!(!waits(&claim(json!(null)), OF_CLAIMS));
        assert_eq!(classes_of_claim(&claim(json!(null))), ["gold", "silver"]);
    }
}
