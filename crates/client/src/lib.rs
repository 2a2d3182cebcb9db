//! How the rooms of the house that stand on the Kubernetes API reach it: one [`kube::Client`], in process or over
//! mutual TLS with fail-over, shared watch caches, a work queue, an event recorder, and the runner that ties work
//! to leadership. It must never know the registry, the store, or how the API server answers.

pub mod demands;
mod error;
mod events;
mod informers;
pub mod leader;
mod objects;
mod queue;
mod remote;
mod shared;

pub use error::{Context, RequestError};
pub use events::{EventKind, Recorder};
pub use informers::Informers;
pub use objects::{Deletion, Kind, Objects};
pub use queue::{Next, Queue};
pub use remote::{ClientIdentity, RemoteConfig, RemoteError, from_kubeconfig, remote};
pub use shared::{Change, Key, Shared};

use http::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Service};

/// Makes a client whose requests are handed to `service` inside this process: no socket, no TLS.
///
/// The identity of the caller is whatever the service stamps on its requests.
pub fn in_process<S, B>(service: S, default_namespace: &str) -> kube::Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    kube::Client::new(service, default_namespace)
}
