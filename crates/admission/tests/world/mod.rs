//! A small cluster in memory for the tests of the chain.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use tricorn_admission::{Chain, Objects, Operation, Request};
use tricorn_authz::{Attributes, Authorizer, Decision};
use tricorn_meta::{GroupVersionKind, GroupVersionResource, Status, UserInfo};

type Key = (String, String, String, String);

/// Objects by group, resource, namespace and name, and an authorizer.
#[derive(Default)]
pub struct World {
    objects: Mutex<BTreeMap<Key, Arc<Value>>>,
    pub authorizer: Authorizer,
}

fn key(group: &str, resource: &str, namespace: &str, name: &str) -> Key {
    (group.into(), resource.into(), namespace.into(), name.into())
}

impl World {
    /// With namespace `a` and its default service account.
    pub fn new() -> Self {
        let world = World::default();
        world.put("", "namespaces", json!({"metadata": {"name": "a"}, "status": {"phase": "Active"}}));
        world.put("", "serviceaccounts", json!({"metadata": {"name": "default", "namespace": "a"}}));
        world
    }

    pub fn put(&self, group: &str, resource: &str, object: Value) {
        let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = key(group, resource, &text("/metadata/namespace"), &text("/metadata/name"));
        self.objects.lock().unwrap().insert(key, Arc::new(object));
    }

    pub fn read(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects.lock().unwrap().get(&key(group, resource, namespace, name)).cloned()
    }
}

#[async_trait]
impl Objects for World {
    async fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, Status> {
        Ok(self.read(group, resource, namespace, name))
    }

    async fn list(&self, group: &str, resource: &str, namespace: &str) -> Result<Vec<Arc<Value>>, Status> {
        let objects = self.objects.lock().unwrap();
        let of = |k: &&Key| k.0 == group && k.1 == resource && (namespace.is_empty() || k.2 == namespace);
        Ok(objects.keys().filter(of).map(|k| Arc::clone(&objects[k])).collect())
    }

    async fn update_quota_status(&self, quota: Value) -> Result<Arc<Value>, Status> {
        let name = quota["metadata"]["name"].as_str().unwrap().to_owned();
        let namespace = quota["metadata"]["namespace"].as_str().unwrap().to_owned();
        let stored = self.read("", "resourcequotas", &namespace, &name).unwrap();
        if stored["metadata"]["resourceVersion"] != quota["metadata"]["resourceVersion"] {
            return Err(Status::modified("", "resourcequotas", &name));
        }
        let mut quota = quota;
        let version = quota["metadata"]["resourceVersion"].as_u64().unwrap_or_default() + 1;
        quota["metadata"]["resourceVersion"] = json!(version);
        self.put("", "resourcequotas", quota.clone());
        Ok(Arc::new(quota))
    }

    fn authorize(&self, request: &Attributes<'_>) -> Decision {
        self.authorizer.authorize(request)
    }
}

/// What is admitted, by whom.
pub struct Ask<'a> {
    pub operation: Operation,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub name: &'a str,
    pub new: Option<Value>,
    pub old: Option<Value>,
    pub user: UserInfo,
}

impl<'a> Ask<'a> {
    pub fn create(group: &'a str, resource: &'a str, object: Value) -> Self {
        Self {
            operation: Operation::Create,
            group,
            resource,
            subresource: "",
            name: "",
            new: Some(object),
            old: None,
            user: UserInfo::new("me", ["devs"]),
        }
    }

    pub fn update(group: &'a str, resource: &'a str, subresource: &'a str, old: Value, new: Value) -> Self {
        Self { operation: Operation::Update, subresource, old: Some(old), ..Self::create(group, resource, new) }
    }

    pub fn by(mut self, user: UserInfo) -> Self {
        self.user = user;
        self
    }

    pub fn named(mut self, name: &'a str) -> Self {
        self.name = name;
        self
    }
}

/// Runs the chain; answers the object and the warnings, or the refusal.
pub fn admit(world: &World, ask: Ask<'_>) -> Result<(Value, Vec<String>), Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(admit_with(&Chain::builtin(), world, ask))
}

/// Runs a chain.
pub async fn admit_with(chain: &Chain, world: &World, ask: Ask<'_>) -> Result<(Value, Vec<String>), Status> {
    let object = ask.new.clone().or_else(|| ask.old.clone()).unwrap_or_default();
    let text = |p: &str| object.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
    let namespace = text("/metadata/namespace");
    let own_name = text("/metadata/name");
    let name = if ask.name.is_empty() { own_name.as_str() } else { ask.name };
    let mut request = Request {
        subresource: ask.subresource,
        object: ask.new,
        old_object: ask.old.map(Arc::new),
        ..Request::new(
            ask.operation,
            GroupVersionKind::new(ask.group, "v1", ""),
            GroupVersionResource::new(ask.group, "v1", ask.resource),
            &namespace,
            name,
            &ask.user,
        )
    };
    let warnings = chain.admit(&mut request, world).await?;
    Ok((request.object.unwrap_or_default(), warnings))
}

pub fn pod(name: &str) -> Value {
    json!({"metadata": {"namespace": "a", "name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}
