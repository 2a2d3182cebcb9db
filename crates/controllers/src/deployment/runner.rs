//! Carries out the steps of a Deployment's plan.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use serde_json::json;
use tricorn_client::{Change, Deletion, EventKind, Key, Next, Objects, Queue, Recorder, RequestError, Shared};

use super::numbers::size;
use super::plan::{Step, plan};
use super::revisions::{Sets, same_template};
use super::status;
use crate::context::{Context, now};
use crate::owners::{Claim, adoption_patch, claim, controller_of, controller_reference, release_patch};
use crate::supervise::Failure;

/// Deployments that are worked on at a time.
const WORKERS: usize = 8;

struct Controller {
    objects: Objects,
    recorder: Recorder,
    deployments: Shared<Deployment>,
    sets: Shared<ReplicaSet>,
    pods: Shared<Pod>,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let controller = Arc::new(Controller {
        objects: context.objects("deployment-controller"),
        recorder: context.recorder.named("deployment-controller"),
        deployments: context.informers.of(),
        sets: context.informers.of(),
        pods: context.informers.of(),
    });
    controller.deployments.synced().await;
    controller.sets.synced().await;
    controller.pods.synced().await;
    let queue = Queue::new("deployment");
    follow(&controller, &queue);
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let controller = controller.clone();
            async move { controller.sync(&key).await }
        })
        .await;
    Ok(())
}

fn owner_key(set: &ReplicaSet) -> Option<Key> {
    let owner = controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment")?;
    Some(Key::new(set.namespace().unwrap_or_default(), owner.name.clone()))
}

fn follow(controller: &Arc<Controller>, queue: &Queue<Key>) {
    let wake = queue.clone();
    controller.deployments.on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let (wake, deployments) = (queue.clone(), controller.deployments.clone());
    controller.sets.on_change(move |change| {
        let set = change.latest();
        change.old().and_then(|old| owner_key(old)).into_iter().for_each(|key| wake.add(key));
        match owner_key(set) {
            Some(key) => wake.add(key),
            None if controller_of(&set.metadata).is_none() => {
                let all = deployments.in_namespace(&set.namespace().unwrap_or_default());
                let matching = all.iter().filter(|deployment| selects(deployment, set));
                matching.for_each(|deployment| wake.add(Key::of(deployment.as_ref())));
            }
            None => {}
        }
    });
    // A Recreate rollout goes on when the last old pod is gone.
    let (wake, sets) = (queue.clone(), controller.sets.clone());
    controller.pods.on_change(move |change| {
        let Change::Deleted(pod) = change else { return };
        let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet") else { return };
        let set = sets.get(&Key::new(pod.namespace().unwrap_or_default(), owner.name.clone()));
        set.and_then(|set| owner_key(&set)).into_iter().for_each(|key| wake.add(key));
    });
}

fn selector(of: &LabelSelector) -> Option<Selector> {
    Selector::try_from(of.clone()).ok().filter(|selector| !selector.selects_all())
}

fn selects(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let spec = deployment.spec.as_ref();
    spec.and_then(|spec| selector(&spec.selector)).is_some_and(|selector| selector.matches(set.labels()))
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(deployment) = self.deployments.get(key) else { return Ok(Next::Done) };
        let Some(selector) = deployment.spec.as_ref().and_then(|spec| selector(&spec.selector)) else {
            let text = "This deployment is selecting all pods. A non-empty selector is required.";
            self.recorder.event(deployment.as_ref(), EventKind::Warning, "SelectingAll", text);
            return Ok(Next::Done);
        };
        let owned = self.claim_sets(key, &deployment, &selector).await?;
        let all_pods: Vec<_> = owned.iter().filter_map(|set| set.uid()).flat_map(|uid| self.pods.controlled_by(&uid)).collect();
        let sets = Sets::of(&deployment, owned);
        let steps = plan(&deployment, &sets, &all_pods, now());
        let mut latest = deployment.status.clone().unwrap_or_default();
        for step in steps {
            if let Step::Status(status) = &step {
                latest = status.as_ref().clone();
            }
            self.carry_out(&deployment, step).await?;
        }
        Ok(status::look_again(&deployment, &latest, now()).map_or(Next::Done, Next::After))
    }

    async fn claim_sets(&self, key: &Key, deployment: &Deployment, selector: &Selector) -> Result<Vec<Arc<ReplicaSet>>, RequestError> {
        let uid = deployment.uid().unwrap_or_default();
        let deleting = deployment.metadata.deletion_timestamp.is_some();
        let mut owned = Vec::new();
        let candidates = self.sets.controlled_by(&uid).into_iter().chain(self.sets.uncontrolled_in(&key.namespace));
        for set in candidates {
            let namespace = Some(key.namespace.as_str());
            match claim(&set.metadata, &uid, deleting, selector.matches(set.labels())) {
                Claim::Keep => owned.push(set),
                Claim::Adopt => {
                    let patch = adoption_patch(&set.metadata, &controller_reference(deployment));
                    owned.push(Arc::new(self.objects.merge::<ReplicaSet>(namespace, &set.name_any(), patch).await?));
                }
                Claim::Release => {
                    let patch = release_patch(&set.metadata, &uid);
                    self.objects.merge::<ReplicaSet>(namespace, &set.name_any(), patch).await?;
                }
                Claim::Ignore => {}
            }
        }
        Ok(owned)
    }

    async fn carry_out(&self, deployment: &Deployment, step: Step) -> Result<(), RequestError> {
        let namespace = deployment.metadata.namespace.as_deref();
        match step {
            Step::Create(set) => self.create(deployment, &set).await,
            Step::Scale { set, to, annotations } => {
                let version = &set.metadata.resource_version;
                let patch = json!({
                    "metadata": {"annotations": annotations, "resourceVersion": version},
                    "spec": {"replicas": to},
                });
                self.objects.merge::<ReplicaSet>(namespace, &set.name_any(), patch).await?;
                self.tell_scaling(deployment, &set.name_any(), size(&set), to);
                Ok(())
            }
            Step::Hand { set, annotations, min_ready_seconds } => {
                let version = &set.metadata.resource_version;
                let patch = json!({
                    "metadata": {"annotations": annotations, "resourceVersion": version},
                    "spec": {"minReadySeconds": min_ready_seconds},
                });
                self.objects.merge::<ReplicaSet>(namespace, &set.name_any(), patch).await.map(|_| ())
            }
            Step::NoteRevision(revision) => {
                let patch = json!({"metadata": {"annotations": {super::revisions::REVISION: revision}}});
                self.objects.merge::<Deployment>(namespace, &deployment.name_any(), patch).await.map(|_| ())
            }
            Step::Delete(set) => {
                let deletion = Deletion::of_uid(set.uid().unwrap_or_default());
                self.objects.delete::<ReplicaSet>(namespace, &set.name_any(), &deletion).await
            }
            Step::Status(status) => {
                // A merge without a version: only this controller writes the status, and an earlier step may just
                // have changed the object.
                let mut patch = json!({"status": {
                    "replicas": null, "updatedReplicas": null, "readyReplicas": null,
                    "availableReplicas": null, "unavailableReplicas": null,
                }});
                let fields = serde_json::to_value(&*status).unwrap_or_default();
                if let (Some(target), Some(fields)) = (patch["status"].as_object_mut(), fields.as_object()) {
                    target.extend(fields.clone());
                }
                self.objects.merge_status::<Deployment>(namespace, &deployment.name_any(), patch).await.map(|_| ())
            }
        }
    }

    async fn create(&self, deployment: &Deployment, set: &ReplicaSet) -> Result<(), RequestError> {
        match self.objects.create(set).await {
            Ok(made) => {
                if size(&made) > 0 {
                    self.tell_scaling(deployment, &made.name_any(), 0, size(&made));
                }
                Ok(())
            }
            Err(error) if error.is_already_exists() => self.resolve_name_clash(deployment, set, error).await,
            Err(error) if error.is_namespace_terminating() => Ok(()),
            Err(error) => {
                let name = set.name_any();
                let text = format!("Failed to create new replica set \"{name}\": {error}");
                self.recorder.event(deployment, EventKind::Warning, "ReplicaSetCreateError", text);
                Err(error)
            }
        }
    }

    /// The name is taken: by our own set that the cache has not shown yet, or by another template with the same hash.
    async fn resolve_name_clash(&self, deployment: &Deployment, set: &ReplicaSet, error: RequestError) -> Result<(), RequestError> {
        let namespace = deployment.metadata.namespace.as_deref();
        let Some(there) = self.objects.get::<ReplicaSet>(namespace, &set.name_any()).await? else { return Err(error) };
        let ours = controller_of(&there.metadata).is_some_and(|owner| Some(&owner.uid) == deployment.metadata.uid.as_ref());
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        if ours && template.is_some_and(|template| same_template(&there, template)) {
            return Ok(());
        }
        let count = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0) + 1;
        let patch = json!({"status": {"collisionCount": count}});
        self.objects.merge_status::<Deployment>(namespace, &deployment.name_any(), patch).await?;
        Err(error)
    }

    fn tell_scaling(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        let direction = if to > from { "up" } else { "down" };
        if from != to {
            let text = format!("Scaled {direction} replica set {set} from {from} to {to}");
            self.recorder.event(deployment, EventKind::Normal, "ScalingReplicaSet", text);
        }
    }
}
