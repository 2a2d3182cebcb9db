//! OwnerReferencesPermissionEnforcement (not on by default): who may not delete an object may not make it depend on another,
//! and who blocks an owner's deletion must be allowed to change the owner's finalizers.

use async_trait::async_trait;
use serde_json::Value;
use tricorn_authz::Attributes;
use tricorn_meta::Status;

use crate::{Objects, Operation, Plugin, Request};

/// See the module.
pub struct OwnerReferencesPermissionEnforcement;

fn owners(object: &Value) -> &[Value] {
    object.pointer("/metadata/ownerReferences").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn blocks(owner: &Value) -> bool {
    owner.get("blockOwnerDeletion").and_then(Value::as_bool).unwrap_or(false)
}

#[async_trait]
impl Plugin for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        matches!(request.operation, Operation::Create | Operation::Update) && owners(request.new_object()) != owners(request.stored())
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        if request.operation == Operation::Update {
            let delete = Attributes {
                namespace: request.namespace,
                name: request.name,
                api_version: &request.resource.version,
                ..Attributes::resource(request.user, "delete", &request.resource.group, &request.resource.resource)
            };
            if !objects.authorize(&delete).allowed() {
                return Err(request.forbidden("cannot set an ownerRef on a resource you can't delete: "));
            }
        }
        for owner in owners(request.new_object()).iter().filter(|o| blocks(o) && !owners(request.stored()).contains(o)) {
            let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
            let (group, _) = tricorn_meta::gvk::split_api_version(text("apiVersion"));
            let plural = plural(text("kind"));
            let update = Attributes {
                namespace: request.namespace,
                name: text("name"),
                subresource: "finalizers",
                ..Attributes::resource(request.user, "update", group, &plural)
            };
            if !objects.authorize(&update).allowed() {
                return Err(request
                    .forbidden("cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: "));
            }
        }
        Ok(())
    }
}

/// The plural that a kind has if it follows the rules of English, as all built-in kinds do.
fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.as_bytes() {
        [.., b's' | b'x'] | [.., b'c' | b's', b'h'] => format!("{lower}es"),
        [.., b'y'] => format!("{}ies", &lower[..lower.len() - 1]),
        _ => format!("{lower}s"),
    }
}
