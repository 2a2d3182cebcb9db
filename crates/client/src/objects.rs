//! Typed requests whose errors name the operation and the object.

use std::fmt::Debug;

use kube::Resource;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::{ObjectList, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, RequestError};

/// What a built-in kind must be able to do for [`Objects`] and the shared caches.
pub trait Kind: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<K> Kind for K where K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {}

/// How to delete an object.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    /// Delete only the object with this uid.
    pub uid: Option<String>,
    /// Delete only this very version of the object.
    pub resource_version: Option<String>,
    /// What happens to dependents; the server's default for the kind where none.
    pub propagation: Option<PropagationPolicy>,
    /// Grace period in seconds; the object's own where none.
    pub grace_seconds: Option<u32>,
}

impl Deletion {
    /// Deletes exactly this incarnation of the object.
    pub fn of_uid(uid: impl Into<String>) -> Self {
        Self { uid: Some(uid.into()), ..Self::default() }
    }

    /// With the given propagation policy.
    #[must_use]
    pub fn propagation(mut self, policy: PropagationPolicy) -> Self {
        self.propagation = Some(policy);
        self
    }

    /// With this grace period in seconds.
    #[must_use]
    pub fn grace(mut self, seconds: u32) -> Self {
        self.grace_seconds = Some(seconds);
        self
    }

    fn params(&self) -> DeleteParams {
        let preconditions = (self.uid.is_some() || self.resource_version.is_some())
            .then(|| Preconditions { uid: self.uid.clone(), resource_version: self.resource_version.clone() });
        DeleteParams {
            dry_run: false,
            grace_period_seconds: self.grace_seconds,
            propagation_policy: self.propagation.clone(),
            preconditions,
        }
    }
}

/// Requests on typed objects of any scope: the namespace is the object's own, or an argument that is ignored for
/// cluster-scoped kinds when it is `None` or empty.
#[derive(Clone)]
pub struct Objects {
    client: kube::Client,
    manager: String,
}

impl Objects {
    /// Requests through `client`, recorded under the field manager `manager`.
    pub fn new(client: kube::Client, manager: impl Into<String>) -> Self {
        Self { client, manager: manager.into() }
    }

    /// The client below.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    fn post(&self) -> PostParams {
        PostParams { dry_run: false, field_manager: Some(self.manager.clone()) }
    }

    /// Reads one object; `None` if it is not there.
    pub async fn get<K: Kind>(&self, namespace: Option<&str>, name: &str) -> Result<Option<K>, RequestError> {
        let request = base::<K>(namespace).get(name, &Default::default()).map_err(kube::Error::BuildRequest);
        let answer = match request {
            Ok(request) => self.client.request::<K>(request).await,
            Err(error) => Err(error),
        };
        match answer.context("get", || describe::<K>(namespace, name)) {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists objects; for rare use, since steady work reads the shared caches.
    pub async fn list<K: Kind>(&self, namespace: Option<&str>, params: &ListParams) -> Result<ObjectList<K>, RequestError> {
        let answer = match base::<K>(namespace).list(params).map_err(kube::Error::BuildRequest) {
            Ok(request) => self.client.request(request).await,
            Err(error) => Err(error),
        };
        answer.context("list", || K::plural(&()).into_owned())
    }

    /// Creates the object in its own namespace.
    pub async fn create<K: Kind>(&self, object: &K) -> Result<K, RequestError> {
        let (namespace, name) = place(object);
        let answer = match encode(object) {
            Ok(body) => match base::<K>(namespace).create(&self.post(), body).map_err(kube::Error::BuildRequest) {
                Ok(request) => self.client.request(request).await,
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let name = if name.is_empty() { object.meta().generate_name.as_deref().unwrap_or("") } else { name };
        answer.context("create", || describe::<K>(namespace, name))
    }

    /// Replaces the object; refused with a conflict if its resourceVersion is not the current one.
    pub async fn update<K: Kind>(&self, object: &K) -> Result<K, RequestError> {
        self.replace(None, "update", object).await
    }

    /// Replaces the object's status, under the same condition as [`Objects::update`].
    pub async fn update_status<K: Kind>(&self, object: &K) -> Result<K, RequestError> {
        self.replace(Some("status"), "update status of", object).await
    }

    /// Replaces the object through a subresource such as "finalize" or "approval".
    pub async fn update_subresource<K: Kind>(&self, subresource: &'static str, object: &K) -> Result<K, RequestError> {
        self.replace(Some(subresource), subresource, object).await
    }

    async fn replace<K: Kind>(&self, subresource: Option<&str>, operation: &'static str, object: &K) -> Result<K, RequestError> {
        let (namespace, name) = place(object);
        let base = base::<K>(namespace);
        let answer = match encode(object) {
            Ok(body) => {
                let request = match subresource {
                    Some(subresource) => base.replace_subresource(subresource, name, &self.post(), body),
                    None => base.replace(name, &self.post(), body),
                };
                match request.map_err(kube::Error::BuildRequest) {
                    Ok(request) => self.client.request(request).await,
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        answer.context(operation, || describe::<K>(namespace, name))
    }

    /// Merges `patch` into the object.
    pub async fn merge<K: Kind>(&self, namespace: Option<&str>, name: &str, patch: serde_json::Value) -> Result<K, RequestError> {
        self.patch(None, namespace, name, &Patch::Merge(patch)).await
    }

    /// Merges `patch` into the object's status.
    pub async fn merge_status<K: Kind>(&self, namespace: Option<&str>, name: &str, patch: serde_json::Value) -> Result<K, RequestError> {
        self.patch(Some("status"), namespace, name, &Patch::Merge(patch)).await
    }

    /// Merges `patch` into the object's status, lists by their merge keys (strategic merge).
    pub async fn strategic_status<K: Kind>(
        &self,
        namespace: Option<&str>,
        name: &str,
        patch: serde_json::Value,
    ) -> Result<K, RequestError> {
        self.patch(Some("status"), namespace, name, &Patch::Strategic(patch)).await
    }

    async fn patch<K: Kind>(
        &self,
        subresource: Option<&str>,
        namespace: Option<&str>,
        name: &str,
        patch: &Patch<serde_json::Value>,
    ) -> Result<K, RequestError> {
        let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
        let base = base::<K>(namespace);
        let request = match subresource {
            Some(subresource) => base.patch_subresource(subresource, name, &params, patch),
            None => base.patch(name, &params, patch),
        };
        let answer = match request.map_err(kube::Error::BuildRequest) {
            Ok(request) => self.client.request(request).await,
            Err(error) => Err(error),
        };
        let operation = if subresource.is_some() { "patch status of" } else { "patch" };
        answer.context(operation, || describe::<K>(namespace, name))
    }

    /// Deletes the object; one that is gone already counts as deleted.
    pub async fn delete<K: Kind>(&self, namespace: Option<&str>, name: &str, deletion: &Deletion) -> Result<(), RequestError> {
        let answer = match base::<K>(namespace).delete(name, &deletion.params()).map_err(kube::Error::BuildRequest) {
            Ok(request) => self.client.request_status::<serde_json::Value>(request).await,
            Err(error) => Err(error),
        };
        match answer.context("delete", || describe::<K>(namespace, name)) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn base<K: Kind>(namespace: Option<&str>) -> Request {
    Request::new(K::url_path(&(), namespace.filter(|namespace| !namespace.is_empty())))
}

fn encode<K: Kind>(object: &K) -> Result<Vec<u8>, kube::Error> {
    serde_json::to_vec(object).map_err(kube::Error::SerdeError)
}

fn place<K: Kind>(object: &K) -> (Option<&str>, &str) {
    let meta = object.meta();
    (meta.namespace.as_deref(), meta.name.as_deref().unwrap_or(""))
}

/// "Pod default/web-1", or "Node w1".
fn describe<K: Kind>(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) if !namespace.is_empty() => format!("{} {namespace}/{name}", K::kind(&())),
        _ => format!("{} {name}", K::kind(&())),
    }
}
