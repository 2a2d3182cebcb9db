//! The front of the registry: reading, listing and watching; writing is in `write`.

use crate::cache::{self, Cache, event_change};
use crate::error::{store_error, too_old};
use crate::keys::{StoredResource, prefix_end};
use crate::leases::Leases;
use crate::list::{CONTINUATION_EXPIRED, ListQuery, Page, Paged, Predicate, Version, start_key};
use crate::object::Object;
use crate::watch::Watch;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tricorn_meta::Status;
use tricorn_proto::etcdserverpb::RangeRequest;
use tricorn_store::{Store, WatchMessage, WatchOptions};

/// Reading a watch's past from the store's history takes at most this long.
const HISTORY_DEADLINE: Duration = Duration::from_secs(10);
/// A watch that would begin with more changes than this is told to list instead.
const HISTORY_CHANGES: usize = 20_000;

/// All Kubernetes objects of the cluster, as this server sees them. Clones share everything.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    caches: RwLock<HashMap<Arc<str>, Arc<Cache>>>,
    /// One task a cache; they end with the registry.
    feeds: Mutex<JoinSet<()>>,
    leases: Leases,
}

impl Registry {
    /// The registry over a running store. Nothing is read until somebody asks.
    pub fn new(store: Store) -> Self {
        Self { inner: Arc::new(Inner { store, caches: RwLock::default(), feeds: Mutex::default(), leases: Leases::default() }) }
    }

    /// The store beneath.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.inner.leases
    }

    /// The cache of a resource, started if this is the first time anybody asks. Must be called within a runtime.
    pub fn cache(&self, resource: &StoredResource) -> Arc<Cache> {
        if let Some(cache) = self.inner.caches.read().get(&resource.prefix) {
            return cache.clone();
        }
        let mut caches = self.inner.caches.write();
        let new = || {
            let cache = Arc::new(Cache::new(resource.clone()));
            self.inner.feeds.lock().spawn(cache::run(self.inner.store.clone(), cache.clone()));
            cache
        };
        caches.entry(resource.prefix.clone()).or_insert_with(new).clone()
    }

    /// Ends all caches; watches and waiting readers end with an error.
    pub async fn shutdown(&self) {
        let mut feeds = std::mem::take(&mut *self.inner.feeds.lock());
        feeds.shutdown().await;
    }

    /// The cache of a resource, as fresh as a read that starts now must be.
    async fn fresh(&self, resource: &StoredResource) -> Result<Arc<Cache>, Status> {
        let cache = self.cache(resource);
        let (revision, ready) = tokio::join!(self.inner.store.read_index(), cache.ready());
        ready?;
        let revision = revision.map_err(|error| store_error("read", &resource.prefix, &error))?;
        cache.wait_for(revision).await?;
        Ok(cache)
    }

    /// The cache of a resource, as fresh as `version` asks for.
    async fn cache_at(&self, resource: &StoredResource, version: Version) -> Result<Arc<Cache>, Status> {
        match version {
            Version::Latest => self.fresh(resource).await,
            Version::Any => {
                let cache = self.cache(resource);
                cache.ready().await?;
                Ok(cache)
            }
            Version::NotOlderThan(revision) | Version::Exact(revision) => {
                let cache = self.cache(resource);
                cache.wait_for(revision).await?;
                Ok(cache)
            }
        }
    }

    /// One object, as of now or later.
    pub async fn read(&self, resource: &StoredResource, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        self.get(resource, namespace, name, Version::Latest).await
    }

    /// One object, as fresh as `version` asks for.
    pub async fn get(&self, resource: &StoredResource, namespace: &str, name: &str, version: Version) -> Result<Arc<Object>, Status> {
        let cache = self.cache_at(resource, version).await?;
        cache.get(&resource.key(namespace, name)).ok_or_else(|| Status::not_found(&resource.group, &resource.plural, name))
    }

    /// One object straight from the store.
    pub(crate) async fn read_key(&self, key: &str) -> Result<Option<Arc<Object>>, Status> {
        let request = RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..RangeRequest::default() };
        let answer = self.inner.store.range(request).await.map_err(|error| store_error("read", key, &error))?;
        Ok(answer.kvs.into_iter().next().and_then(cache::read).map(Arc::new))
    }

    /// A list, or a page of one.
    pub async fn list(&self, resource: &StoredResource, query: &ListQuery) -> Result<Paged, Status> {
        let continued = query.continuation.as_ref();
        let version = match continued {
            Some(at) => at.revision.map_or(Version::Latest, Version::Exact),
            None => query.version,
        };
        let cache = self.cache_at(resource, version).await?;
        let scope = resource.scope(query.namespace.as_deref());
        let start = start_key(&cache, query);
        let page = {
            let state = cache.state.read();
            let revision = if let Version::Exact(revision) = version { revision } else { state.revision() };
            let page = Page { prefix: &resource.prefix, query, revision };
            state.snapshot(&scope, &start, revision).map(|objects| page.cut(objects))
        };
        if let Some(page) = page {
            return Ok(Paged::Page(page));
        }
        let Version::Exact(revision) = version else {
            return Err(Status::internal(format!("list {}: the cache has lost its present", resource.prefix)));
        };
        let start = start.max(scope.clone());
        match self.list_past(&scope, &start, revision).await {
            Ok(objects) => Ok(Paged::Page(Page { prefix: &resource.prefix, query, revision }.cut(objects.iter()))),
            Err(refusal) if refusal.code() == 410 => match continued {
                Some(at) => {
                    let token = crate::Continuation { revision: None, start: at.start.clone() }.encode();
                    Ok(Paged::Expired { message: CONTINUATION_EXPIRED, token })
                }
                None => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        }
    }

    /// The objects under `scope` from `start` on, as the store's history has them.
    async fn list_past(&self, scope: &str, start: &str, revision: i64) -> Result<Vec<Arc<Object>>, Status> {
        let request = RangeRequest {
            key: Bytes::copy_from_slice(start.as_bytes()),
            range_end: prefix_end(scope.as_bytes()).into(),
            revision,
            serializable: true,
            ..RangeRequest::default()
        };
        let answer = self.inner.store.range(request).await.map_err(|error| store_error("list", scope, &error))?;
        Ok(answer.kvs.into_iter().filter_map(|kv| cache::read(kv).map(Arc::new)).collect())
    }

    /// A watch of everything that happens after `from`; `None`: from now on, whatever this server calls now.
    pub async fn watch(
        &self,
        resource: &StoredResource,
        namespace: Option<&str>,
        from: Option<i64>,
        predicate: Predicate,
    ) -> Result<Watch, Status> {
        let cache = self.cache(resource);
        cache.ready().await?;
        let scope = resource.scope(namespace);
        let (position, known_since, seen) = {
            let state = cache.state.read();
            let from = from.unwrap_or(state.revision());
            match state.position_after(from) {
                Some(position) => (position, None, from),
                // The ring has to be joined to the history where the ring begins.
                None => (state.position_after(state.complete_since()).unwrap_or(state.end()), Some(state.complete_since()), from),
            }
        };
        let history = match known_since {
            Some(until) => self.history(&scope, seen, until).await?,
            None => VecDeque::new(),
        };
        Ok(Watch::new(cache, position, history, scope, predicate, seen))
    }

    /// A watch that begins with the objects as they are, at least as fresh as `version` says: those objects, their revision, and the watch of what follows.
    pub async fn watch_list(
        &self,
        resource: &StoredResource,
        namespace: Option<&str>,
        version: Version,
        predicate: Predicate,
    ) -> Result<(Vec<Arc<Object>>, i64, Watch), Status> {
        let cache = self.cache_at(resource, version).await?;
        let scope = resource.scope(namespace);
        let (objects, revision, position) = {
            let state = cache.state.read();
            let revision = state.revision();
            let objects: Vec<_> = state
                .snapshot(&scope, "", revision)
                .map(|all| all.filter(|object| predicate.matches(object)).cloned().collect())
                .unwrap_or_default();
            (objects, revision, state.end())
        };
        Ok((objects, revision, Watch::new(cache, position, VecDeque::new(), scope, predicate, revision)))
    }

    /// The changes under `scope` after `from`, up to and including `until`, from the store's history.
    async fn history(&self, scope: &str, from: i64, until: i64) -> Result<VecDeque<Arc<cache::Change>>, Status> {
        let options = WatchOptions {
            key: Bytes::copy_from_slice(scope.as_bytes()),
            range_end: prefix_end(scope.as_bytes()).into(),
            start_revision: from + 1,
            prev_kv: true,
            ..WatchOptions::default()
        };
        let mut watcher = self.inner.store.watch(options);
        watcher.handle().request_progress();
        let mut changes = VecDeque::new();
        let read = async {
            loop {
                match watcher.next().await {
                    Some(WatchMessage::Events { revision, .. } | WatchMessage::Progress { revision }) if revision > until => return Ok(()),
                    Some(WatchMessage::Events { revision, events }) => {
                        changes.extend(events.iter().filter_map(event_change).map(Arc::new));
                        if changes.len() > HISTORY_CHANGES {
                            return Err(too_old(revision));
                        }
                    }
                    Some(WatchMessage::Progress { revision }) if revision >= until => return Ok(()),
                    Some(WatchMessage::Progress { .. }) => {}
                    Some(WatchMessage::Canceled { compact_revision, .. }) if compact_revision > 0 => return Err(too_old(compact_revision)),
                    Some(WatchMessage::Canceled { reason, .. }) => return Err(Status::internal(format!("watch {scope}: {reason}"))),
                    None => return Err(Status::internal(format!("watch {scope}: the store ended it"))),
                }
            }
        };
        match tokio::time::timeout(HISTORY_DEADLINE, read).await {
            Ok(Ok(())) => Ok(changes),
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(Status::timeout(format_args!("watch {scope}: reading the history from revision {from} took too long"), 1)),
        }
    }
}
