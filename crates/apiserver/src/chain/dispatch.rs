//! From a request that may be made to the handler that makes the answer.

use crate::Answer;
use crate::context::Context;
use crate::server::Server;
use crate::{discovery, health, openapi, respond, reviews, subresources, verbs};
use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::json;
use std::sync::Arc;
use tricorn_meta::Status;

pub(crate) async fn dispatch(server: &Arc<Server>, context: &Context, request: Request<Body>) -> Answer {
    if !context.info.is_resource {
        return path(server, context);
    }
    let info = &context.info;
    if reviews::is_review(&info.group, &info.resource) {
        return reviews::serve(server, context, request).await;
    }
    let endpoint = server.endpoint(&info.group, &info.version, &info.resource).ok_or_else(Status::path_not_found)?;
    if !endpoint.namespaced && !info.namespace.is_empty() && info.resource != "namespaces" {
        return Err(Status::path_not_found());
    }
    endpoint.deprecation().into_iter().for_each(|text| context.warn(text));
    if info.subresource.is_empty() {
        verbs::serve(server, context, &endpoint, request).await
    } else {
        subresources::serve(server, context, &endpoint, request).await
    }
}

/// Paths that are no resource.
fn path(server: &Server, context: &Context) -> Answer {
    let path = context.info.path.as_str();
    if !matches!(context.info.verb.as_str(), "get" | "head") {
        return Err(Status::method_not_allowed());
    }
    let trimmed = path.trim_end_matches('/');
    match trimmed {
        _ if health::is_health_path(path) => health::serve(server, context),
        "/version" => respond::json_document(context, &version()),
        "/metrics" => Ok(respond::text(StatusCode::OK, server.metrics.text())),
        "/openapi/v2" => openapi::v2(server, context),
        "/.well-known/openid-configuration" => {
            let keys = format!("https://{}:{}/openid/v1/jwks", server.config.advertise_address, server.config.advertise_port);
            respond::json_document(context, &server.config.service_account_verifier.discovery(&keys))
        }
        "/openid/v1/jwks" => respond::json_document(context, &server.config.service_account_verifier.key_set()),
        "" => respond::json_document(context, &discovery::root(server)),
        _ if trimmed == "/openapi/v3" || path.starts_with("/openapi/v3/") => openapi::v3(server, context),
        _ if trimmed == "/api" || trimmed == "/apis" || path.starts_with("/api/") || path.starts_with("/apis/") => {
            discovery::serve(server, context)
        }
        _ => Err(Status::path_not_found()),
    }
}

fn version() -> serde_json::Value {
    let ours = env!("CARGO_PKG_VERSION");
    json!({
        "major": "1",
        "minor": "36",
        "gitVersion": format!("{}+tricorn{ours}", crate::KUBERNETES_VERSION),
        "gitCommit": option_env!("TRICORN_COMMIT").unwrap_or_default(),
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other }),
    })
}
