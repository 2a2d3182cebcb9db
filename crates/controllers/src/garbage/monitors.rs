//! Watches the metadata of every kind that can be deleted, and feeds the graph.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;
use tricorn_client::{Change, Queue, Shared};

use super::act::Collector;
use super::graph::{Graph, Identity};
use crate::context::Context;
use crate::discovery::{self, Found};
use crate::supervise::Failure;

/// Objects that are looked at at a time.
const WORKERS: usize = 8;
/// How long the first lists may take before work begins without some, in seconds; owners are asked for anyway.
const SYNC_SECONDS: u64 = 30;
/// Pause between a change of the kinds that are served and the look at it, in seconds.
const GATHER_SECONDS: u64 = 1;
/// Pause before discovery that failed in part is tried again, in seconds.
const RETRY_SECONDS: u64 = 30;

type Metadata = PartialObjectMeta<DynamicObject>;

/// Runs the controller until shutdown.
pub(crate) async fn run(context: Context) -> Result<(), Failure> {
    let collector = Arc::new(Collector {
        client: context.client.clone(),
        graph: Mutex::new(Graph::default()),
        kinds: RwLock::default(),
        deletions: Queue::new("garbage"),
        orphans: Queue::new("orphans"),
    });
    let stop = context.shutdown.child_token();
    // Whichever way this ends, the watches end with it.
    let _guard = stop.clone().drop_guard();
    let mut monitors = Monitors {
        collector: collector.clone(),
        running: HashMap::new(),
        tasks: TaskTracker::new(),
        changed: Arc::new(Notify::new()),
        stop: stop.clone(),
    };
    let complete = monitors.refresh().await?;
    let synced = async {
        for monitor in monitors.running.values() {
            monitor.cache.synced().await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(SYNC_SECONDS), synced).await.is_err() {
        debug!("some kinds could not be listed yet; collecting garbage without them");
    }
    let deleting = {
        let own = collector.clone();
        collector.deletions.clone().run(WORKERS, stop.clone(), move |uid| {
            let own = own.clone();
            async move { own.try_delete(&uid).await }
        })
    };
    let orphaning = {
        let own = collector.clone();
        collector.orphans.clone().run(WORKERS, stop.clone(), move |uid| {
            let own = own.clone();
            async move { own.try_orphan(&uid).await }
        })
    };
    let following = monitors.follow(complete);
    tokio::join!(deleting, orphaning, following);
    Ok(())
}

struct Monitor {
    cache: Shared<Metadata>,
    stop: CancellationToken,
}

struct Monitors {
    collector: Arc<Collector>,
    running: HashMap<(String, String), Monitor>,
    tasks: TaskTracker,
    changed: Arc<Notify>,
    stop: CancellationToken,
}

fn is_watched(found: &Found) -> bool {
    found.offers(&["list", "watch", "delete"]) && found.resource.plural != "events"
}

impl Monitors {
    /// Looks again whenever kinds are added or removed.
    async fn follow(mut self, mut complete: bool) {
        loop {
            let retry = async {
                if complete {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_secs(RETRY_SECONDS)).await;
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.changed.notified() => tokio::time::sleep(Duration::from_secs(GATHER_SECONDS)).await,
                () = retry => {}
            }
            complete = match self.refresh().await {
                Ok(complete) => complete,
                Err(error) => {
                    debug!(%error, "discovery failed; it will be tried again");
                    false
                }
            };
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Starts watches for new kinds and stops those of kinds that are gone; true if all groups answered.
    async fn refresh(&mut self) -> Result<bool, Failure> {
        let (resources, complete) = discovery::resources(&self.collector.client).await?;
        let key = |found: &Found| (found.resource.group.clone(), found.resource.plural.clone());
        {
            let mut kinds = self.collector.kinds.write();
            if complete {
                kinds.clear();
            }
            kinds.extend(
                resources.iter().map(|found| ((found.resource.group.clone(), found.resource.kind.clone()), Arc::new(found.clone()))),
            );
        }
        if complete {
            let served: Vec<(String, String)> = resources.iter().filter(|found| is_watched(found)).map(key).collect();
            self.running.retain(|name, monitor| {
                let stays = served.contains(name);
                if !stays {
                    monitor.stop.cancel();
                    forget_all(&self.collector, &monitor.cache);
                }
                stays
            });
        }
        for found in resources.into_iter().filter(is_watched) {
            let name = key(&found);
            if !self.running.contains_key(&name) {
                let monitor = self.start(&found);
                self.running.insert(name, monitor);
            }
        }
        Ok(complete)
    }

    fn start(&self, found: &Found) -> Monitor {
        let cache = Shared::<Metadata>::new();
        let stop = self.stop.child_token();
        let collector = self.collector.clone();
        let (api_version, kind) = (found.resource.api_version.clone(), found.resource.kind.clone());
        let changes_kinds = matches!(found.resource.plural.as_str(), "customresourcedefinitions" | "apiservices");
        let changed = self.changed.clone();
        cache.on_change(move |change| {
            if changes_kinds {
                changed.notify_one();
            }
            let object = change.latest();
            let uid = object.uid().unwrap_or_default();
            let wake = if matches!(change, Change::Deleted(_)) {
                collector.graph.lock().remove(&uid)
            } else {
                let id = Identity {
                    api_version: api_version.clone(),
                    kind: kind.clone(),
                    namespace: object.namespace().unwrap_or_default(),
                    name: object.name_any(),
                    uid,
                };
                // An object that took the place of another of the same name while the watch was away.
                let replaced = change.old().and_then(|old| old.uid()).filter(|old| *old != id.uid);
                let mut graph = collector.graph.lock();
                if let Some(old) = replaced {
                    let wake = graph.remove(&old);
                    collector.wake(wake);
                }
                graph.upsert(id, &object.metadata)
            };
            collector.wake(wake);
        });
        let api: Api<Metadata> = Api::all_with(self.collector.client.clone(), &found.resource);
        self.tasks.spawn(cache.clone().feed(api, watcher::Config::default(), stop.clone()));
        Monitor { cache, stop }
    }
}

/// The kind is not served any more, so nothing is known of its objects.
fn forget_all(collector: &Collector, cache: &Shared<Metadata>) {
    for object in cache.all() {
        let wake = collector.graph.lock().remove(&object.uid().unwrap_or_default());
        collector.wake(wake);
    }
}
