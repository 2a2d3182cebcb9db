//! Reading many objects.

use crate::Answer;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::ListParameters;
use crate::respond;
use crate::selectors;
use crate::server::Server;
use std::sync::Arc;
use tricorn_meta::Status;
use tricorn_registry::{ListQuery, Paged};

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Arc<Endpoint>) -> Answer {
    let parameters = ListParameters::parse(&context.query, false)?;
    let namespace = Some(context.info.namespace.clone()).filter(|namespace| endpoint.namespaced && !namespace.is_empty());
    let query = ListQuery {
        namespace,
        version: parameters.version,
        limit: parameters.limit,
        continuation: parameters.continuation,
        predicate: selectors::predicate(context, endpoint)?,
    };
    match server.registry.list(&endpoint.stored, &query).await? {
        Paged::Page(listing) => respond::list(context, endpoint, listing),
        Paged::Expired { message, token } => {
            let refusal = Status::expired(message);
            let mut body = refusal.to_json();
            body["metadata"]["continue"] = token.into();
            respond::value(context, http::StatusCode::GONE, &body)
        }
    }
}
