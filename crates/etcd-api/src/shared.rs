//! What all services of the door have in common.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tricorn_store::{Credential, Result, Store};

use crate::config::EtcdApiConfig;
use crate::error::status_of;
use crate::tokens::TokenMode;

/// Metadata in which a token is shown: etcd's own, and that of its JSON gateway.
const TOKENS: [&str; 2] = ["token", "authorization"];
/// Metadata of requests that a gateway passes on: the certificate is the gateway's, not the client's.
const GATEWAY: &str = "grpcgateway-accept";

/// The name in the certificate of a connection's client, put into its requests.
#[derive(Clone)]
pub(crate) struct ClientName(pub Arc<str>);

/// The store, the settings, the token that ends every stream, and the work that a call may leave behind when it is dropped.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The store as the cluster itself uses it. What a client asks for goes to what [`Shared::admit`] gives.
    pub store: Store,
    pub tokens: TokenMode,
    pub config: Arc<EtcdApiConfig>,
    pub stop: CancellationToken,
    pub background: TaskTracker,
}

impl Shared {
    /// The store as the client of this request may use it. Refuses a request that wants a leader when there is none.
    pub fn admit<T>(&self, request: &Request<T>) -> Result<Store, Status> {
        self.require_leader(request)?;
        let credential = self.credential(request).map_err(|error| status_of(&error))?;
        Ok(self.store.for_client(credential))
    }

    /// Refuses a request that wants a leader when there is none.
    pub fn require_leader<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if requires_leader(request.metadata()) && self.store.leadership().borrow().leader.is_none() {
            return Err(no_leader());
        }
        Ok(())
    }

    /// How a client has said who it is. A token counts for more than a certificate.
    fn credential<T>(&self, request: &Request<T>) -> Result<Credential> {
        let metadata = request.metadata();
        if let Some(token) = TOKENS.iter().find_map(|name| metadata.get(*name)) {
            // What is not text is no token that anybody was given.
            return self.tokens.read(&self.store, token.to_str().unwrap_or_default());
        }
        let certified = request.extensions().get::<ClientName>().filter(|_| metadata.get(GATEWAY).is_none());
        Ok(certified.map_or(Credential::Nobody, |ClientName(name)| Credential::Name(name.to_string())))
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
