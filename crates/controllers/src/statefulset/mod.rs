//! The StatefulSet controller: pods with names, order and claims of their own.

mod plan;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use tricorn_client::{Change, Deletion, EventKind, Key, Next, Objects, Queue, Recorder, RequestError, Shared};

use self::plan::{Plan, Revisions, claim_name, new_pod, ordinal, plan, status};
use crate::context::{Context, now};
use crate::expectations::Expectations;
use crate::owners::{Claim, adoption_patch, claim, controller_of, controller_reference, release_patch};
use crate::supervise::Failure;
use crate::{history, pods};

/// StatefulSets that are worked on at a time.
const WORKERS: usize = 4;

struct Controller {
    objects: Objects,
    recorder: Recorder,
    sets: Shared<StatefulSet>,
    pods: Shared<Pod>,
    claims: Shared<PersistentVolumeClaim>,
    revisions: Shared<ControllerRevision>,
    expectations: Expectations,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let controller = Arc::new(Controller {
        objects: context.objects("statefulset-controller"),
        recorder: context.recorder.named("statefulset-controller"),
        sets: context.informers.of(),
        pods: context.informers.of(),
        claims: context.informers.of(),
        revisions: context.informers.of(),
        expectations: Expectations::default(),
    });
    controller.sets.synced().await;
    controller.pods.synced().await;
    controller.claims.synced().await;
    controller.revisions.synced().await;
    let queue = Queue::new("statefulset");
    let (wake, own) = (queue.clone(), controller.clone());
    controller.sets.on_change(move |change| {
        let key = Key::of(change.latest().as_ref());
        if matches!(change, Change::Deleted(_)) {
            own.expectations.forget(&key);
        }
        wake.add(key);
    });
    let (wake, own) = (queue.clone(), controller.clone());
    controller.pods.on_change(move |change| {
        let pod = change.latest();
        let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "StatefulSet") else { return };
        let owner = Key::new(pod.namespace().unwrap_or_default(), owner.name.clone());
        match change {
            Change::Added(_) => own.expectations.created(&owner),
            Change::Deleted(_) => own.expectations.deleted(&owner, pods::uid(pod)),
            Change::Updated { .. } if pods::is_deleting(pod) => own.expectations.deleted(&owner, pods::uid(pod)),
            Change::Updated { .. } => {}
        }
        wake.add(owner);
    });
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let controller = controller.clone();
            async move { controller.sync(&key).await }
        })
        .await;
    Ok(())
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(set) = self.sets.get(key) else { return Ok(Next::Done) };
        let Some(spec) = &set.spec else { return Ok(Next::Done) };
        let Ok(selector) = Selector::try_from(spec.selector.clone()) else { return Ok(Next::Done) };
        let settled = self.expectations.satisfied(key);
        let owned = self.claim_pods(key, &set, &selector).await?;
        let owner = history::Owner {
            namespace: &key.namespace,
            reference: controller_reference(set.as_ref()),
            template: &spec.template,
            collisions: set.status.as_ref().and_then(|status| status.collision_count).filter(|count| *count != 0),
        };
        let update = history::name(&owner);
        let current = set.status.as_ref().and_then(|status| status.current_revision.clone()).filter(|name| !name.is_empty());
        let revisions = Revisions { current: current.unwrap_or_else(|| update.clone()), update };
        let known = history::owned(&self.revisions, &owner.reference.uid);
        let mut failure = None;
        if settled && set.metadata.deletion_timestamp.is_none() {
            history::record(&self.objects, &owner, &known).await?;
            let plan = plan(&set, &owned, &revisions, now());
            let held = known.iter().find(|revision| revision.name_any() == revisions.current);
            let old = held.and_then(|revision| history::template(revision)).unwrap_or_else(|| spec.template.clone());
            failure = self.carry_out(key, &set, &old, &revisions, plan).await.err();
            let of_pods = owned.iter().filter_map(|pod| pod.labels().get(history::HASH).cloned());
            let in_use: Vec<String> = of_pods.chain([revisions.current.clone(), revisions.update.clone()]).collect();
            history::trim(&self.objects, &known, &in_use, spec.revision_history_limit.unwrap_or(10)).await?;
        }
        let status = status(&set, &owned, &revisions, now());
        if set.status.as_ref() != Some(&status) {
            let mut updated = set.as_ref().clone();
            updated.status = Some(status);
            self.objects.update_status(&updated).await?;
        }
        let wait = spec.min_ready_seconds.unwrap_or(0);
        let soonest = owned.iter().filter_map(|pod| pods::available_at(pod, wait)).filter(|at| *at > now()).min();
        let look_again = soonest.and_then(|at| std::time::Duration::try_from(at.duration_since(now())).ok());
        failure.map_or(Ok(look_again.map_or(Next::Done, Next::After)), Err)
    }

    async fn claim_pods(&self, key: &Key, set: &StatefulSet, selector: &Selector) -> Result<Vec<Arc<Pod>>, RequestError> {
        let uid = set.uid().unwrap_or_default();
        let deleting = set.metadata.deletion_timestamp.is_some();
        let mut owned = Vec::new();
        for pod in self.pods.controlled_by(&uid).into_iter().chain(self.pods.uncontrolled_in(&key.namespace)) {
            // A pod with a foreign name could never take its place in the order.
            let matches = selector.matches(pod.labels()) && ordinal(&key.name, &pod).is_some();
            match claim(&pod.metadata, &uid, deleting, matches) {
                Claim::Keep => owned.push(pod),
                Claim::Adopt if pods::is_active(&pod) => {
                    let patch = adoption_patch(&pod.metadata, &controller_reference(set));
                    owned.push(Arc::new(self.objects.merge::<Pod>(key.namespace(), pods::name(&pod), patch).await?));
                }
                Claim::Release => {
                    let patch = release_patch(&pod.metadata, &uid);
                    self.objects.merge::<Pod>(key.namespace(), pods::name(&pod), patch).await?;
                }
                Claim::Adopt | Claim::Ignore => {}
            }
        }
        Ok(owned)
    }

    async fn carry_out(
        &self,
        key: &Key,
        set: &StatefulSet,
        old: &PodTemplateSpec,
        revisions: &Revisions,
        plan: Plan,
    ) -> Result<(), RequestError> {
        if plan.create.is_empty() && plan.delete.is_empty() {
            return Ok(());
        }
        self.expectations.expect(key, plan.create.len(), plan.delete.iter().map(|pod| pods::uid(pod).to_owned()));
        let present = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
        let mut failure = None;
        for (at, newest) in plan.create {
            let (template, revision) = if newest { (&present, &revisions.update) } else { (old, &revisions.current) };
            let pod = new_pod(set, template, revision, at, controller_reference(set));
            let made = match self.ensure_claims(key, set, at).await {
                Ok(()) => self.objects.create(&pod).await.map(|_| ()),
                Err(error) => Err(error),
            };
            let name = pods::name(&pod).to_owned();
            match made {
                Ok(()) => {
                    let text = format!("create Pod {name} in StatefulSet {} successful", key.name);
                    self.recorder.event(set, EventKind::Normal, "SuccessfulCreate", text);
                }
                Err(error) => {
                    self.expectations.created(key);
                    if !error.is_already_exists() && !error.is_namespace_terminating() {
                        let text = format!("create Pod {name} in StatefulSet {} failed error: {error}", key.name);
                        self.recorder.event(set, EventKind::Warning, "FailedCreate", text);
                        failure = Some(error);
                    }
                }
            }
        }
        for pod in &plan.delete {
            let deletion = Deletion::of_uid(pods::uid(pod));
            match self.objects.delete::<Pod>(key.namespace(), pods::name(pod), &deletion).await {
                Ok(()) => {
                    let text = format!("delete Pod {} in StatefulSet {} successful", pods::name(pod), key.name);
                    self.recorder.event(set, EventKind::Normal, "SuccessfulDelete", text);
                }
                Err(error) => {
                    self.expectations.deleted(key, pods::uid(pod));
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// The claims of a pod are made before it, and outlive it.
    async fn ensure_claims(&self, key: &Key, set: &StatefulSet, at: i32) -> Result<(), RequestError> {
        let spec = set.spec.clone().unwrap_or_default();
        for template in spec.volume_claim_templates.unwrap_or_default() {
            let name = claim_name(template.metadata.name.as_deref().unwrap_or(""), &key.name, at);
            if self.claims.get(&Key::new(key.namespace.clone(), name.clone())).is_some() {
                continue;
            }
            let mut claim = PersistentVolumeClaim { spec: template.spec.clone(), ..Default::default() };
            claim.metadata.name = Some(name);
            claim.metadata.namespace = Some(key.namespace.clone());
            claim.metadata.annotations.clone_from(&template.metadata.annotations);
            let mut labels = template.metadata.labels.clone().unwrap_or_default();
            labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
            claim.metadata.labels = Some(labels);
            match self.objects.create(&claim).await {
                Err(error) if !error.is_already_exists() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
