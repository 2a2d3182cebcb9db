//! The ReplicaSet controller.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{Selector, SelectorExt};
use kube::{Resource, ResourceExt};
use tricorn_client::{Change, Key, Next, Queue, RequestError, Shared};

use super::sync::{Hands, Outcome, Wish, bad_selector};
use crate::context::{Context, now};
use crate::expectations::Expectations;
use crate::owners::{controller_of, controller_reference};
use crate::supervise::Failure;

/// ReplicaSets that are worked on at a time.
const WORKERS: usize = 8;

struct Controller {
    hands: Arc<Hands>,
    sets: Shared<ReplicaSet>,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let hands = Arc::new(Hands {
        kind: "ReplicaSet",
        objects: context.objects("replicaset-controller"),
        pods: context.informers.of(),
        recorder: context.recorder.named("replicaset-controller"),
        expectations: Expectations::default(),
    });
    let sets = context.informers.of::<ReplicaSet>();
    sets.synced().await;
    hands.pods.synced().await;
    let controller = Arc::new(Controller { hands: hands.clone(), sets: sets.clone() });
    let queue = Queue::new("replicaset");
    let (added, seen) = (queue.clone(), hands.clone());
    sets.on_change(move |change| {
        let key = Key::of(change.latest().as_ref());
        if matches!(change, Change::Deleted(_)) {
            seen.expectations.forget(&key);
        }
        added.add(key);
    });
    hands.follow_pods(&queue, move |pod| {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let all = sets.in_namespace(namespace);
        all.iter().filter(|set| selector_of(set).is_some_and(|s| s.matches(pod.labels()))).map(|set| Key::of(set.as_ref())).collect()
    });
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let controller = controller.clone();
            async move { controller.sync(&key).await }
        })
        .await;
    Ok(())
}

fn selector_of(set: &ReplicaSet) -> Option<Selector> {
    let selector = set.spec.as_ref()?.selector.clone();
    Selector::try_from(selector).ok().filter(|selector| !selector.selects_all())
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(set) = self.sets.get(key) else { return Ok(Next::Done) };
        let Some(spec) = &set.spec else { return Ok(Next::Done) };
        let selector = Selector::try_from(spec.selector.clone()).map_err(|error| bad_selector(key, error))?;
        let empty = PodTemplateSpec::default();
        let wish = Wish {
            meta: &set.metadata,
            reference: controller_reference(set.as_ref()),
            about: set.object_ref(&()),
            selector,
            desired: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            template: spec.template.as_ref().unwrap_or(&empty),
            sibling_uids: self.siblings(&set),
        };
        let outcome = self.hands.sync(key, &wish).await?;
        let status = new_status(&set, &outcome);
        if set.status.as_ref() != Some(&status) {
            let mut updated = set.as_ref().clone();
            updated.status = Some(status);
            self.hands.objects.update_status(&updated).await?;
        }
        match outcome.error {
            Some(error) => Err(error),
            None => Ok(outcome.look_again.map_or(Next::Done, Next::After)),
        }
    }

    fn siblings(&self, set: &ReplicaSet) -> Vec<String> {
        let Some(owner) = controller_of(&set.metadata) else { return Vec::new() };
        self.sets.controlled_by(&owner.uid).iter().filter_map(|other| other.uid()).filter(|uid| Some(uid) != set.uid().as_ref()).collect()
    }
}

fn new_status(set: &ReplicaSet, outcome: &Outcome) -> ReplicaSetStatus {
    let old = set.status.clone().unwrap_or_default();
    let some = |count: i32| Some(count).filter(|count| *count != 0);
    let mut conditions = old.conditions.clone().unwrap_or_default();
    match &outcome.failure {
        Some((reason, message)) => {
            let known = conditions.iter().any(|c| c.type_ == "ReplicaFailure" && c.reason.as_deref() == Some(reason));
            if !known {
                conditions.retain(|condition| condition.type_ != "ReplicaFailure");
                conditions.push(ReplicaSetCondition {
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
    ReplicaSetStatus {
        replicas: outcome.counts.replicas,
        fully_labeled_replicas: some(outcome.counts.fully_labeled),
        ready_replicas: some(outcome.counts.ready),
        available_replicas: some(outcome.counts.available),
        terminating_replicas: Some(outcome.counts.terminating),
        observed_generation: set.metadata.generation,
        conditions: Some(conditions).filter(|all| !all.is_empty()),
    }
}
