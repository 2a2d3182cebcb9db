//! The moving part: follows the cluster, tries one pod after the other, binds them and says what became of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Binding, Namespace, Node, ObjectReference, Pod, ReplicationController, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::{Expression, Selector, SelectorExt};
use kube::{Api, Client};
use parking_lot::Mutex;
use rand::Rng;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use tricorn_client::{Change, Context as _, Deletion, EventKind, Informers, Key, Objects, Recorder, RequestError, Shared};

use crate::cluster::Cluster;
use crate::fit_error::FitError;
use crate::place::{Chance, NoFit, place};
use crate::pod_info::PodInfo;
use crate::preempt::{Preemption, preempt};
use crate::queue::{Event, Queue};

/// Pods that ask for this scheduler, or for none, are ours.
const NAME: &str = "default-scheduler";
/// Bindings and reports under way at a time.
const WRITES_AT_ONCE: usize = 64;
/// How long one binding may take, in seconds.
const BIND_DEADLINE_SECONDS: u64 = 30;

/// What the scheduler is given.
#[derive(Clone)]
pub struct Context {
    /// How the API is reached.
    pub client: Client,
    /// The shared caches.
    pub informers: Informers,
    /// Where events go.
    pub recorder: Recorder,
    /// Cancelled when the scheduler is to stop.
    pub shutdown: CancellationToken,
}

#[derive(Default)]
struct State {
    cluster: Cluster,
    queue: Queue,
    /// Pods for which others were displaced, and the nodes that were cleared for them.
    nominated: HashMap<Key, (String, Arc<PodInfo>)>,
}

impl State {
    /// The best node for `pod`, leaving alone the room that was cleared for pods at least as important.
    fn place(&self, key: &Key, pod: &PodInfo, of_service: Option<&Selector>, chance: Chance) -> Result<String, Box<NoFit>> {
        let reserved = |(other, (_, info)): &(&Key, &(String, Arc<PodInfo>))| *other != key && info.priority >= pod.priority;
        if !self.nominated.iter().any(|entry| reserved(&entry)) {
            return place(pod, &self.cluster, of_service, chance);
        }
        let reservations = self.nominated.iter().filter(reserved).map(|(_, (node, info))| (node, info));
        place(pod, &self.cluster.with_pods(reservations), of_service, chance)
    }
}

/// The caches that tell which pods are siblings.
struct Siblings {
    services: Shared<Service>,
    sets: Shared<ReplicaSet>,
    controllers: Shared<ReplicationController>,
    stateful: Shared<StatefulSet>,
}

struct Scheduler {
    state: Mutex<State>,
    wake: Notify,
    client: Client,
    objects: Objects,
    recorder: Recorder,
    siblings: Siblings,
}

/// Schedules pods until `context.shutdown` is cancelled.
pub fn run(context: Context) -> BoxFuture<'static, ()> {
    Box::pin(schedule(context))
}

async fn schedule(context: Context) {
    let Context { client, informers, recorder, shutdown } = context;
    let scheduler = Arc::new(Scheduler {
        state: Mutex::default(),
        wake: Notify::new(),
        objects: Objects::new(client.clone(), NAME),
        client,
        recorder: recorder.named(NAME),
        siblings: Siblings { services: informers.of(), sets: informers.of(), controllers: informers.of(), stateful: informers.of() },
    });
    let (nodes, pods, namespaces) = (informers.of::<Node>(), informers.of::<Pod>(), informers.of::<Namespace>());
    let synced = async {
        nodes.synced().await;
        namespaces.synced().await;
        pods.synced().await;
        scheduler.siblings.services.synced().await;
        scheduler.siblings.sets.synced().await;
        scheduler.siblings.controllers.synced().await;
        scheduler.siblings.stateful.synced().await;
    };
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = synced => {}
    }
    let own = scheduler.clone();
    nodes.on_change(move |change| own.node_changed(change));
    let own = scheduler.clone();
    namespaces.on_change(move |change| own.namespace_changed(change));
    let own = scheduler.clone();
    pods.on_change(move |change| own.pod_changed(change));
    scheduler.work(shutdown).await;
}

/// Whether the pod waits for this scheduler.
fn is_ours(pod: &Pod) -> bool {
    let wanted = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(NAME);
    wanted == NAME && pod.metadata.deletion_timestamp.is_none()
}

fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// What a change of a node may mean for pods that wait.
fn node_events(old: &Node, new: &Node) -> Vec<Event> {
    let mut events = Vec::new();
    if old.metadata.labels != new.metadata.labels {
        events.push(Event::NodeLabels);
    }
    let taints = |node: &Node| node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable));
    if taints(old) != taints(new) {
        events.push(Event::NodeTaints);
    }
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    if allocatable(old) != allocatable(new) {
        events.push(Event::NodeAllocatable);
    }
    events
}

impl Scheduler {
    fn node_changed(&self, change: &Change<Node>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let events = match change {
            Change::Added(node) => {
                state.cluster.set_node(node.clone());
                vec![Event::NodeAdded]
            }
            Change::Updated { old, new } => {
                let images = |node: &Node| node.status.as_ref().and_then(|status| status.images.clone());
                let events = node_events(old, new);
                if !events.is_empty() || images(old) != images(new) {
                    state.cluster.set_node(new.clone());
                }
                events
            }
            Change::Deleted(node) => {
                state.cluster.remove_node(node.metadata.name.as_deref().unwrap_or(""));
                vec![]
            }
        };
        for event in &events {
            state.queue.wake(*event, now);
        }
        drop(state);
        if !events.is_empty() {
            self.wake.notify_one();
        }
    }

    fn namespace_changed(&self, change: &Change<Namespace>) {
        let meta = &change.latest().metadata;
        let name = meta.name.clone().unwrap_or_default();
        let mut state = self.state.lock();
        let namespaces = Arc::make_mut(&mut state.cluster.namespaces);
        match change {
            Change::Deleted(_) => namespaces.remove(&name),
            _ => namespaces.insert(name, meta.labels.clone().unwrap_or_default()),
        };
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        let pod = change.latest();
        let key = Key::of(pod.as_ref());
        let now = Instant::now();
        let mut state = self.state.lock();
        let gone = matches!(change, Change::Deleted(_)) || is_terminal(pod);
        if gone || node_of(pod).is_some() {
            state.nominated.remove(&key);
        }
        if gone {
            state.queue.remove(&key);
            if state.cluster.remove_pod(&key) {
                state.queue.wake(Event::PodGone, now);
            }
        } else if let Some(node) = node_of(pod) {
            state.queue.remove(&key);
            let known = state.cluster.place_of(&key).is_some_and(|(at, known)| at == node && known.metadata.labels == pod.metadata.labels);
            let same_spec = change.old().is_some_and(|old| old.spec == pod.spec && old.metadata == pod.metadata);
            if !known || !same_spec {
                let node = node.to_owned();
                state.cluster.place(Arc::new(PodInfo::new(pod.clone())), &node);
            }
            if !known {
                state.queue.wake(Event::PodPlaced, now);
            }
        } else if !is_ours(pod) {
            state.queue.remove(&key);
        } else if state.cluster.place_of(&key).is_none() {
            state.queue.upsert(Arc::new(PodInfo::new(pod.clone())), now);
        }
        drop(state);
        self.wake.notify_one();
    }

    async fn work(self: Arc<Self>, shutdown: CancellationToken) {
        let mut writes = JoinSet::new();
        let mut start = 0_usize;
        loop {
            while writes.len() >= WRITES_AT_ONCE {
                tokio::select! {
                    () = shutdown.cancelled() => return writes.shutdown().await,
                    _ = writes.join_next() => {}
                }
            }
            if shutdown.is_cancelled() {
                return writes.shutdown().await;
            }
            let (pod, timer) = {
                let mut state = self.state.lock();
                let pod = state.queue.pop(Instant::now());
                (pod, state.queue.next_timer())
            };
            if let Some(pod) = pod {
                self.try_one(pod, start, &mut writes);
                start = start.wrapping_add(1);
                // Others get their turn between two pods.
                tokio::task::yield_now().await;
                continue;
            }
            let far = Instant::now() + Duration::from_secs(3600);
            tokio::select! {
                () = shutdown.cancelled() => return writes.shutdown().await,
                () = self.wake.notified() => {}
                Some(_) = writes.join_next(), if !writes.is_empty() => {}
                () = tokio::time::sleep_until(timer.unwrap_or(far).into()) => {}
            }
        }
    }

    /// Finds a node and starts the binding, or parks the pod and starts the report.
    fn try_one(self: &Arc<Self>, pod: Arc<PodInfo>, start: usize, writes: &mut JoinSet<()>) {
        let of_service = if pod.spread.is_empty() { self.siblings.selector(&pod) } else { None };
        let chance = Chance { start, tie: rand::rng().random() };
        let key = Key::new(pod.namespace(), pod.name());
        let mut state = self.state.lock();
        match state.place(&key, &pod, of_service.as_ref(), chance) {
            Ok(node) => {
                state.nominated.remove(&key);
                state.cluster.place(pod.clone(), &node);
                drop(state);
                let own = self.clone();
                writes.spawn(async move { own.bind(&key, &pod, &node).await });
            }
            Err(mut no_fit) => {
                let room = preempt(&pod, &state.cluster, &no_fit);
                state.queue.no_fit(&key, no_fit.error.checks.clone(), Instant::now());
                let room = match room {
                    Ok(room) => {
                        state.nominated.insert(key.clone(), (room.node.clone(), pod.clone()));
                        Some(room)
                    }
                    Err(why) => {
                        no_fit.error.preemption = why;
                        None
                    }
                };
                drop(state);
                let own = self.clone();
                writes.spawn(async move {
                    if let Some(room) = &room {
                        own.displace(&key, &pod, room).await;
                    }
                    own.report(&pod.pod, &no_fit.error, room.as_ref().map(|room| room.node.as_str())).await;
                });
            }
        }
    }

    /// Deletes the pods that have to make room; their going wakes the one that it is for.
    async fn displace(&self, key: &Key, pod: &PodInfo, room: &Preemption) {
        for victim in &room.victims {
            let (namespace, name) = (Some(victim.namespace()), victim.name());
            let uid = victim.pod.metadata.uid.clone().unwrap_or_default();
            let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [{
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "PreemptionByScheduler",
                "message": format!("{NAME}: preempting to accommodate a higher priority pod"),
                "lastTransitionTime": Time(Timestamp::now()),
            }]}});
            let noted = self.objects.strategic_status::<Pod>(namespace, name, patch).await;
            let gone = match noted {
                Err(error) if !error.is_not_found() => Err(error),
                _ => self.objects.delete::<Pod>(namespace, name, &Deletion::of_uid(uid)).await,
            };
            match gone {
                Ok(()) => {
                    let by = pod.pod.metadata.uid.as_deref().unwrap_or("");
                    let text = format!("Preempted by pod {by} on node {}", room.node);
                    self.recorder.event(victim.pod.as_ref(), EventKind::Normal, "Preempted", text);
                }
                Err(error) => {
                    warn!(%key, victim = %name, %error, "a pod could not be displaced");
                    self.state.lock().nominated.remove(key);
                    return;
                }
            }
        }
    }

    async fn bind(&self, key: &Key, pod: &PodInfo, node: &str) {
        let deadline = Duration::from_secs(BIND_DEADLINE_SECONDS);
        let outcome = tokio::time::timeout(deadline, self.post_binding(key, pod, node)).await;
        let text = match outcome {
            Ok(Ok(())) => {
                let text = format!("Successfully assigned {key} to {node}");
                self.recorder.event(pod.pod.as_ref(), EventKind::Normal, "Scheduled", text);
                return;
            }
            Ok(Err(error)) if error.is_not_found() || error.is_conflict() => {
                // The pod is gone or has a node already; the watch tells the rest.
                debug!(%key, %error, "binding was not needed");
                error.to_string()
            }
            Ok(Err(error)) => {
                warn!(%key, %error, "binding failed");
                error.to_string()
            }
            Err(_) => {
                warn!(%key, node, "binding took too long");
                "binding took too long".to_owned()
            }
        };
        self.recorder.event(pod.pod.as_ref(), EventKind::Warning, "FailedScheduling", format!("binding rejected: {text}"));
        let mut state = self.state.lock();
        // If the watch has shown the pod on a node meanwhile, that stands.
        let only_assumed = state.cluster.place_of(key).is_some_and(|(_, known)| node_of(known).is_none());
        if only_assumed {
            state.cluster.remove_pod(key);
            state.queue.retry(key, Instant::now());
            state.queue.wake(Event::PodGone, Instant::now());
        }
        drop(state);
        self.wake.notify_one();
    }

    async fn post_binding(&self, key: &Key, pod: &PodInfo, node: &str) -> Result<(), RequestError> {
        let target = ObjectReference { kind: Some("Node".to_owned()), name: Some(node.to_owned()), ..Default::default() };
        let mut binding = Binding { target, ..Binding::default() };
        binding.metadata.name = Some(key.name.clone());
        binding.metadata.namespace = Some(key.namespace.clone());
        binding.metadata.uid.clone_from(&pod.pod.metadata.uid);
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PostParams { field_manager: Some(NAME.to_owned()), ..PostParams::default() };
        let posted = api.create_subresource::<Binding, serde_json::Value>("binding", &key.name, &params, &binding).await;
        posted.context("bind", || format!("Pod {key} to node {node}")).map(|_| ())
    }

    /// Tells people and the pod itself why it has no node.
    async fn report(&self, pod: &Pod, error: &FitError, nominated: Option<&str>) {
        let message = error.to_string();
        self.recorder.event(pod, EventKind::Warning, "FailedScheduling", message.clone());
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let known = conditions.iter().find(|condition| condition.type_ == "PodScheduled");
        let says_so = |c: &k8s_openapi::api::core::v1::PodCondition| {
            c.status == "False" && c.reason.as_deref() == Some("Unschedulable") && c.message.as_deref() == Some(message.as_str())
        };
        if known.is_some_and(says_so) && nominated.is_none() {
            return;
        }
        let since = known.filter(|condition| condition.status == "False").and_then(|condition| condition.last_transition_time.clone());
        let mut patch = json!({"status": {"conditions": [{
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": null,
            "lastTransitionTime": since.unwrap_or_else(|| Time(Timestamp::now())),
            "observedGeneration": pod.metadata.generation,
        }]}});
        if let Some(node) = nominated {
            patch["status"]["nominatedNodeName"] = json!(node);
        }
        let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref().unwrap_or(""));
        if let Err(error) = self.objects.strategic_status::<Pod>(namespace, name, patch).await {
            debug!(%error, "the reason could not be written to the pod");
        }
    }
}

impl Siblings {
    /// Selects the pods of the same Services and of the same controller, if there are any.
    fn selector(&self, pod: &PodInfo) -> Option<Selector> {
        let mut all: Vec<Expression> = Vec::new();
        for service in self.services.in_namespace(pod.namespace()) {
            let Some(labels) = service.spec.as_ref().and_then(|spec| spec.selector.clone()) else { continue };
            let selector: Selector = labels.into_iter().collect();
            if !selector.selects_all() && selector.matches(pod.labels()) {
                all.extend(selector);
            }
        }
        let owners = pod.pod.metadata.owner_references.as_deref().unwrap_or_default();
        if let Some(owner) = owners.iter().find(|owner| owner.controller == Some(true)) {
            let key = Key::new(pod.namespace(), owner.name.clone());
            let of_set = |selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector| Selector::try_from(selector).ok();
            let of_owner = match owner.kind.as_str() {
                "ReplicaSet" => self.sets.get(&key).and_then(|set| of_set(set.spec.as_ref()?.selector.clone())),
                "StatefulSet" => self.stateful.get(&key).and_then(|set| of_set(set.spec.as_ref()?.selector.clone())),
                "ReplicationController" => self
                    .controllers
                    .get(&key)
                    .and_then(|set| set.spec.as_ref()?.selector.clone())
                    .map(|labels| labels.into_iter().collect()),
                _ => None,
            };
            all.extend(of_owner.into_iter().flatten());
        }
        (!all.is_empty()).then(|| all.into_iter().collect())
    }
}
