//! The list/watch cache of one resource: its objects, its latest changes, and how far it has come.

mod change;
mod feed;
mod state;

pub use change::{Change, ChangeKind};
pub(crate) use feed::{event_change, read, run};
pub(crate) use state::{Position, State};

use crate::keys::StoredResource;
use crate::object::Object;
use parking_lot::RwLock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tricorn_meta::Status;

/// How long a reader waits for the cache to reach a revision before it is told to try again.
pub(crate) const FRESHNESS_DEADLINE: Duration = Duration::from_secs(3);
/// How long the first reader of a resource waits for its cache to fill.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(15);
/// While somebody waits for a revision, the store is asked again for its progress this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(20);

/// The list/watch cache of one resource. It is fed by one watch of the store, from the first time somebody asks for the resource.
#[derive(Debug)]
pub struct Cache {
    resource: StoredResource,
    pub(crate) state: RwLock<State>,
    /// The revision that the cache has reached; 0 until it is filled.
    reached: watch::Sender<i64>,
    /// Rung when a reader needs to know how far the store has come.
    progress_wanted: Notify,
}

impl Cache {
    pub(crate) fn new(resource: StoredResource) -> Self {
        Self { resource, state: RwLock::default(), reached: watch::Sender::new(0), progress_wanted: Notify::new() }
    }

    /// What the cache holds.
    pub fn resource(&self) -> &StoredResource {
        &self.resource
    }

    /// The revision that the cache has reached; 0 until it is filled for the first time.
    pub fn revision(&self) -> i64 {
        *self.reached.borrow()
    }

    /// Whether the cache has been filled.
    pub fn is_ready(&self) -> bool {
        self.revision() > 0
    }

    /// The object at `key` as the cache has it now.
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state.read().object(key)
    }

    /// All objects as the cache has them now, in key order.
    pub fn all(&self) -> Vec<Arc<Object>> {
        self.state.read().objects().collect()
    }

    /// Waits until the cache is filled.
    pub async fn ready(&self) -> Result<(), Status> {
        self.wait(1, START_DEADLINE).await.map_err(|_| {
            let prefix = &self.resource.prefix;
            Status::service_unavailable(format!("storage is (re)initializing: {prefix} has not been read yet"))
        })
    }

    /// Waits until the cache has seen everything up to `revision`.
    pub async fn wait_for(&self, revision: i64) -> Result<(), Status> {
        self.ready().await?;
        self.wait(revision, FRESHNESS_DEADLINE).await.map_err(|reached| crate::error::too_new(revision, reached))
    }

    /// Tells that the cache has moved on, whether or not its objects changed.
    pub fn changes(&self) -> watch::Receiver<i64> {
        self.reached.subscribe()
    }

    /// Asks the store how far it has come, so that an idle cache moves on with the rest of the store.
    pub fn want_progress(&self) {
        self.progress_wanted.notify_one();
    }

    async fn wait(&self, revision: i64, limit: Duration) -> Result<(), i64> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut reached = self.reached.subscribe();
        let waited = tokio::time::timeout(limit, async {
            loop {
                self.progress_wanted.notify_one();
                let next = tokio::time::timeout(PROGRESS_INTERVAL, reached.wait_for(|reached| *reached >= revision)).await;
                if next.is_ok() {
                    return;
                }
            }
        });
        waited.await.map_err(|_| self.revision())
    }

    /// Changes the state and tells everybody how far the cache is now.
    pub(crate) fn change(&self, with: impl FnOnce(&mut State)) {
        let revision = {
            let mut state = self.state.write();
            with(&mut state);
            state.revision()
        };
        self.reached.send_replace(revision);
    }

    pub(crate) async fn progress_wanted(&self) {
        self.progress_wanted.notified().await;
    }
}
