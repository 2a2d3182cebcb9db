//! What is to be admitted.

use std::sync::Arc;

use serde_json::Value;
use tricorn_meta::{GroupVersionKind, GroupVersionResource, Status, UserInfo};

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A new object, or a create on a subresource (`pods/binding`, `pods/eviction`, `serviceaccounts/token`).
    Create,
    /// A changed object or subresource.
    Update,
    /// A deletion; `object` is `None`, `old_object` the stored one where it is known.
    Delete,
    /// exec, attach, port-forward or proxy; `object` holds the options.
    Connect,
}

impl Operation {
    /// As admission reviews spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// One write on its way to the store.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What is done.
    pub operation: Operation,
    /// Type of `object`.
    pub kind: GroupVersionKind,
    /// The collection that the request's path names.
    pub resource: GroupVersionResource,
    /// Subresource; empty for the object itself.
    pub subresource: &'a str,
    /// Namespace; empty for cluster-scoped resources. For namespaces themselves, the namespace's name.
    pub namespace: &'a str,
    /// Name; empty where a name is still to be generated.
    pub name: &'a str,
    /// The object as it will be stored; mutating plugins change it.
    pub object: Option<Value>,
    /// The object as it is stored, for updates and deletions.
    pub old_object: Option<Arc<Value>>,
    /// CreateOptions, UpdateOptions or DeleteOptions, where the caller has them.
    pub options: Option<Value>,
    /// Who asks.
    pub user: &'a UserInfo,
    /// Nothing will be stored: plugins with effects outside the object do nothing.
    pub dry_run: bool,
    /// Texts for the client's `Warning` headers, collected by plugins.
    pub warnings: Vec<String>,
}

impl<'a> Request<'a> {
    /// A request without objects; the remaining parts are set on it.
    pub fn new(
        operation: Operation,
        kind: GroupVersionKind,
        resource: GroupVersionResource,
        namespace: &'a str,
        name: &'a str,
        user: &'a UserInfo,
    ) -> Self {
        Self {
            operation,
            kind,
            resource,
            subresource: "",
            namespace,
            name,
            object: None,
            old_object: None,
            options: None,
            user,
            dry_run: false,
            warnings: Vec::new(),
        }
    }

    /// Whether the request is about the resource (`group`, `resource`), through subresource `subresource`.
    pub fn is(&self, group: &str, resource: &str, subresource: &str) -> bool {
        self.resource.resource == resource && self.resource.group == group && self.subresource == subresource
    }

    /// Whether this creates such an object.
    pub fn creates(&self, group: &str, resource: &str) -> bool {
        self.operation == Operation::Create && self.is(group, resource, "")
    }

    /// Whether this creates or updates such an object itself.
    pub fn writes(&self, group: &str, resource: &str) -> bool {
        matches!(self.operation, Operation::Create | Operation::Update) && self.is(group, resource, "")
    }

    /// The new object; null where there is none.
    pub fn new_object(&self) -> &Value {
        self.object.as_ref().unwrap_or(&Value::Null)
    }

    /// The stored object; null where there is none.
    pub fn stored(&self) -> &Value {
        self.old_object.as_deref().unwrap_or(&Value::Null)
    }

    /// The 403 of a plugin, in upstream's words.
    pub fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        let metadata = |key: &str| self.new_object().pointer(&format!("/metadata/{key}")).and_then(Value::as_str).filter(|n| !n.is_empty());
        let name = Some(self.name).filter(|n| !n.is_empty()).or_else(|| metadata("name")).or_else(|| metadata("generateName"));
        Status::forbidden(&self.resource.group, &self.resource.resource, name.unwrap_or("Unknown"), why)
    }
}
