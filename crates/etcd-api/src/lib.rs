//! etcd's door to the store: the v3 API over gRPC and as JSON, and etcd's HTTP endpoints, all on the same port, so that etcdctl, etcd's
//! clients and an upstream kube-apiserver work unchanged. It turns requests into calls of the store and errors into
//! etcd's codes and texts; it must never know how the store keeps its data, nor anything of Kubernetes.

mod auth;
mod authority;
mod caller;
mod cluster;
mod concurrency;
mod config;
mod counted;
mod election;
mod error;
mod gateway;
mod http;
mod jwt;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod metrics;
mod observe;
mod outbox;
mod quota;
mod server;
mod shared;
mod snapshot_file;
mod tokens;
mod unary;
mod watch;
mod watch_codec;
mod watch_session;

pub use config::{ETCD_CLUSTER_VERSION, ETCD_VERSION, EtcdApiConfig};
pub use error::{ServeError, status_of};
pub use jwt::SignedTokens;
pub use server::{EtcdApi, serve};
pub use tokens::TokenMode;
