//! Takes away what earlier releases made, and this one knows nothing of.

use super::flow;
use crate::context::Context;
use crate::options::DeleteParameters;
use crate::pipeline::Target;
use crate::server::Server;
use crate::verbs::delete_object;
use tricorn_meta::Status;
use tricorn_registry::{ListQuery, Paged};

/// Takes away objects of flow control that followed the server's and have nothing to follow any more.
pub(super) async fn remove(server: &Server, context: &Context) -> Result<(), Status> {
    for plural in ["flowschemas", "prioritylevelconfigurations"] {
        let Some(endpoint) = server.endpoint(flow::GROUP, "v1", plural) else { continue };
        let Paged::Page(listing) = server.registry.list(&endpoint.stored, &ListQuery::default()).await? else { continue };
        for object in listing.objects.iter().filter(|object| flow::is_obsolete(object.value())) {
            let target = Target { endpoint: &endpoint, subresource: "", namespace: "", name: object.name() };
            match delete_object(server, context, target, &DeleteParameters::default()).await {
                Err(refusal) if !refusal.is_not_found() => return Err(refusal),
                _ => tracing::info!(plural, name = object.name(), "an object of an earlier release is gone"),
            }
        }
    }
    Ok(())
}
