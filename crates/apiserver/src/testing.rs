//! A server on a store in memory, for tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::chain::{self, Caller};
use crate::config::ApiServerConfig;
use crate::server::Server;
use axum::body::Body;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tricorn_meta::UserInfo;
use tricorn_pki::ServiceAccountKey;
use tricorn_registry::{Registry, Store};
use tricorn_store::{MemoryDisk, Storage, StoreConfig};

/// What takes longer than this has failed.
const DEADLINE: Duration = Duration::from_secs(20);
/// How `kubectl get` asks.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("in time")
}

/// A server that runs no tasks of its own, on a store that leads itself.
pub(crate) struct World {
    pub server: Arc<Server>,
    store: Store,
}

impl World {
    /// With the namespace `default`.
    pub(crate) async fn start() -> Self {
        let mut config = StoreConfig::new("a", "");
        config.storage = Storage::Disk(Arc::new(MemoryDisk::default()));
        let store = Store::start(config).await.unwrap();
        within(store.leadership().wait_for(|now| now.is_leader)).await.unwrap();
        let key = Arc::new(ServiceAccountKey::create().unwrap());
        let config = ApiServerConfig::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6443, key);
        let world = Self { server: Server::new(config, Registry::new(store.clone())), store };
        world.create("/api/v1/namespaces", &json!({"metadata": {"name": "default"}})).await;
        world
    }

    pub(crate) async fn stop(self) {
        self.server.registry.shutdown().await;
        self.store.shutdown().await.unwrap();
    }

    /// A request of a superuser with headers and a body of any kind; the body of the answer may go on.
    pub(crate) async fn request(&self, request: http::request::Builder, body: impl Into<Body>) -> Response<Body> {
        let caller = Caller::Local { user: Arc::new(UserInfo::new("admin", ["system:masters"])), fence: None };
        within(chain::handle(self.server.clone(), request.body(body.into()).unwrap(), caller)).await
    }

    /// The same with a body of JSON, or none.
    pub(crate) async fn send(&self, method: Method, path: &str, accept: &str, body: Option<(&str, &Value)>) -> (StatusCode, Body) {
        let mut request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
        if let Some((media, _)) = body {
            request = request.header(CONTENT_TYPE, media);
        }
        let response = self.request(request, body.map_or_else(Body::empty, |(_, value)| Body::from(value.to_string()))).await;
        (response.status(), response.into_body())
    }

    async fn whole(&self, method: Method, path: &str, accept: &str, body: Option<(&str, &Value)>) -> (u16, Value) {
        let (code, body) = self.send(method, path, accept, body).await;
        let bytes = within(body.collect()).await.unwrap().to_bytes();
        (code.as_u16(), serde_json::from_slice(&bytes).unwrap())
    }

    pub(crate) async fn get(&self, path: &str, accept: &str) -> (u16, Value) {
        self.whole(Method::GET, path, accept, None).await
    }

    pub(crate) async fn post(&self, path: &str, object: &Value) -> (u16, Value) {
        self.whole(Method::POST, path, "application/json", Some(("application/json", object))).await
    }

    /// Creates what must not be refused.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Value {
        let (code, answer) = self.post(path, object).await;
        assert_eq!(code, 201, "{answer}");
        answer
    }

    /// A merge patch.
    pub(crate) async fn patch(&self, path: &str, patch: &Value) -> (u16, Value) {
        self.whole(Method::PATCH, path, "application/json", Some(("application/merge-patch+json", patch))).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        self.whole(Method::DELETE, path, "application/json", None).await
    }
}
