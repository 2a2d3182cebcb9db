//! The DaemonSet controller: one pod on every suitable node.

mod plan;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use tricorn_client::{Change, Deletion, EventKind, Key, Next, Objects, Queue, Recorder, RequestError, Shared};

use self::plan::{Plan, daemon_template, pin, plan, status};
use crate::context::{Context, now};
use crate::expectations::Expectations;
use crate::owners::{Claim, adoption_patch, claim, controller_of, controller_reference, release_patch};
use crate::supervise::Failure;
use crate::{history, pods, templates};

/// DaemonSets that are worked on at a time.
const WORKERS: usize = 4;

struct Controller {
    objects: Objects,
    recorder: Recorder,
    sets: Shared<DaemonSet>,
    pods: Shared<Pod>,
    nodes: Shared<Node>,
    revisions: Shared<ControllerRevision>,
    expectations: Expectations,
}

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let controller = Arc::new(Controller {
        objects: context.objects("daemonset-controller"),
        recorder: context.recorder.named("daemonset-controller"),
        sets: context.informers.of(),
        pods: context.informers.of(),
        nodes: context.informers.of(),
        revisions: context.informers.of(),
        expectations: Expectations::default(),
    });
    controller.sets.synced().await;
    controller.pods.synced().await;
    controller.nodes.synced().await;
    controller.revisions.synced().await;
    let queue = Queue::new("daemonset");
    controller.clone().follow(&queue);
    queue
        .run(WORKERS, context.shutdown.clone(), move |key| {
            let controller = controller.clone();
            async move { controller.sync(&key).await }
        })
        .await;
    Ok(())
}

fn owner_key(pod: &Pod) -> Option<Key> {
    let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == "DaemonSet")?;
    Some(Key::new(pod.namespace().unwrap_or_default(), owner.name.clone()))
}

/// What of a node decides whether daemon pods go there.
fn matters(old: &Node, new: &Node) -> bool {
    let spec = |node: &Node| node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable));
    old.metadata.labels != new.metadata.labels || spec(old) != spec(new)
}

impl Controller {
    fn follow(self: Arc<Self>, queue: &Queue<Key>) {
        let (wake, own) = (queue.clone(), self.clone());
        self.sets.on_change(move |change| {
            let key = Key::of(change.latest().as_ref());
            if matches!(change, Change::Deleted(_)) {
                own.expectations.forget(&key);
            }
            wake.add(key);
        });
        let (wake, own) = (queue.clone(), self.clone());
        self.nodes.on_change(move |change| {
            if change.old().is_none_or(|old| matters(old, change.latest())) {
                own.sets.all().iter().for_each(|set| wake.add(Key::of(set.as_ref())));
            }
        });
        let (wake, own) = (queue.clone(), self.clone());
        self.pods.on_change(move |change| {
            let pod = change.latest();
            let Some(owner) = owner_key(pod) else { return };
            match change {
                Change::Added(_) => own.expectations.created(&owner),
                Change::Deleted(_) => own.expectations.deleted(&owner, pods::uid(pod)),
                Change::Updated { .. } if pods::is_deleting(pod) => own.expectations.deleted(&owner, pods::uid(pod)),
                Change::Updated { .. } => {}
            }
            wake.add(owner);
        });
    }

    async fn sync(&self, key: &Key) -> Result<Next, RequestError> {
        let Some(set) = self.sets.get(key) else { return Ok(Next::Done) };
        let Some(spec) = &set.spec else { return Ok(Next::Done) };
        let Ok(selector) = Selector::try_from(spec.selector.clone()) else { return Ok(Next::Done) };
        if selector.selects_all() {
            let text = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.recorder.event(set.as_ref(), EventKind::Warning, "SelectingAll", text);
            return Ok(Next::Done);
        }
        let settled = self.expectations.satisfied(key);
        let owned = self.claim_pods(key, &set, &selector).await?;
        let nodes = self.nodes.all();
        let owner = history::Owner {
            namespace: &key.namespace,
            reference: controller_reference(set.as_ref()),
            template: &spec.template,
            collisions: set.status.as_ref().and_then(|status| status.collision_count),
        };
        let hash = history::hash(&owner);
        let template = daemon_template(&set, &hash);
        let mut failure = None;
        if settled && set.metadata.deletion_timestamp.is_none() {
            let known = history::owned(&self.revisions, &owner.reference.uid);
            history::record(&self.objects, &owner, &known).await?;
            let plan = plan(&set, &template, &nodes, &owned, &hash, now());
            failure = self.carry_out(key, &set, &template, plan).await.err();
            let mut in_use: Vec<String> = owned.iter().filter_map(|pod| pod.labels().get(history::HASH).cloned()).collect();
            in_use.push(hash.clone());
            history::trim(&self.objects, &known, &in_use, spec.revision_history_limit.unwrap_or(10)).await?;
        }
        let status = status(&set, &template, &nodes, &owned, &hash, now());
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

    async fn claim_pods(&self, key: &Key, set: &DaemonSet, selector: &Selector) -> Result<Vec<Arc<Pod>>, RequestError> {
        let uid = set.uid().unwrap_or_default();
        let deleting = set.metadata.deletion_timestamp.is_some();
        let mut owned = Vec::new();
        for pod in self.pods.controlled_by(&uid).into_iter().chain(self.pods.uncontrolled_in(&key.namespace)) {
            match claim(&pod.metadata, &uid, deleting, selector.matches(pod.labels())) {
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
        set: &DaemonSet,
        template: &k8s_openapi::api::core::v1::PodTemplateSpec,
        plan: Plan,
    ) -> Result<(), RequestError> {
        if plan.create.is_empty() && plan.delete.is_empty() {
            return Ok(());
        }
        self.expectations.expect(key, plan.create.len(), plan.delete.iter().map(|pod| pods::uid(pod).to_owned()));
        for pod in &plan.failed {
            let node = pods::node(pod).unwrap_or_default();
            let text = format!("Found failed daemon pod {}/{} on node {node}, will try to kill it", key.namespace, pods::name(pod));
            self.recorder.event(set, EventKind::Warning, "FailedDaemonPod", text);
        }
        let reference = controller_reference(set);
        let creations = plan.create.iter().map(|node| {
            let pod = templates::pod_from(&pin(template, node), &key.namespace, reference.clone());
            async move { self.objects.create(&pod).await }
        });
        let mut failure = None;
        for made in futures::future::join_all(creations).await {
            match made {
                Ok(pod) => {
                    let text = format!("Created pod: {}", pods::name(&pod));
                    self.recorder.event(set, EventKind::Normal, "SuccessfulCreate", text);
                }
                Err(error) => {
                    self.expectations.created(key);
                    if !error.is_namespace_terminating() {
                        self.recorder.event(set, EventKind::Warning, "FailedCreate", format!("Error creating: {error}"));
                        failure = Some(error);
                    }
                }
            }
        }
        for pod in &plan.delete {
            let deletion = Deletion::of_uid(pods::uid(pod));
            match self.objects.delete::<Pod>(key.namespace(), pods::name(pod), &deletion).await {
                Ok(()) => {
                    let text = format!("Deleted pod: {}", pods::name(pod));
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
}
