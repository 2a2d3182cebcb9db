//! One watched kind, held in memory and shared by all who read it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// First pause after a failed list or watch.
const RETRY_FIRST_MS: u64 = 100;
/// Longest pause between two tries.
const RETRY_MAX_MS: u64 = 5_000;

/// Where an object lives: its namespace (empty for cluster-scoped kinds) and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }

    /// The namespace as requests take it: none for cluster-scoped kinds.
    pub fn namespace(&self) -> Option<&str> {
        Some(self.namespace.as_str()).filter(|namespace| !namespace.is_empty())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// What happened to one object of the cache.
#[derive(Debug)]
pub enum Change<K> {
    /// It is new here.
    Added(Arc<K>),
    /// It changed from `old` to `new`.
    Updated {
        /// Before.
        old: Arc<K>,
        /// After.
        new: Arc<K>,
    },
    /// It is gone; this is the last version seen.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The newest version that is known.
    pub fn latest(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Deleted(object) | Self::Updated { new: object, .. } => object,
        }
    }

    /// The version before, where there was one.
    pub fn old(&self) -> Option<&Arc<K>> {
        match self {
            Self::Updated { old, .. } => Some(old),
            _ => None,
        }
    }
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

struct State<K> {
    objects: BTreeMap<Key, Arc<K>>,
    by_owner: HashMap<String, BTreeSet<Key>>,
    unowned: BTreeSet<Key>,
}

struct Inner<K> {
    state: RwLock<State<K>>,
    /// Held while one event is stored and told, so that a handler that comes later misses and repeats nothing.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

/// All objects of one kind, kept current by one watch. Clones share the same cache.
pub struct Shared<K> {
    inner: Arc<Inner<K>>,
}

impl<K> Clone for Shared<K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K: Resource + Send + Sync + 'static> Default for Shared<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Resource + Send + Sync + 'static> Shared<K> {
    /// An empty cache that nothing feeds yet: see [`Shared::feed`].
    pub fn new() -> Self {
        let state = State { objects: BTreeMap::new(), by_owner: HashMap::new(), unowned: BTreeSet::new() };
        Self { inner: Arc::new(Inner { state: RwLock::new(state), handlers: Mutex::new(Vec::new()), synced: watch::Sender::new(false) }) }
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.inner.state.read().objects.get(key).cloned()
    }

    /// One object of a cluster-scoped kind.
    pub fn named(&self, name: &str) -> Option<Arc<K>> {
        self.get(&Key::new("", name))
    }

    /// All objects, ordered by namespace and name.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.inner.state.read().objects.values().cloned().collect()
    }

    /// All objects of a namespace, ordered by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.inner.state.read();
        state
            .objects
            .range(Key::new(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// The objects whose controller has this uid.
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<K>> {
        let state = self.inner.state.read();
        let keys = state.by_owner.get(uid);
        keys.into_iter().flatten().filter_map(|key| state.objects.get(key).cloned()).collect()
    }

    /// The objects of a namespace that no controller owns.
    pub fn uncontrolled_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.inner.state.read();
        state
            .unowned
            .range(Key::new(namespace, "")..)
            .take_while(|key| key.namespace == namespace)
            .filter_map(|key| state.objects.get(key).cloned())
            .collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.inner.state.read().objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `handler` for every object that is there, as added, and then for every change, in order. It runs on the
    /// watching task, so it must be quick and must not wait; putting a key in a queue is what it is for.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut handlers = self.inner.handlers.lock();
        for object in self.all() {
            handler(&Change::Added(object));
        }
        handlers.push(Box::new(handler));
    }

    /// Whether the first list has arrived.
    pub fn is_synced(&self) -> bool {
        *self.inner.synced.borrow()
    }

    /// Waits until the first list has arrived.
    pub async fn synced(&self) {
        let mut synced = self.inner.synced.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Stores one object and tells the handlers. Public for tests and for feeding from other sources than a watch.
    pub fn apply(&self, mut object: K) {
        object.meta_mut().managed_fields = None;
        let handlers = self.inner.handlers.lock();
        let new = Arc::new(object);
        let old = self.inner.state.write().insert(new.clone());
        let change = match old {
            Some(old) => Change::Updated { old, new },
            None => Change::Added(new),
        };
        handlers.iter().for_each(|handler| handler(&change));
    }

    /// Forgets one object and tells the handlers.
    pub fn remove(&self, object: K) {
        let handlers = self.inner.handlers.lock();
        if self.inner.state.write().remove(&Key::of(&object)).is_some() {
            let change = Change::Deleted(Arc::new(object));
            handlers.iter().for_each(|handler| handler(&change));
        }
    }

    /// Makes the cache equal to `objects`, telling the handlers what differs, and marks it synced.
    pub fn replace_all(&self, objects: Vec<K>) {
        let mut absent: BTreeSet<Key> = self.inner.state.read().objects.keys().cloned().collect();
        for object in objects {
            let key = Key::of(&object);
            absent.remove(&key);
            let known = self.get(&key);
            let same = known.is_some_and(|known| {
                known.meta().resource_version == object.meta().resource_version && known.meta().uid == object.meta().uid
            });
            if !same {
                self.apply(object);
            }
        }
        for key in absent {
            let handlers = self.inner.handlers.lock();
            let gone = self.inner.state.write().remove(&key);
            if let Some(object) = gone {
                let change = Change::Deleted(object);
                handlers.iter().for_each(|handler| handler(&change));
            }
        }
        self.inner.synced.send_replace(true);
    }
}

impl<K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static> Shared<K> {
    /// Feeds the cache from a list and a watch until `shutdown`, retrying for as long as that takes.
    pub async fn feed(self, api: Api<K>, config: watcher::Config, shutdown: CancellationToken) {
        let what = api.resource_url().to_owned();
        let mut events = watcher(api, config).boxed();
        let mut fresh: Option<Vec<K>> = None;
        let mut failures = 0_u32;
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.try_next() => event,
            };
            match event {
                Ok(None) => return,
                Ok(Some(event)) => {
                    if failures > 0 {
                        debug!(%what, failures, "watch recovered");
                    }
                    failures = 0;
                    self.take(event, &mut fresh);
                }
                Err(error) => {
                    failures += 1;
                    if failures == 3 {
                        warn!(%what, %error, "cannot watch; retrying");
                    } else {
                        debug!(%what, %error, failures, "watch failed; retrying");
                    }
                    let pause = (RETRY_FIRST_MS << failures.min(10)).min(RETRY_MAX_MS);
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(Duration::from_millis(pause)) => {}
                    }
                }
            }
        }
    }

    fn take(&self, event: Event<K>, fresh: &mut Option<Vec<K>>) {
        match event {
            Event::Init => *fresh = Some(Vec::new()),
            Event::InitApply(mut object) => {
                object.meta_mut().managed_fields = None;
                fresh.get_or_insert_with(Vec::new).push(object);
            }
            Event::InitDone => self.replace_all(fresh.take().unwrap_or_default()),
            Event::Apply(object) => self.apply(object),
            Event::Delete(object) => self.remove(object),
        }
    }
}

/// The uid of the owner that is marked as the controller.
fn controller_uid<K: Resource>(object: &K) -> Option<&str> {
    let owners = object.meta().owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

impl<K: Resource> State<K> {
    fn insert(&mut self, object: Arc<K>) -> Option<Arc<K>> {
        let key = Key::of(object.as_ref());
        let old = self.remove(&key);
        match controller_uid(object.as_ref()) {
            Some(uid) => {
                self.by_owner.entry(uid.to_owned()).or_default().insert(key.clone());
            }
            None => {
                self.unowned.insert(key.clone());
            }
        }
        self.objects.insert(key, object);
        old
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let old = self.objects.remove(key)?;
        match controller_uid(old.as_ref()) {
            Some(uid) => {
                if let Some(keys) = self.by_owner.get_mut(uid) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.by_owner.remove(uid);
                    }
                }
            }
            None => {
                self.unowned.remove(key);
            }
        }
        Some(old)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    fn map(name: &str, version: &str, controller: Option<&str>) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("default".into());
        object.metadata.name = Some(name.into());
        object.metadata.uid = Some(format!("uid-{name}"));
        object.metadata.resource_version = Some(version.into());
        object.metadata.owner_references =
            controller.map(|uid| vec![OwnerReference { uid: uid.into(), controller: Some(true), ..Default::default() }]);
        object
    }

    fn record(shared: &Shared<ConfigMap>) -> Arc<Mutex<Vec<String>>> {
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = log.clone();
        shared.on_change(move |change| {
            let word = match change {
                Change::Added(_) => "added",
                Change::Updated { .. } => "updated",
                Change::Deleted(_) => "deleted",
            };
            sink.lock().push(format!("{word} {}", Key::of(change.latest().as_ref()).name));
        });
        log
    }

    #[test]
    fn a_relist_tells_only_what_differs() {
        let shared = Shared::new();
        let log = record(&shared);
        shared.replace_all(vec![map("a", "1", None), map("b", "1", None), map("c", "1", None)]);
        log.lock().clear();
        shared.replace_all(vec![map("a", "1", None), map("b", "2", None), map("d", "1", None)]);
        assert_eq!(*log.lock(), ["updated b", "added d", "deleted c"]);
        assert!(shared.is_synced());
    }

    #[test]
    fn a_late_handler_hears_of_everything_that_is_there() {
        let shared = Shared::new();
        shared.apply(map("a", "1", None));
        let log = record(&shared);
        shared.remove(map("a", "2", None));
        assert_eq!(*log.lock(), ["added a", "deleted a"]);
    }

    #[test]
    fn objects_are_found_by_their_controller() {
        let shared = Shared::new();
        shared.apply(map("a", "1", Some("x")));
        shared.apply(map("b", "1", None));
        assert_eq!(shared.controlled_by("x").len(), 1);
        assert_eq!(shared.uncontrolled_in("default").len(), 1);
        shared.apply(map("a", "2", None));
        assert!(shared.controlled_by("x").is_empty());
        assert_eq!(shared.uncontrolled_in("default").len(), 2);
        assert!(shared.uncontrolled_in("other").is_empty());
    }
}
