//! How admission sees the cluster, and the rules that no plugin knows: no one may grant more than they hold.

use crate::context::Context;
use crate::pipeline::Target;
use crate::server::Server;
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;
use tricorn_admission::Objects;
use tricorn_authz::{Attributes, Decision};
use tricorn_meta::Status;
use tricorn_registry::{ListQuery, Paged, Step, Version, WriteOptions};

/// The cluster as admission plugins see it.
pub(crate) struct AdmissionObjects<'a>(&'a Server);

impl Server {
    pub(crate) fn admission_objects(&self) -> AdmissionObjects<'_> {
        AdmissionObjects(self)
    }

    /// Roles and bindings may only be written by those who hold what they grant.
    pub(crate) fn check_rules(&self, context: &Context, target: Target<'_>, old: Option<&Value>, new: &Value) -> Result<(), Status> {
        let trusted = context.user.in_group(tricorn_authz::SUPERUSERS);
        if target.endpoint.group != "rbac.authorization.k8s.io" || !target.subresource.is_empty() || trusted {
            return Ok(());
        }
        if old.is_some_and(|old| ["rules", "roleRef", "subjects", "aggregationRule"].iter().all(|part| old.get(part) == new.get(part))) {
            return Ok(());
        }
        self.authorizer.read().rbac.check_escalation(&context.user, &target.endpoint.kind, new, old)
    }
}

impl AdmissionObjects<'_> {
    async fn read(&self, group: &str, resource: &str, namespace: &str, name: &str, version: Version) -> Result<Option<Arc<Value>>, Status> {
        let Some(endpoint) = self.0.any_version(group, resource) else { return Ok(None) };
        match self.0.registry.get(&endpoint.stored, namespace, name, version).await {
            Ok(object) => Ok(Some(object.shared())),
            Err(refusal) if refusal.is_not_found() => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

#[async_trait]
impl Objects for AdmissionObjects<'_> {
    async fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, Status> {
        self.read(group, resource, namespace, name, Version::Any).await
    }

    async fn get_fresh(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, Status> {
        self.read(group, resource, namespace, name, Version::Latest).await
    }

    async fn list(&self, group: &str, resource: &str, namespace: &str) -> Result<Vec<Arc<Value>>, Status> {
        let Some(endpoint) = self.0.any_version(group, resource) else { return Ok(Vec::new()) };
        let query =
            ListQuery { namespace: (!namespace.is_empty()).then(|| namespace.to_owned()), version: Version::Any, ..ListQuery::default() };
        match self.0.registry.list(&endpoint.stored, &query).await? {
            Paged::Page(page) => Ok(page.objects.iter().map(|object| object.shared()).collect()),
            Paged::Expired { message, .. } => Err(Status::expired(message)),
        }
    }

    async fn update_quota_status(&self, quota: Value) -> Result<Arc<Value>, Status> {
        let Some(endpoint) = self.0.any_version("", "resourcequotas") else {
            return Err(Status::internal("resourcequotas are not served"));
        };
        let text = |field: &str| crate::stamp::text(&quota, field).to_owned();
        let (namespace, name, version) = (text("namespace"), text("name"), text("resourceVersion"));
        let change = |current: Arc<tricorn_registry::Object>| {
            let mut next = current.value().clone();
            next["status"] = quota["status"].clone();
            let same = version.is_empty() || current.revision().to_string() == version;
            let refusal = Status::modified("", "resourcequotas", current.name());
            async move { if same { Ok(Step::Put(next)) } else { Err(refusal) } }
        };
        let object = self.0.registry.update(&endpoint.stored, &namespace, &name, WriteOptions::default(), change).await?;
        Ok(object.shared())
    }

    fn authorize(&self, request: &Attributes<'_>) -> Decision {
        self.0.authorizer.read().authorize(request)
    }
}
