//! The shared caches of one client: each kind is watched once, whoever asks.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use kube::runtime::watcher;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::objects::Kind;
use crate::shared::Shared;

struct Inner {
    client: Client,
    shutdown: CancellationToken,
    caches: Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>,
    tasks: TaskTracker,
}

/// Shared caches, started when first asked for and fed until shutdown.
#[derive(Clone)]
pub struct Informers {
    inner: Arc<Inner>,
}

impl Informers {
    /// Caches that are fed through `client` until `shutdown`.
    pub fn new(client: Client, shutdown: CancellationToken) -> Self {
        Self { inner: Arc::new(Inner { client, shutdown, caches: Mutex::new(HashMap::new()), tasks: TaskTracker::new() }) }
    }

    /// The cache of kind `K` in all namespaces.
    pub fn of<K: Kind>(&self) -> Shared<K> {
        let mut caches = self.inner.caches.lock();
        if let Some(known) = caches.get(&TypeId::of::<K>()).and_then(|any| any.downcast_ref::<Shared<K>>()) {
            return known.clone();
        }
        let shared = Shared::<K>::new();
        caches.insert(TypeId::of::<K>(), Box::new(shared.clone()));
        let api = Api::<K>::all(self.inner.client.clone());
        let feed = shared.clone().feed(api, watcher::Config::default(), self.inner.shutdown.clone());
        self.inner.tasks.spawn(feed);
        shared
    }

    /// Waits until every watch has stopped, after shutdown was asked for.
    pub async fn stopped(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}
