//! The chain that every request goes through, top to bottom, and nothing else.

mod dispatch;
mod impersonate;

use crate::Answer;
use crate::authn;
use crate::context::Context;
use crate::health;
use crate::info::{Query, RequestInfo};
use crate::respond;
use crate::server::Server;
use axum::body::Body;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{HeaderName, HeaderValue, WARNING};
use http::{Request, Response};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;
use tower::ServiceExt;
use tricorn_authz::{Attributes, Decision};
use tricorn_meta::{Status, UserInfo};

/// Who handed the request in.
#[derive(Clone)]
pub(crate) enum Caller {
    /// Somebody over the network, with the user that a client certificate named, if there was one.
    Remote(Option<Arc<UserInfo>>),
    /// Somebody in this process.
    Local { user: Arc<UserInfo>, fence: Option<u64> },
}

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// A warning is cut to this many bytes, and an answer carries at most that many.
const MAX_WARNING_BYTES: usize = 512;
const MAX_WARNINGS: usize = 32;

/// Answers one request.
pub(crate) async fn handle(server: Arc<Server>, request: Request<Body>, caller: Caller) -> Response<Body> {
    let began = Instant::now();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let info = RequestInfo::parse(request.method(), request.uri().path(), &query);
    let long_running = info.is_long_running(&query);
    let audit_id = request.headers().get(&AUDIT_ID).cloned();
    server.metrics.in_flight.inc();
    let work = AssertUnwindSafe(Box::pin(guarded(server.clone(), request, caller, info.clone(), query)));
    let mut response = match work.catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!(verb = %info.verb, path = %info.path, "the handler panicked");
            respond::refusal(None, &Status::internal("the server failed while it worked on this request; its log says more"))
        }
    };
    server.metrics.in_flight.dec();
    server.metrics.done(&info, response.status().as_u16(), began.elapsed(), long_running);
    let id = audit_id.or_else(|| HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).ok());
    if let Some(id) = id {
        response.headers_mut().insert(AUDIT_ID, id);
    }
    response
}

/// From authentication on; every refusal becomes a Status here.
async fn guarded(server: Arc<Server>, request: Request<Body>, caller: Caller, info: RequestInfo, query: Query) -> Response<Body> {
    let (user, fence) = match &caller {
        Caller::Local { user, fence } => (Ok(user.clone()), *fence),
        Caller::Remote(certificate) => (authn::authenticate(&server, certificate.as_ref(), request.headers()).await, None),
    };
    let user = match user {
        Ok(user) => user,
        Err(refusal) => return respond::refusal(None, &refusal),
    };
    let mut context = Context::new(user, info, query, request.headers().clone(), fence);
    match impersonate::impersonated(&server, &context) {
        Ok(Some(user)) => context.user = user,
        Ok(None) => {}
        Err(refusal) => return respond::refusal(Some(&context), &refusal),
    }
    let mut response = match admitted(server, &context, request).await {
        Ok(response) => response,
        Err(refusal) => {
            if refusal.code() >= 500 {
                tracing::warn!(verb = %context.info.verb, path = %context.info.path, user = %context.user.name, error = %refusal, "request failed");
            }
            respond::refusal(Some(&context), &refusal)
        }
    };
    for text in context.take_warnings().into_iter().take(MAX_WARNINGS) {
        if let Some(value) = warning(&text) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}

async fn admitted(server: Arc<Server>, context: &Context, request: Request<Body>) -> Answer {
    let place = server.limits.enter(context)?;
    let answer = if context.info.path.starts_with("/tricorn/") {
        let mut request = request;
        request.extensions_mut().insert(context.user.as_ref().clone());
        Ok(server.config.extra_routes.clone().oneshot(request).await.unwrap_or_else(|never| match never {}))
    } else {
        authorize(&server, context)?;
        let timeout = server.config.request_timeout;
        let work: BoxFuture<'_, Answer> = dispatch::dispatch(&server, context, request).boxed();
        if context.info.is_long_running(&context.query) {
            work.await
        } else {
            let late = || Status::timeout("request did not complete within the allotted timeout", 0);
            tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(late()))
        }
    };
    // A watch or stream keeps its place for as long as its body lives.
    Ok(match place {
        Some(place) => answer?.map(|body| {
            Body::new(http_body_util::BodyExt::map_frame(body, move |frame| {
                let _held = &place;
                frame
            }))
        }),
        None => answer?,
    })
}

/// May the user do this?
fn authorize(server: &Server, context: &Context) -> Result<(), Status> {
    let info = &context.info;
    if !info.is_resource && health::is_health_path(&info.path) {
        return Ok(());
    }
    let attributes = attributes(context);
    match server.authorizer.read().authorize(&attributes) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(attributes.forbidden(&reason)),
    }
}

fn attributes(context: &Context) -> Attributes<'_> {
    let info = &context.info;
    if !info.is_resource {
        return Attributes::path(&context.user, &info.verb, &info.path);
    }
    Attributes {
        namespace: &info.namespace,
        api_version: &info.version,
        subresource: &info.subresource,
        name: &info.name,
        path: &info.path,
        field_selector: context.query.get("fieldSelector").unwrap_or_default(),
        ..Attributes::resource(&context.user, &info.verb, &info.group, &info.resource)
    }
}

/// `299 - "text"`, with what a header cannot carry taken out.
fn warning(text: &str) -> Option<HeaderValue> {
    let mut clean = String::with_capacity(text.len() + 8);
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if clean.len() >= MAX_WARNING_BYTES {
            break;
        }
        if matches!(letter, '"' | '\\') {
            clean.push('\\');
        }
        clean.push(letter);
    }
    HeaderValue::from_bytes(format!("299 - \"{clean}\"").as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn warnings_are_quoted() {
        assert_eq!(warning("unknown field \"spec.a\"\n").unwrap(), r#"299 - "unknown field \"spec.a\"""#);
    }
}
