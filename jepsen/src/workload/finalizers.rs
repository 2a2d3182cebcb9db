//! Objects with finalizers: made, deleted, and let go one finalizer after the other, by processes that look first.

use super::{Actor, Needs, Workload};
use crate::check::finalizers::{END, End, LOOK, Look, MAKE, Named, UNFINISH, Unfinish};
use crate::target::{ApiClient, Failure, version, within};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Preconditions};
use rand::Rng;
use rand::seq::IteratorRandom;
use serde_json::json;

const OBJECTS: u32 = 5;
const FINALIZERS: [&str; 2] = ["jepsen.test/first", "jepsen.test/second"];

/// See above.
pub struct Finalizers;

fn look_of(object: &ConfigMap) -> Look {
    let meta = &object.metadata;
    Look {
        uid: meta.uid.clone().unwrap_or_default(),
        version: version(object),
        finalizers: meta.finalizers.iter().flatten().cloned().collect(),
        deleted: meta.deletion_timestamp.as_ref().and_then(|time| Some(serde_json::to_value(time).ok()?.as_str()?.to_owned())),
    }
}

async fn look(actor: &mut Actor, name: &str) -> Option<(Look, Option<ConfigMap>)> {
    let request = Named { name: name.to_owned() };
    let mut object = None;
    let found = actor.noted_api(LOOK, &request, async |api| {
        object = api.get(name).await?;
        Ok(object.as_ref().map(look_of).unwrap_or_default())
    });
    let found = found.await?;
    Some((found, object))
}

async fn make(actor: &mut Actor, name: &str) {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object.metadata.finalizers = Some(FINALIZERS.map(str::to_owned).to_vec());
    let made = async |api: &ApiClient| api.create(&object).await.map(|made| look_of(&made));
    actor.noted_api(MAKE, &Named { name: name.to_owned() }, made).await;
}

/// Deletes the life that was seen, and no other.
async fn end(api: &ApiClient, name: &str, uid: &str) -> Result<serde_json::Value, Failure> {
    let only = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    within(api.objects.delete(name, &DeleteParams { preconditions: Some(only), ..Default::default() })).await.map(|_| json!({}))
}

#[async_trait]
impl Workload for Finalizers {
    fn name(&self) -> &'static str {
        "finalizers"
    }

    fn needs(&self) -> Needs {
        Needs::Api
    }

    async fn step(&self, actor: &mut Actor) {
        let name = format!("f{}", actor.rng.random_range(0..OBJECTS));
        let Some((found, object)) = look(actor, &name).await else { return };
        let Some(mut object) = object else { return make(actor, &name).await };
        let uid = found.uid;
        let finalizer = found.finalizers.iter().choose(&mut actor.rng).cloned();
        match (actor.rng.random_range(0..10), finalizer) {
            // Some are deleted before their finalizers go, some after that, and some twice.
            (0..4, _) => {
                let request = End { name: name.clone(), uid: uid.clone() };
                actor.noted_api(END, &request, async |api| end(api, &name, &uid).await).await;
            }
            (4..8, Some(finalizer)) => {
                let request = Unfinish { name: name.clone(), uid, finalizer };
                if let Some(finalizers) = &mut object.metadata.finalizers {
                    finalizers.retain(|other| *other != request.finalizer);
                }
                actor.noted_api(UNFINISH, &request, async |api| api.replace(&name, &object).await.map(|_| json!({}))).await;
            }
            _ => {}
        }
    }

    async fn finish(&self, actor: &mut Actor) {
        for number in 0..OBJECTS {
            look(actor, &format!("f{number}")).await;
        }
    }
}
