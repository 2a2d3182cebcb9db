//! How plugins see the rest of the cluster.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tricorn_authz::{Attributes, Decision};
use tricorn_meta::Status;

/// Other objects, given by the API server.
#[async_trait]
pub trait Objects: Send + Sync {
    /// One object from the cache; `None` if it is not there. Cluster-scoped ones have an empty namespace.
    async fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, Status>;

    /// One object as fresh as a linearizable read gives it. Asked where the cache says that an object is missing.
    async fn get_fresh(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, Status> {
        self.get(group, resource, namespace, name).await
    }

    /// All objects of a namespace (empty: of the cluster) from the cache.
    async fn list(&self, group: &str, resource: &str, namespace: &str) -> Result<Vec<Arc<Value>>, Status>;

    /// Stores the status of a ResourceQuota if it still has the resource version that `quota` carries; 409 if not.
    async fn update_quota_status(&self, quota: Value) -> Result<Arc<Value>, Status>;

    /// Asks the server's authorizer.
    fn authorize(&self, request: &Attributes<'_>) -> Decision;
}
