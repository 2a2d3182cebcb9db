//! The kinds of which quotas limit nothing but the number. Each is watched, by its metadata alone, for as long as some quota names it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tricorn_client::{Change, RequestError, Shared};

use super::{Wake, plan};
use crate::discovery;

/// How long a first list may take before the count goes on without it, in seconds.
const SYNC_SECONDS: u64 = 5;

type Metadata = PartialObjectMeta<DynamicObject>;

struct Watched {
    cache: Shared<Metadata>,
    /// The watch ends with this.
    _stop: DropGuard,
}

/// The watches. Dropping them ends them.
pub(super) struct Counted {
    client: Client,
    wake: Wake,
    stop: CancellationToken,
    watched: Mutex<HashMap<(String, String), Watched>>,
    tasks: TaskTracker,
}

impl Counted {
    pub(super) fn new(client: Client, wake: Wake, stop: CancellationToken) -> Self {
        Self { client, wake, stop, watched: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// How many objects there are in the namespace; `None` if nobody knows.
    pub(super) async fn number(&self, group: &str, plural: &str, namespace: &str) -> Result<Option<usize>, RequestError> {
        let Some(cache) = self.cache(group, plural).await? else { return Ok(None) };
        let synced = tokio::time::timeout(Duration::from_secs(SYNC_SECONDS), cache.synced()).await.is_ok();
        Ok(synced.then(|| cache.in_namespace(namespace).len()))
    }

    async fn cache(&self, group: &str, plural: &str) -> Result<Option<Shared<Metadata>>, RequestError> {
        let name = (group.to_owned(), plural.to_owned());
        if let Some(watched) = self.watched.lock().get(&name) {
            return Ok(Some(watched.cache.clone()));
        }
        let (served, _) = discovery::resources(&self.client).await?;
        let is_it = |found: &discovery::Found| found.resource.group == group && found.resource.plural == plural;
        let Some(found) = served.into_iter().find(|found| is_it(found) && found.namespaced && found.offers(&["list", "watch"])) else {
            return Ok(None);
        };
        let mut watched = self.watched.lock();
        let entry = watched.entry(name).or_insert_with(|| self.watch(&found));
        Ok(Some(entry.cache.clone()))
    }

    fn watch(&self, found: &discovery::Found) -> Watched {
        let cache = Shared::<Metadata>::new();
        let wake = self.wake.clone();
        cache.on_change(move |change| {
            if !matches!(change, Change::Updated { .. }) {
                wake.namespace(&change.latest().namespace().unwrap_or_default());
            }
        });
        let stop = self.stop.child_token();
        let api: Api<Metadata> = Api::all_with(self.client.clone(), &found.resource);
        self.tasks.spawn(cache.clone().feed(api, watcher::Config::default(), stop.clone()));
        Watched { cache, _stop: stop.drop_guard() }
    }

    /// Ends the watches of what none of the quotas names.
    pub(super) fn keep_only(&self, quotas: &[Arc<ResourceQuota>]) {
        self.watched
            .lock()
            .retain(|(group, plural), _| quotas.iter().any(|quota| plan::resources(quota).contains(&(group.as_str(), plural.as_str()))));
    }

    /// Waits until all watches have ended, after shutdown was asked for.
    pub(super) async fn stopped(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
