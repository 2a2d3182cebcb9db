//! Objects of the Kubernetes API: made, changed if they are still what they were, deleted; and an informer on each server that lists, then
//! watches, and must end with what the store holds.

use super::{Actor, Needs, Workload};
use crate::check::informer::{Cache, INFORMER, Informer, TRUTH, Truth};
use crate::check::object::{CREATE, Create, DELETE, Delete, Found, GET, UPDATE, Update, Written};
use crate::history::{Process, Recorder};
use crate::target::{System, version};
use async_trait::async_trait;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{self, Event};
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const OBJECTS: u32 = 6;
const VALUE: &str = "value";
const RESOURCE: &str = "configmaps";
/// Informers are processes of their own, far from the numbers of the others.
const FIRST: u64 = 1_000_000;
/// In the end an informer is given so long to hear of what it still has to hear of.
const LAST: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

static NEXT: AtomicI64 = AtomicI64::new(1);

/// See above.
pub struct Objects;

fn object(name: &str, value: i64, resource_version: Option<i64>) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object.metadata.resource_version = resource_version.map(|version| version.to_string());
    object.data = Some(BTreeMap::from([(VALUE.to_owned(), value.to_string())]));
    object
}

async fn get(actor: &mut Actor, name: &str) -> Option<Found> {
    let request = Delete { name: name.to_owned() };
    let found = actor.noted_api(GET, &request, async |api| {
        let found = api.get(name).await?;
        let value = |object: &ConfigMap| object.data.as_ref().and_then(|data| data.get(VALUE)?.parse().ok()).unwrap_or(0);
        Ok(found.map_or(Found::default(), |object| Found { resource_version: version(&object), value: value(&object) }))
    });
    found.await
}

async fn inform(system: &dyn System, recorder: &Recorder, number: usize, stop: CancellationToken) {
    let node = system.names()[number].clone();
    let Some(group) = system.api() else { return };
    let Ok(client) = group.client(&node).await else { return };
    let mut cache = Cache::default();
    let mut listing = BTreeMap::new();
    let mut events = watcher::watcher(client.objects.clone(), watcher::Config::default()).boxed();
    let leave = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST).await;
    };
    tokio::pin!(leave);
    loop {
        let event = tokio::select! {
            () = &mut leave => break,
            event = events.next() => event,
        };
        let name = |object: &ConfigMap| object.metadata.name.clone().unwrap_or_default();
        match event {
            Some(Ok(Event::Apply(object))) => {
                cache.objects.insert(name(&object), version(&object));
                cache.seen.push((name(&object), version(&object)));
                cache.revision = cache.revision.max(version(&object));
            }
            Some(Ok(Event::Delete(object))) => {
                cache.objects.remove(&name(&object));
                cache.seen.push((name(&object), version(&object)));
                cache.revision = cache.revision.max(version(&object));
            }
            Some(Ok(Event::Init)) => listing.clear(),
            Some(Ok(Event::InitApply(object))) => {
                cache.seen.push((name(&object), version(&object)));
                cache.revision = cache.revision.max(version(&object));
                listing.insert(name(&object), version(&object));
            }
            Some(Ok(Event::InitDone)) => cache.objects = std::mem::take(&mut listing),
            // The watcher tries again by itself; its server may be down.
            Some(Err(_)) => tokio::time::sleep(PAUSE).await,
            None => break,
        }
    }
    let request = Informer { informer: format!("{node}-{RESOURCE}"), resource: RESOURCE.into() };
    recorder.invoke(Process::Client(FIRST + number as u64), Some(&node), INFORMER, &request).ok(&cache);
}

#[async_trait]
impl Workload for Objects {
    fn name(&self) -> &'static str {
        "objects"
    }

    fn needs(&self) -> Needs {
        Needs::Api
    }

    async fn step(&self, actor: &mut Actor) {
        let name = format!("o{}", actor.rng.random_range(0..OBJECTS));
        let Some(found) = get(actor, &name).await else { return };
        let value = NEXT.fetch_add(1, Ordering::Relaxed);
        if found.resource_version == 0 {
            let request = Create { name: name.clone(), by: format!("{}", actor.number) };
            let made = async |api: &crate::target::ApiClient| {
                let made = api.create(&object(&name, value, None)).await?;
                Ok(Written { resource_version: version(&made) })
            };
            actor.noted_api(CREATE, &request, made).await;
        } else if actor.rng.random_bool(0.15) {
            actor.noted_api(DELETE, &Delete { name: name.clone() }, async |api| api.delete(&name).await).await;
        } else {
            let request = Update { name: name.clone(), resource_version: found.resource_version, value };
            let changed = async |api: &crate::target::ApiClient| {
                let changed = api.replace(&name, &object(&name, value, Some(found.resource_version))).await?;
                Ok(Written { resource_version: version(&changed) })
            };
            actor.noted_api(UPDATE, &request, changed).await;
        }
    }

    async fn beside(&self, system: Arc<dyn System>, recorder: Recorder, stop: CancellationToken) {
        let informers = (0..system.names().len()).map(|number| inform(system.as_ref(), &recorder, number, stop.clone()));
        futures::future::join_all(informers).await;
    }

    async fn finish(&self, actor: &mut Actor) {
        let request = Truth { resource: RESOURCE.into() };
        let truth = actor.noted_api(TRUTH, &request, async |api| {
            let (revision, items) = api.list().await?;
            let objects = items.iter().map(|object| (object.metadata.name.clone().unwrap_or_default(), version(object))).collect();
            Ok(Cache { revision, objects, seen: Vec::new() })
        });
        truth.await;
    }
}
