//! Questions that are posted like objects and answered at once: may this be done, whose token is this, who am I.

mod access;
mod identity;

use crate::Answer;
use crate::body;
use crate::context::Context;
use crate::respond;
use crate::server::Server;
use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::Value;
use tricorn_meta::Status;

/// Whether a resource is such a question.
pub(crate) fn is_review(group: &str, resource: &str) -> bool {
    matches!(
        (group, resource),
        (
            "authorization.k8s.io",
            "subjectaccessreviews" | "selfsubjectaccessreviews" | "localsubjectaccessreviews" | "selfsubjectrulesreviews"
        ) | ("authentication.k8s.io", "tokenreviews" | "selfsubjectreviews")
    )
}

pub(crate) async fn serve(server: &Server, context: &Context, request: Request<Body>) -> Answer {
    let info = &context.info;
    if server.endpoint(&info.group, &info.version, &info.resource).is_none() {
        return Err(Status::path_not_found());
    }
    if info.verb != "create" {
        return Err(Status::method_not_supported(&info.group, &info.resource, &info.verb));
    }
    let bytes = body::read(request).await?;
    let mut review = body::object(&context.headers, &bytes)?;
    let status = match info.resource.as_str() {
        "subjectaccessreviews" => access::subject(server, &review["spec"])?,
        "localsubjectaccessreviews" => access::local(server, context, &review["spec"])?,
        "selfsubjectaccessreviews" => access::own(server, context, &review["spec"])?,
        "selfsubjectrulesreviews" => access::rules(server, context, &review["spec"])?,
        "tokenreviews" => identity::token(server, &review["spec"]).await?,
        _ => identity::own(context),
    };
    review["status"] = status;
    if let Some(object) = review.as_object_mut() {
        object.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    respond::value(context, StatusCode::CREATED, &review)
}
