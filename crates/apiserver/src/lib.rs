//! The Kubernetes API over HTTP: the chain that every request goes through, verbs, watches, discovery, OpenAPI and streams to kubelets.
//!
//! This room turns HTTP into reads and writes of the registry and back. It must never know how the store replicates, where a key lives,
//! what a controller does with an object, or how a container runs. Kinds are data to it: whatever it does, it does from their schema.

mod access;
mod admit;
mod allocate;
mod authn;
mod body;
mod bootstrap;
mod cbor;
mod chain;
mod config;
mod context;
mod convert;
mod custom;
mod discovery;
mod encoded;
mod endpoint;
mod health;
mod info;
mod limits;
mod local;
mod media;
mod metrics;
mod openapi;
mod options;
mod pipeline;
mod respond;
mod reviews;
mod selectors;
mod serve;
mod server;
mod stamp;
mod subresources;
mod table;
#[cfg(test)]
mod testing;
mod verbs;
mod warnings;

pub use authn::TokenAuthenticator;
pub use body::read_object;
pub use config::ApiServerConfig;
pub use local::LocalService;
pub use serve::Listening;
pub use server::ApiServer;

/// The version of Kubernetes whose API this is.
pub const KUBERNETES_VERSION: &str = "v1.36.2";

/// The answer of every handler.
pub(crate) type Answer = Result<http::Response<axum::body::Body>, tricorn_meta::Status>;
