//! The ReplicationController controller: the ReplicaSet's older spelling.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{Selector, SelectorExt};
use kube::{Resource, ResourceExt};
use tricorn_client::{Change, Key, Next, Queue, RequestError, Shared};

use super::sync::{Hands, Outcome, Wish};
use crate::context::{Context, now};
use crate::expectations::Expectations;
use crate::owners::controller_reference;
use crate::supervise::Failure;

/// ReplicationControllers that are worked on at a time.
const WORKERS: usize = 4;

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let hands = Arc::new(Hands {
        kind: "ReplicationController",
        objects: context.objects("replication-controller"),
        pods: context.informers.of(),
        recorder: context.recorder.named("replication-controller"),
        expectations: Expectations::default(),
    });
    let sets = context.informers.of::<ReplicationController>();
    sets.synced().await;
    hands.pods.synced().await;
    let queue = Queue::new("replicationcontroller");
    let (added, seen) = (queue.clone(), hands.clone());
    sets.on_change(move |change| {
        let key = Key::of(change.latest().as_ref());
        if matches!(change, Change::Deleted(_)) {
            seen.expectations.forget(&key);
        }
        added.add(key);
    });
    let all = sets.clone();
    hands.follow_pods(&queue, move |pod| {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let matching = all.in_namespace(namespace).into_iter().filter(|set| selector_of(set).is_some_and(|s| s.matches(pod.labels())));
        matching.map(|set| Key::of(set.as_ref())).collect()
    });
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let (hands, sets) = (hands.clone(), sets.clone());
            async move { sync(&hands, &sets, &key).await }
        })
        .await;
    Ok(())
}

fn selector_of(set: &ReplicationController) -> Option<Selector> {
    let spec = set.spec.as_ref()?;
    let of_template = || spec.template.as_ref()?.metadata.as_ref()?.labels.clone();
    let labels: BTreeMap<String, String> = spec.selector.clone().filter(|labels| !labels.is_empty()).or_else(of_template)?;
    Some(labels.into_iter().collect::<Selector>()).filter(|selector| !selector.selects_all())
}

async fn sync(hands: &Hands, sets: &Shared<ReplicationController>, key: &Key) -> Result<Next, RequestError> {
    let Some(set) = sets.get(key) else { return Ok(Next::Done) };
    let (Some(spec), Some(selector)) = (&set.spec, selector_of(&set)) else { return Ok(Next::Done) };
    let empty = PodTemplateSpec::default();
    let wish = Wish {
        meta: &set.metadata,
        reference: controller_reference(set.as_ref()),
        about: set.object_ref(&()),
        selector,
        desired: spec.replicas.unwrap_or(1),
        min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        template: spec.template.as_ref().unwrap_or(&empty),
        sibling_uids: Vec::new(),
    };
    let outcome = hands.sync(key, &wish).await?;
    let status = new_status(&set, &outcome);
    if set.status.as_ref() != Some(&status) {
        let mut updated = set.as_ref().clone();
        updated.status = Some(status);
        hands.objects.update_status(&updated).await?;
    }
    match outcome.error {
        Some(error) => Err(error),
        None => Ok(outcome.look_again.map_or(Next::Done, Next::After)),
    }
}

fn new_status(set: &ReplicationController, outcome: &Outcome) -> ReplicationControllerStatus {
    let old = set.status.clone().unwrap_or_default();
    let some = |count: i32| Some(count).filter(|count| *count != 0);
    let mut conditions = old.conditions.unwrap_or_default();
    match &outcome.failure {
        Some((reason, message)) => {
            let known = conditions.iter().any(|c| c.type_ == "ReplicaFailure" && c.reason.as_deref() == Some(reason));
            if !known {
                conditions.retain(|condition| condition.type_ != "ReplicaFailure");
                conditions.push(ReplicationControllerCondition {
                    type_: "ReplicaFailure".into(),
                    status: "True".into(),
                    reason: Some((*reason).into()),
                    message: Some(message.clone()),
                    last_transition_time: Some(Time(now())),
                });
            }
        }
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
    }
    ReplicationControllerStatus {
        replicas: outcome.counts.replicas,
        fully_labeled_replicas: some(outcome.counts.fully_labeled),
        ready_replicas: some(outcome.counts.ready),
        available_replicas: some(outcome.counts.available),
        observed_generation: set.metadata.generation,
        conditions: Some(conditions).filter(|all| !all.is_empty()),
    }
}
