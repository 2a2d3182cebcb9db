//! What all services of the door have in common.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tricorn_store::{Result, Store};

use crate::config::EtcdApiConfig;
use crate::error::status_of;

/// The store, the settings, the token that ends every stream, and the work that a call may leave behind when it is dropped.
#[derive(Clone)]
pub(crate) struct Shared {
    pub store: Store,
    pub config: Arc<EtcdApiConfig>,
    pub stop: CancellationToken,
    pub background: TaskTracker,
}

impl Shared {
    /// Refuses a request that wants a leader when there is none.
    pub fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if requires_leader(request.metadata()) && self.store.leadership().borrow().leader.is_none() {
            return Err(no_leader());
        }
        Ok(())
    }

    /// Returns when there has been no leader for `grace`.
    pub async fn leader_lost(&self, grace: Duration) {
        let mut leadership = self.store.leadership();
        loop {
            if leadership.wait_for(|now| now.leader.is_none()).await.is_err() {
                return;
            }
            if tokio::time::timeout(grace, leadership.wait_for(|now| now.leader.is_some())).await.is_err() {
                return;
            }
        }
    }
}

/// Whether the client has asked to be told when there is no leader.
pub(crate) fn requires_leader(metadata: &MetadataMap) -> bool {
    metadata.get("hasleader").is_some_and(|value| value == "true")
}

pub(crate) fn no_leader() -> Status {
    Status::unavailable("etcdserver: no leader")
}

/// A store's answer as gRPC's.
pub(crate) fn answer<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| status_of(&error))
}
