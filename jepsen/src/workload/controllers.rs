//! ReplicaSets that grow while their pods are taken away: what is missing is made up for by the one controller that acts, whoever leads.

use super::{Actor, Needs, Workload};
use crate::check::controllers::{COUNT, Count, Of, SCALE, SETTLED, SETTLES_SECONDS, Scale, Settled, TAKE_AWAY};
use crate::target::{ApiClient, Failure, of_read, version, within};
use anyhow::bail;
use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const SETS: u64 = 2;
/// Pods of a set at most.
const MOST: i64 = 8;
const LABEL: &str = "jepsen-set";
const LOOK: Duration = Duration::from_millis(500);
/// How often a set is tried to be made: its controllers need an account that another one makes.
const TRIES: usize = 40;

/// See above.
pub struct Controllers;

fn set_name(number: u64) -> String {
    format!("set-{number}")
}

fn set(name: &str) -> ReplicaSet {
    let labels = BTreeMap::from([(LABEL.to_owned(), name.to_owned())]);
    let container = Container { name: "c".into(), image: Some("none.invalid/none".into()), ..Default::default() };
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels.clone()), ..Default::default() }),
        spec: Some(PodSpec { containers: vec![container], ..Default::default() }),
    };
    ReplicaSet {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            selector: LabelSelector { match_labels: Some(labels), ..Default::default() },
            template: Some(template),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The pods of a set that are not being deleted.
async fn pods(api: &ApiClient, set: &str) -> Result<Vec<String>, Failure> {
    let of_set = ListParams { label_selector: Some(format!("{LABEL}={set}")), ..Default::default() };
    let pods = api.of::<Pod>();
    let list = of_read(within(pods.list(&of_set)).await)?;
    let live = list.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(live.filter_map(|pod| pod.metadata.name).collect())
}

fn number(pods: &[String]) -> i64 {
    i64::try_from(pods.len()).unwrap_or(i64::MAX)
}

async fn count(actor: &mut Actor, set: &str) -> Option<Vec<String>> {
    let (mut names, request) = (Vec::new(), Of { set: set.to_owned() });
    let counted = actor.noted_api(COUNT, &request, async |api| {
        names = pods(api, set).await?;
        Ok(Count { pods: number(&names) })
    });
    counted.await?;
    Some(names)
}

/// Whether a set has as many pods as it asks for.
async fn settled(actor: &mut Actor, set: &str) -> bool {
    let look = async |api: &ApiClient| Ok(Settled { replicas: wanted(api, set).await?.1, pods: number(&pods(api, set).await?) });
    let looked = actor.noted_api(SETTLED, &Of { set: set.to_owned() }, look).await;
    looked.is_some_and(|look| look.pods == look.replicas)
}

/// Scales a set if it is still what it was: a request that comes late must not make it shrink.
async fn scale(api: &ApiClient, set: &str, version: i64, replicas: i64) -> Result<serde_json::Value, Failure> {
    let patch = json!({ "metadata": { "resourceVersion": version.to_string() }, "spec": { "replicas": replicas } });
    within(api.of::<ReplicaSet>().patch(set, &PatchParams::default(), &Patch::Merge(&patch))).await.map(|_| json!({}))
}

/// How many a set should have, at which version of it.
async fn wanted(api: &ApiClient, set: &str) -> Result<(i64, i64), Failure> {
    let found = of_read(within(api.of::<ReplicaSet>().get(set)).await)?;
    Ok((version(&found), found.spec.and_then(|spec| spec.replicas).unwrap_or(0).into()))
}

#[async_trait]
impl Workload for Controllers {
    fn name(&self) -> &'static str {
        "controllers"
    }

    fn needs(&self) -> Needs {
        Needs::Api
    }

    async fn prepare(&self, actor: &mut Actor) -> anyhow::Result<()> {
        let Some(group) = actor.system.api() else { bail!("there are no servers that run controllers") };
        let api = group.client(&actor.system.names()[0]).await?;
        for number in 0..SETS {
            for turn in 0.. {
                match within(api.of::<ReplicaSet>().create(&PostParams::default(), &set(&set_name(number)))).await {
                    Ok(_) => break,
                    Err(failure) if turn >= TRIES => bail!("make {}: {failure}", set_name(number)),
                    Err(_) => tokio::time::sleep(LOOK).await,
                }
            }
        }
        Ok(())
    }

    async fn step(&self, actor: &mut Actor) {
        let name = set_name(actor.rng.random_range(0..SETS));
        // One process scales each set, so that it only grows.
        if actor.number < SETS && actor.rng.random_bool(0.1) {
            let name = set_name(actor.number);
            let mut now = None;
            let look = async |api: &ApiClient| {
                now = Some(wanted(api, &name).await?);
                Ok(json!({ "replicas": now }))
            };
            actor.noted_api("wanted", &name, look).await;
            if let Some((version, now)) = now.filter(|(_, now)| *now < MOST) {
                let request = Scale { set: name.clone(), replicas: now + 1 };
                actor.noted_api(SCALE, &request, async |api| scale(api, &name, version, request.replicas).await).await;
            }
            return;
        }
        let Some(pods) = count(actor, &name).await else { return };
        if actor.rng.random_bool(0.3)
            && let Some(pod) = pods.choose(&mut actor.rng).cloned()
        {
            let gone = async |api: &ApiClient| within(api.of::<Pod>().delete(&pod, &DeleteParams::default())).await.map(|_| json!({}));
            actor.noted_api(TAKE_AWAY, &pod, gone).await;
        }
    }

    async fn finish(&self, actor: &mut Actor) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs_f64(SETTLES_SECONDS);
        for number in 0..SETS {
            let name = set_name(number);
            while !settled(actor, &name).await && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}
