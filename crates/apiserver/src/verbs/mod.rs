//! One file a verb.

mod create;
mod delete;
mod delete_collection;
mod get;
mod list;
mod patch;
mod update;
mod watch;

pub(crate) use delete::delete_object;
pub(crate) use patch::Patch;

use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::respond;
use crate::server::Server;
use axum::body::Body;
use http::Request;
use std::sync::Arc;
use tricorn_meta::Status;

/// Serves a verb on a resource itself, or on its status.
pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Arc<Endpoint>, request: Request<Body>) -> Answer {
    let verb = context.info.verb.as_str();
    if !endpoint.has_verb(verb) {
        return Err(Status::method_not_supported(&endpoint.group, &endpoint.plural, verb));
    }
    if endpoint.namespaced && context.info.namespace.is_empty() && !matches!(verb, "list" | "watch" | "deletecollection") {
        return Err(Status::bad_request("namespace is required"));
    }
    if verb != "watch" {
        respond::check_acceptable(context, endpoint)?;
    }
    match verb {
        "get" => get::serve(server, context, endpoint).await,
        "list" => list::serve(server, context, endpoint).await,
        "watch" => watch::serve(server, context, endpoint).await,
        "create" => {
            let bytes = body::read(request).await?;
            create::serve(server, context, endpoint, &bytes).await
        }
        "update" => {
            let bytes = body::read(request).await?;
            update::serve(server, context, endpoint, &bytes).await
        }
        "patch" => {
            let bytes = body::read(request).await?;
            patch::serve(server, context, endpoint, &bytes).await
        }
        "delete" => {
            let bytes = body::read(request).await?;
            delete::serve(server, context, endpoint, &bytes).await
        }
        "deletecollection" => {
            let bytes = body::read(request).await?;
            delete_collection::serve(server, context, endpoint, &bytes).await
        }
        other => Err(Status::method_not_supported(&endpoint.group, &endpoint.plural, other)),
    }
}
