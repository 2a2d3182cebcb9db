//! What every cluster has from its start: namespaces, roles, priority classes, flow schemas, the Service `kubernetes` with all servers behind it. Every server
//! makes what is missing; making it twice does no harm.

mod endpoints;
mod flow;
mod objects;
mod obsolete;

use crate::allocate;
use crate::context::Context;
use crate::options::{FieldValidation, WriteParameters};
use crate::pipeline::{Target, Write};
use crate::server::Server;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tricorn_meta::{GroupVersionKind, Status, UserInfo};
use tricorn_registry::Object;
use tricorn_schema::catalog;

/// Pause before what failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Starts the tasks.
pub(crate) fn spawn(server: &Arc<Server>, tasks: &mut JoinSet<()>) {
    tasks.spawn(make_all(server.clone()));
    tasks.spawn(endpoints::run(server.clone()));
    tasks.spawn(allocate::repair(server.clone()));
}

async fn make_all(server: Arc<Server>) {
    let context = context();
    let wanted = objects::all(&server);
    let mut left: Vec<&Value> = wanted.iter().collect();
    loop {
        let mut failed = Vec::new();
        for object in left {
            if let Err(error) = make(&server, &context, object).await {
                tracing::debug!(kind = %object["kind"], name = %object["metadata"]["name"], %error, "a bootstrap object could not be made yet");
                failed.push(object);
            }
        }
        if failed.is_empty() {
            tracing::info!(objects = wanted.len(), "all bootstrap objects are there");
            if let Err(error) = obsolete::remove(&server, &context).await {
                tracing::debug!(%error, "what an earlier release made stays for now");
            }
            return;
        }
        left = failed;
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// The server itself as a user.
fn context() -> Context {
    Context::internal(UserInfo::new("system:apiserver", ["system:masters", "system:authenticated"]))
}

fn parameters() -> WriteParameters {
    WriteParameters {
        dry_run: false,
        field_validation: FieldValidation::Ignore,
        field_manager: "kube-apiserver".to_owned(),
        named_manager: true,
        force: false,
    }
}

/// Makes an object, or brings the one that is there up to date.
async fn make(server: &Server, context: &Context, wanted: &Value) -> Result<(), Status> {
    let kind = GroupVersionKind::of(wanted);
    let resource = catalog().kind(&kind).ok_or_else(|| Status::internal(format_args!("{kind} is not served")))?;
    let endpoint = server
        .endpoint(&resource.group, &resource.version, &resource.plural)
        .ok_or_else(|| Status::internal(format_args!("{kind} is not served")))?;
    let text = |field: &str| crate::stamp::text(wanted, field).to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    let target = Target { endpoint: &endpoint, subresource: "", namespace: &namespace, name: &name };
    let parameters = parameters();
    let write = Write::new(context, target, &parameters);
    match server.registry.read(&endpoint.stored, &namespace, &name).await {
        Ok(existing) => {
            if updated(existing.value(), wanted).is_none() {
                return Ok(());
            }
            server.update_object(write, |old: &Object| Ok(updated(old.value(), wanted))).await.map(|_| ())
        }
        Err(refusal) if refusal.is_not_found() => match server.create_object(write, wanted.clone()).await {
            Err(refusal) if !refusal.is_already_exists() => Err(refusal),
            _ => Ok(()),
        },
        Err(refusal) => Err(refusal),
    }
}

/// The object that is there with what it lacks; `None` if it lacks nothing, or is left as it is.
fn updated(existing: &Value, wanted: &Value) -> Option<Value> {
    if flow::is_ours(wanted) {
        return flow::update(existing, wanted);
    }
    let is_role = GroupVersionKind::of(wanted).group == "rbac.authorization.k8s.io";
    let next = tricorn_authz::reconcile(existing, wanted).filter(|_| is_role)?;
    Some(next).filter(|next| next["roleRef"] == existing["roleRef"])
}
