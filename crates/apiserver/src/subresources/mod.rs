//! What hangs below an object: its status, its scale, its logs, and actions on it.

mod binding;
mod eviction;
mod kubelet;
mod proxy;
mod scale;
mod token;

use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::respond;
use crate::server::Server;
use crate::verbs;
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use std::sync::Arc;
use tricorn_meta::Status;

/// Serves a subresource.
pub(crate) async fn serve(server: &Arc<Server>, context: &Context, endpoint: &Arc<Endpoint>, request: Request<Body>) -> Answer {
    let info = &context.info;
    let Some(below) = endpoint.resource.subresource(&info.subresource) else {
        return Err(Status::path_not_found());
    };
    // A proxy passes on methods that are no verbs.
    if info.subresource != "proxy" && !below.verbs.contains(&info.verb) {
        let path = format!("{}/{}", endpoint.plural, info.subresource);
        return Err(Status::method_not_supported(&endpoint.group, &path, &info.verb));
    }
    if matches!(info.subresource.as_str(), "scale" | "binding" | "eviction" | "token") {
        respond::check_acceptable(context, endpoint)?;
    }
    match (endpoint.plural.as_str(), info.subresource.as_str(), info.verb.as_str()) {
        (_, "scale", _) => scale::serve(server, context, endpoint, request).await,
        ("pods", "binding", "create") => binding::serve(server, context, endpoint, &body::read(request).await?).await,
        ("pods", "eviction", "create") => eviction::serve(server, context, endpoint, &body::read(request).await?).await,
        ("serviceaccounts", "token", "create") => token::serve(server, context, endpoint, &body::read(request).await?).await,
        ("pods", "log", "get") => kubelet::log(server, context, endpoint, request).await,
        ("pods", "exec" | "attach" | "portforward", "get" | "create") => kubelet::stream(server, context, endpoint, request).await,
        ("nodes" | "pods" | "services", "proxy", _) => proxy::serve(server, context, endpoint, request).await,
        (_, "status" | "finalize" | "approval" | "ephemeralcontainers" | "resize", "get" | "update" | "patch") => {
            verbs::serve(server, context, endpoint, request).await
        }
        (_, subresource, verb) => Err(Status::method_not_supported(&endpoint.group, &format!("{}/{subresource}", endpoint.plural), verb)),
    }
}

/// What an update through a subresource other than `status` may change: everything else is as it was. `None`: the kind's own rules say.
pub(crate) fn confined(subresource: &str, new: &Value, old: &Value) -> Option<Value> {
    let mut result = old.clone();
    match subresource {
        "finalize" => result["spec"]["finalizers"] = new["spec"].get("finalizers").cloned().unwrap_or_else(|| json!([])),
        // To leave a condition out is to take it off, which is for the kind's rules to refuse.
        "approval" => match new["status"].get("conditions") {
            Some(conditions) => result["status"]["conditions"] = conditions.clone(),
            None => drop(result["status"].as_object_mut().and_then(|status| status.shift_remove("conditions"))),
        },
        "ephemeralcontainers" => {
            result["spec"]["ephemeralContainers"] = new["spec"].get("ephemeralContainers").cloned().unwrap_or_else(|| json!([]))
        }
        "resize" => {
            for part in ["containers", "initContainers"] {
                resize(&mut result["spec"][part], &new["spec"][part]);
            }
            if result["spec"]["initContainers"].is_null()
                && let Some(spec) = result["spec"].as_object_mut()
            {
                spec.shift_remove("initContainers");
            }
        }
        _ => return None,
    }
    if let Some(managed) = new["metadata"].get("managedFields") {
        result["metadata"]["managedFields"] = managed.clone();
    }
    Some(result)
}

/// Takes over resources and resize policies, container by container.
fn resize(containers: &mut Value, wanted: &Value) {
    for container in containers.as_array_mut().into_iter().flatten() {
        let found = wanted.as_array().into_iter().flatten().find(|other| other["name"] == container["name"]);
        for part in ["resources", "resizePolicy"] {
            if let Some(value) = found.and_then(|found| found.get(part)) {
                container[part] = value.clone();
            }
        }
    }
}
