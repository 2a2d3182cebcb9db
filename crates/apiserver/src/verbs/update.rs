//! Replacing an object, or its status.

use crate::Answer;
use crate::body::{self, Document};
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::WriteParameters;
use crate::pipeline::{Target, Write, prune, settle};
use crate::respond;
use crate::server::Server;
use crate::stamp;
use http::StatusCode;
use tricorn_meta::{FieldError, FieldPath, Status};

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Endpoint, bytes: &[u8]) -> Answer {
    let parameters = WriteParameters::parse(context)?;
    let Document { mut value, twice } = body::document(&context.headers, bytes)?;
    let target = Target::new(endpoint, context);
    settle(target, &mut value)?;
    prune(context, endpoint, &parameters, &mut value, twice)?;
    let value = endpoint.to_stored(value);
    if stamp::text(&value, "resourceVersion").is_empty() && !endpoint.allows_unconditional_update() {
        let error = FieldError::invalid(&FieldPath::new("metadata.resourceVersion"), 0, "must be specified for an update");
        return Err(Status::invalid(&endpoint.group, &endpoint.kind, target.name, vec![error]));
    }
    let write = Write::new(context, target, &parameters);
    match server.update_object(write, |_| Ok(Some(value.clone()))).await {
        Ok(object) => respond::object(context, endpoint, StatusCode::OK, &object),
        // A few kinds may be put where nothing is yet.
        Err(refusal) if refusal.is_not_found() && endpoint.allows_create_on_update() && target.subresource.is_empty() => {
            if !stamp::text(&value, "uid").is_empty() || !stamp::text(&value, "resourceVersion").is_empty() {
                return Err(refusal);
            }
            let object = server.create_object(write, value).await?;
            respond::object(context, endpoint, StatusCode::CREATED, &object)
        }
        Err(refusal) => Err(refusal),
    }
}
