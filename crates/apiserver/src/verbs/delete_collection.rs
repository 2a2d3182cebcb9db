//! Deleting all objects that a selector selects.

use super::delete::warn_of_orphans;
use super::delete_object;
use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::{DeleteParameters, ListParameters};
use crate::pipeline::Target;
use crate::respond;
use crate::selectors;
use crate::server::Server;
use futures::StreamExt;
use serde_json::Value;
use std::sync::Arc;
use tricorn_meta::Status;
use tricorn_registry::{ListQuery, Paged};

/// This many objects are deleted at a time.
const PARALLEL: usize = 16;

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Arc<Endpoint>, bytes: &[u8]) -> Answer {
    let options = if bytes.is_empty() { Value::Null } else { body::object(&context.headers, bytes)? };
    let parameters = DeleteParameters::parse(&context.query, &options)?;
    warn_of_orphans(context, endpoint, &parameters);
    let list = ListParameters::parse(&context.query, false)?;
    let query = ListQuery {
        namespace: Some(context.info.namespace.clone()).filter(|namespace| endpoint.namespaced && !namespace.is_empty()),
        version: list.version,
        limit: list.limit,
        continuation: list.continuation,
        predicate: selectors::predicate(context, endpoint)?,
    };
    let listing = match server.registry.list(&endpoint.stored, &query).await? {
        Paged::Page(listing) => listing,
        Paged::Expired { message, .. } => return Err(Status::expired(message)),
    };
    let parameters = &parameters;
    let deletions = listing.objects.clone().into_iter().map(|object| async move {
        let target = Target { endpoint, subresource: "", namespace: object.namespace(), name: object.name() };
        match delete_object(server, context, target, parameters).await {
            Err(refusal) if !refusal.is_not_found() => Err(refusal),
            _ => Ok(()),
        }
    });
    let mut running = futures::stream::iter(deletions).buffer_unordered(PARALLEL);
    while let Some(result) = running.next().await {
        result?;
    }
    drop(running);
    respond::list(context, endpoint, listing)
}
