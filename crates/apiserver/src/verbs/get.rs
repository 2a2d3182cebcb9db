//! Reading one object.

use crate::Answer;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options;
use crate::respond;
use crate::server::Server;
use http::StatusCode;

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Endpoint) -> Answer {
    let info = &context.info;
    let version = options::of_one(&context.query)?;
    let object = server.registry.get(&endpoint.stored, &info.namespace, &info.name, version).await?;
    respond::object(context, endpoint, StatusCode::OK, &object)
}
