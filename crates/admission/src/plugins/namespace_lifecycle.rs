//! NamespaceLifecycle: nothing is created in a namespace that is not there or on its way out.

use async_trait::async_trait;
use serde_json::Value;
use tricorn_meta::{Status, StatusCause};

use crate::{Objects, Operation, Plugin, Request};

/// Namespaces that cannot be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// See the module.
pub struct NamespaceLifecycle;

fn is_namespace(request: &Request<'_>) -> bool {
    request.resource.group.is_empty() && request.resource.resource == "namespaces"
}

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        match request.operation {
            Operation::Delete => is_namespace(request) && IMMORTAL.contains(&request.name),
            Operation::Create | Operation::Update => {
                !request.namespace.is_empty() && !is_namespace(request) && request.resource.resource != "localsubjectaccessreviews"
            }
            Operation::Connect => false,
        }
    }

    async fn mutate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        if request.operation == Operation::Delete {
            return Err(request.forbidden("this namespace may not be deleted"));
        }
        let namespace = match objects.get("", "namespaces", "", request.namespace).await? {
            Some(namespace) => Some(namespace),
            None => objects.get_fresh("", "namespaces", "", request.namespace).await?,
        };
        let namespace = namespace.ok_or_else(|| Status::not_found("", "namespaces", request.namespace))?;
        if request.operation == Operation::Create && namespace.pointer("/status/phase").and_then(Value::as_str) == Some("Terminating") {
            return Err(terminating(request));
        }
        Ok(())
    }
}

fn terminating(request: &Request<'_>) -> Status {
    let namespace = request.namespace;
    let status = request.forbidden(format!("unable to create new content in namespace {namespace} because it is being terminated"));
    let mut details = status.details().cloned().unwrap_or_default();
    details.causes.push(StatusCause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".into(),
    });
    Status::custom(status.code(), status.reason(), status.message(), Some(details))
}
