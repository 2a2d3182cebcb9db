//! The part that ReplicaSets and ReplicationControllers share: claim pods, carry out the plan, report counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use tricorn_client::{Change, Deletion, EventKind, Key, Objects, Queue, Recorder, RequestError, Shared};

use super::plan::{self, Counts};
use crate::context::now;
use crate::expectations::Expectations;
use crate::owners::{Claim, adoption_patch, claim, controller_of, release_patch};
use crate::{pods, templates};

/// Pods asked for at once at first; doubled while all goes well, so that a refused template costs one request.
const SLOW_START_PODS: usize = 1;

/// What both kinds have in common.
pub(super) struct Wish<'a> {
    pub(super) meta: &'a ObjectMeta,
    pub(super) reference: OwnerReference,
    pub(super) about: ObjectReference,
    pub(super) selector: Selector,
    pub(super) desired: i32,
    pub(super) min_ready_seconds: i32,
    pub(super) template: &'a PodTemplateSpec,
    /// Owners whose pods count when nodes are evened out, such as the older ReplicaSets of the same Deployment.
    pub(super) sibling_uids: Vec<String>,
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) counts: Counts,
    /// Reason and message of a condition ReplicaFailure, if something was refused.
    pub(super) failure: Option<(&'static str, String)>,
    pub(super) look_again: Option<Duration>,
    pub(super) error: Option<RequestError>,
}

/// What one controller works with.
pub(super) struct Hands {
    pub(super) kind: &'static str,
    pub(super) objects: Objects,
    pub(super) pods: Shared<Pod>,
    pub(super) recorder: Recorder,
    pub(super) expectations: Expectations,
}

impl Hands {
    /// Wakes the owner of every pod that changes, and keeps the expectations.
    pub(super) fn follow_pods(self: &Arc<Self>, queue: &Queue<Key>, matching_owners: impl Fn(&Pod) -> Vec<Key> + Send + Sync + 'static) {
        let (hands, queue) = (self.clone(), queue.clone());
        self.pods.on_change(move |change| {
            let pod = change.latest();
            let owner = hands.owner_key(pod);
            if let Some(old) = change.old()
                && let Some(previous) = hands.owner_key(old)
                && owner.as_ref() != Some(&previous)
            {
                queue.add(previous);
            }
            let Some(owner) = owner else {
                if controller_of(&pod.metadata).is_none() && !matches!(change, Change::Deleted(_)) {
                    matching_owners(pod).into_iter().for_each(|owner| queue.add(owner));
                }
                return;
            };
            match change {
                Change::Added(_) => hands.expectations.created(&owner),
                Change::Deleted(_) => hands.expectations.deleted(&owner, pods::uid(pod)),
                Change::Updated { .. } => {}
            }
            if pods::is_deleting(pod) {
                hands.expectations.deleted(&owner, pods::uid(pod));
            }
            queue.add(owner);
        });
    }

    fn owner_key(&self, pod: &Pod) -> Option<Key> {
        let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == self.kind)?;
        Some(Key::new(pod.metadata.namespace.clone().unwrap_or_default(), owner.name.clone()))
    }

    /// Brings the pods of `wish` nearer to what it says.
    pub(super) async fn sync(&self, key: &Key, wish: &Wish<'_>) -> Result<Outcome, RequestError> {
        let settled = self.expectations.satisfied(key);
        let owned = self.claim_pods(key, wish).await?;
        let mut outcome = Outcome { counts: Counts::default(), failure: None, look_again: None, error: None };
        if settled && wish.meta.deletion_timestamp.is_none() {
            let plan = plan::plan(wish.desired, &owned, &self.crowding(wish), now());
            if plan.create > 0 {
                self.expectations.expect(key, plan.create, []);
                if let Err(error) = self.create(key, wish, plan.create).await {
                    outcome.failure = Some(("FailedCreate", failure_text(&error)));
                    outcome.error = Some(error).filter(|error| !error.is_namespace_terminating());
                }
            } else if !plan.delete.is_empty() {
                self.expectations.expect(key, 0, plan.delete.iter().map(|pod| pods::uid(pod).to_owned()));
                if let Err(error) = self.delete(key, wish, &plan.delete).await {
                    outcome.failure = Some(("FailedDelete", failure_text(&error)));
                    outcome.error = Some(error);
                }
            }
        }
        let empty = BTreeMap::new();
        let wanted = wish.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref()).unwrap_or(&empty);
        let carries_all = |pod: &Pod| wanted.iter().all(|(name, value)| pod.labels().get(name) == Some(value));
        outcome.counts = plan::count(&owned, wish.min_ready_seconds, now(), carries_all);
        outcome.look_again = plan::next_available(&owned, wish.min_ready_seconds, now());
        Ok(outcome)
    }

    async fn claim_pods(&self, key: &Key, wish: &Wish<'_>) -> Result<Vec<Arc<Pod>>, RequestError> {
        let mut owned = Vec::new();
        let deleting = wish.meta.deletion_timestamp.is_some();
        let uid = &wish.reference.uid;
        let candidates = self.pods.controlled_by(uid).into_iter().chain(self.pods.uncontrolled_in(&key.namespace));
        for pod in candidates {
            let matches = wish.selector.matches(pod.labels());
            let namespace = Some(key.namespace.as_str());
            match claim(&pod.metadata, uid, deleting, matches) {
                Claim::Keep => owned.push(pod),
                Claim::Adopt if pods::is_active(&pod) => {
                    let patch = adoption_patch(&pod.metadata, &wish.reference);
                    owned.push(Arc::new(self.objects.merge::<Pod>(namespace, pods::name(&pod), patch).await?));
                }
                Claim::Release => {
                    let patch = release_patch(&pod.metadata, uid);
                    match self.objects.merge::<Pod>(namespace, pods::name(&pod), patch).await {
                        Err(error) if !error.is_not_found() && !error.is_invalid() => return Err(error),
                        _ => {}
                    }
                }
                Claim::Adopt | Claim::Ignore => {}
            }
        }
        Ok(owned)
    }

    fn crowding(&self, wish: &Wish<'_>) -> HashMap<String, usize> {
        let mut on_node = HashMap::new();
        let uids = wish.sibling_uids.iter().chain([&wish.reference.uid]);
        for pod in uids.flat_map(|uid| self.pods.controlled_by(uid)).filter(|pod| pods::is_active(pod)) {
            if let Some(node) = pods::node(&pod) {
                *on_node.entry(node.to_owned()).or_insert(0) += 1;
            }
        }
        on_node
    }

    async fn create(&self, key: &Key, wish: &Wish<'_>, count: usize) -> Result<(), RequestError> {
        let pod = templates::pod_from(wish.template, &key.namespace, wish.reference.clone());
        let mut left = count;
        let mut batch = SLOW_START_PODS;
        while left > 0 {
            let size = batch.min(left);
            let requests = (0..size).map(|_| self.objects.create(&pod));
            let mut failed = None;
            for made in futures::future::join_all(requests).await {
                match made {
                    Ok(made) => {
                        let text = format!("Created pod: {}", pods::name(&made));
                        self.recorder.event_about(wish.about.clone(), EventKind::Normal, "SuccessfulCreate", text);
                    }
                    Err(error) => {
                        self.expectations.created(key);
                        failed = Some(error);
                    }
                }
            }
            left -= size;
            batch *= 2;
            if let Some(error) = failed {
                (0..left).for_each(|_| self.expectations.created(key));
                if !error.is_namespace_terminating() {
                    let text = format!("Error creating: {}", failure_text(&error));
                    self.recorder.event_about(wish.about.clone(), EventKind::Warning, "FailedCreate", text);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn delete(&self, key: &Key, wish: &Wish<'_>, doomed: &[Arc<Pod>]) -> Result<(), RequestError> {
        let requests = doomed.iter().map(|pod| async move {
            let deletion = Deletion::of_uid(pods::uid(pod));
            (pod, self.objects.delete::<Pod>(Some(&key.namespace), pods::name(pod), &deletion).await)
        });
        let mut failed = None;
        for (pod, done) in futures::future::join_all(requests).await {
            match done {
                Ok(()) => {
                    let text = format!("Deleted pod: {}", pods::name(pod));
                    self.recorder.event_about(wish.about.clone(), EventKind::Normal, "SuccessfulDelete", text);
                }
                Err(error) => {
                    self.expectations.deleted(key, pods::uid(pod));
                    let text = format!("Error deleting: {}", failure_text(&error));
                    self.recorder.event_about(wish.about.clone(), EventKind::Warning, "FailedDelete", text);
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// The server's words without the operation in front, as conditions and events carry them.
pub(super) fn failure_text(error: &RequestError) -> String {
    match &error.source {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// A selector that cannot be read selects nothing; validation keeps those out.
pub(super) fn bad_selector(key: &Key, error: impl std::fmt::Display) -> RequestError {
    let status = kube::core::Status::failure(&error.to_string(), "Invalid").boxed();
    RequestError { operation: "read the selector of", object: key.to_string(), source: kube::Error::Api(status) }
}
