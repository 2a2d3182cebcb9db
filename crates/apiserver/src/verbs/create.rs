//! Making a new object.

use crate::Answer;
use crate::body::{self, Document};
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::WriteParameters;
use crate::pipeline::{Target, Write, prune, settle};
use crate::respond;
use crate::server::Server;
use http::StatusCode;

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Endpoint, bytes: &[u8]) -> Answer {
    let parameters = WriteParameters::parse(context)?;
    let Document { mut value, twice } = body::document(&context.headers, bytes)?;
    let target = Target::new(endpoint, context);
    settle(target, &mut value)?;
    prune(context, endpoint, &parameters, &mut value, twice)?;
    let value = endpoint.to_stored(value);
    let object = server.create_object(Write::new(context, target, &parameters), value).await?;
    respond::object(context, endpoint, StatusCode::CREATED, &object)
}
