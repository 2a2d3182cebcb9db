//! All pods of the node: follows the API's and the runtime's changes and hands them to the pods' workers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tricorn_proto::cri;

use crate::context::Context;
use crate::pod::worker::Handle;
use crate::pod::{labels, spec};
use crate::runtime::events::{self, RuntimeEvent};

/// The runtime is compared as a whole this often, should events be lost.
const RELIST: Duration = Duration::from_secs(10);
const EVENTS_LIMIT: usize = 256;
/// How long pods are given to end when the node takes them along.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// The pods of the node by UID.
pub type Pods = Arc<Mutex<HashMap<String, Arc<Handle>>>>;

/// The node's pods as the API has them, for the server.
pub fn list(pods: &Pods) -> Vec<Arc<Pod>> {
    pods.lock().map(|pods| pods.values().map(|handle| handle.pod()).collect()).unwrap_or_default()
}

/// A pod by namespace and name.
pub fn find(pods: &Pods, namespace: &str, name: &str) -> Option<Arc<Pod>> {
    list(pods).into_iter().find(|pod| spec::namespace(pod) == namespace && spec::name(pod) == name)
}

/// Follows everything.
pub struct Manager {
    context: Arc<Context>,
    pods: Pods,
    stop: CancellationToken,
    /// Workers end with this, later than the manager when pods are taken along.
    workers_stop: CancellationToken,
    /// Which pod a container or sandbox belongs to, and its state when last compared.
    known: HashMap<String, (String, i32)>,
    listed: HashSet<String>,
    synced: bool,
}

impl Manager {
    /// A manager without pods.
    pub fn new(context: Arc<Context>, pods: Pods, stop: CancellationToken) -> Self {
        Self { context, pods, stop, workers_stop: CancellationToken::new(), known: HashMap::new(), listed: HashSet::new(), synced: false }
    }

    /// Runs until cancelled; then leaves the pods running, or takes them along, as the configuration says.
    pub async fn run(mut self) {
        let (sender, mut runtime_events) = mpsc::channel(EVENTS_LIMIT);
        let follower = tokio::spawn(events::follow(self.context.config.containerd_socket(), sender, self.stop.clone()));
        let api: Api<Pod> = Api::all(self.context.client.clone());
        let selector = format!("spec.nodeName={}", self.context.config.node_name);
        let mut watch = watcher(api, watcher::Config::default().fields(&selector)).default_backoff().boxed();
        let mut relist = tokio::time::interval(RELIST);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(event) = watch.next() => match event {
                    Ok(event) => self.apply(event).await,
                    Err(error) => tracing::warn!(%error, "watch pods"),
                },
                Some(event) = runtime_events.recv() => match event {
                    RuntimeEvent::Changed(id) => self.changed(&id, Handle::wake).await,
                    RuntimeEvent::Ended(id) => self.changed(&id, |handle| handle.ended(&id)).await,
                    RuntimeEvent::Unknown => self.compare().await,
                },
                _ = relist.tick() => self.compare().await,
            }
        }
        self.end().await;
        let _ = follower.await;
    }

    async fn end(self) {
        let handles: Vec<Arc<Handle>> =
            self.pods.lock().map(|mut pods| pods.drain().map(|(_, handle)| handle).collect()).unwrap_or_default();
        if self.context.config.stop_pods_on_shutdown {
            handles.iter().for_each(|handle| handle.forget());
            let deadline = tokio::time::Instant::now() + STOP_LIMIT;
            while !handles.iter().all(|handle| handle.finished()) && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.workers_stop.cancel();
        for handle in handles {
            if let Ok(handle) = Arc::try_unwrap(handle) {
                handle.join().await;
            }
        }
    }

    async fn apply(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(pod) => {
                self.listed.insert(spec::uid(&pod).to_owned());
                self.updated(pod);
            }
            watcher::Event::InitDone => {
                let gone: Vec<Arc<Handle>> = self
                    .with(|pods| pods.iter().filter(|(uid, _)| !self.listed.contains(*uid)).map(|(_, handle)| handle.clone()).collect());
                gone.iter().for_each(|handle| handle.forget());
                if !std::mem::replace(&mut self.synced, true) {
                    self.compare().await;
                }
            }
            watcher::Event::Apply(pod) => self.updated(pod),
            watcher::Event::Delete(pod) => {
                if let Some(handle) = self.handle(spec::uid(&pod)) {
                    handle.forget();
                }
            }
        }
    }

    fn with<T>(&self, access: impl FnOnce(&mut HashMap<String, Arc<Handle>>) -> T) -> T {
        let mut pods = self.pods.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        access(&mut pods)
    }

    fn handle(&self, uid: &str) -> Option<Arc<Handle>> {
        self.with(|pods| pods.get(uid).cloned())
    }

    fn updated(&mut self, pod: Pod) {
        let pod = Arc::new(pod);
        let uid = spec::uid(&pod).to_owned();
        match self.handle(&uid) {
            Some(handle) if !handle.finished() => handle.update(pod),
            Some(_) => {}
            None => {
                let handle = Handle::start(self.context.clone(), pod, self.workers_stop.clone());
                self.with(|pods| pods.insert(uid, Arc::new(handle)));
            }
        }
    }

    /// Something befell a container or sandbox: its pod's worker is told.
    async fn changed(&mut self, id: &str, tell: impl FnOnce(&Handle)) {
        if !self.known.contains_key(id) {
            self.compare().await;
        }
        let handle = self.known.get(id).and_then(|(uid, _)| self.handle(uid));
        if let Some(handle) = handle {
            tell(&handle);
        }
    }

    /// Compares everything the runtime has with what was known, wakes the workers of what differs, and takes on pods that
    /// only the runtime still knows.
    async fn compare(&mut self) {
        let now = match self.everything().await {
            Ok(now) => now,
            Err(error) => {
                tracing::debug!(%error, "compare with the runtime");
                return;
            }
        };
        let mut touched: HashSet<&str> = HashSet::new();
        for (id, (uid, state, _)) in &now {
            if self.known.get(id).is_none_or(|(_, before)| before != state) {
                touched.insert(uid);
            }
        }
        for (id, (uid, _)) in &self.known {
            if !now.contains_key(id) {
                touched.insert(uid);
            }
        }
        for handle in touched.iter().filter_map(|uid| self.handle(uid)) {
            handle.wake();
        }
        if self.synced {
            for (uid, _, labels) in now.values() {
                if self.handle(uid).is_none() {
                    self.adopt_orphan(uid, labels);
                }
            }
        }
        self.with(|pods| pods.retain(|_, handle| !handle.finished()));
        let pods = self.pods.clone();
        self.context.objects.forget(|uid| pods.lock().is_ok_and(|pods| pods.contains_key(uid)));
        self.known = now.into_iter().map(|(id, (uid, state, _))| (id, (uid, state))).collect();
    }

    /// A pod that was deleted while no kubelet watched: its worker ends it.
    fn adopt_orphan(&self, uid: &str, labels: &HashMap<String, String>) {
        let get = |key: &str| labels.get(key).cloned();
        let pod = Pod {
            metadata: ObjectMeta {
                name: get(labels::POD_NAME),
                namespace: get(labels::POD_NAMESPACE),
                uid: Some(uid.to_owned()),
                ..Default::default()
            },
            spec: None,
            status: None,
        };
        tracing::info!(pod = spec::display(&pod), "ending a pod that the API no longer has");
        let handle = Handle::start(self.context.clone(), Arc::new(pod), self.workers_stop.clone());
        handle.forget();
        self.with(|pods| pods.insert(uid.to_owned(), Arc::new(handle)));
    }

    /// Containers and sandboxes by id: pod UID, state, labels.
    async fn everything(&self) -> crate::Result<BTreeMap<String, (String, i32, HashMap<String, String>)>> {
        let cri = &self.context.cri;
        let containers = cri.list_containers("the node", cri::ListContainersRequest::default()).await?.containers;
        let sandboxes = cri.list_pod_sandbox("the node", cri::ListPodSandboxRequest::default()).await?.items;
        let containers = containers.into_iter().map(|container| (container.id, container.state, container.labels));
        let sandboxes = sandboxes.into_iter().map(|sandbox| (sandbox.id, sandbox.state, sandbox.labels));
        Ok(containers
            .chain(sandboxes)
            .filter_map(|(id, state, labels)| Some((id, (labels.get(labels::POD_UID)?.clone(), state, labels))))
            .collect())
    }
}
