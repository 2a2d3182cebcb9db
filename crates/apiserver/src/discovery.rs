//! What there is: `/api`, `/apis` and below, in the old form and aggregated.

use crate::Answer;
use crate::context::Context;
use crate::media::{self, Encoding, Offer, View};
use crate::respond;
use crate::server::Server;
use axum::body::Body;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use tricorn_meta::Status;
use tricorn_schema::discovery;

/// What the aggregated document is called in its two encodings.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_PROTOBUF: &str = "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

pub(crate) fn serve(server: &Server, context: &Context) -> Answer {
    let endpoints = server.endpoints.load();
    let groups = endpoints.groups();
    let parts: Vec<&str> = context.info.path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["api"] | ["apis"] => {
            let core = parts == ["api"];
            let form = media::negotiate(context.header(ACCEPT), Offer::Discovery)?;
            let groups: Vec<_> = groups.into_iter().filter(|(group, _)| group.is_empty() == core).collect();
            if form.view == View::Discovery {
                let document = discovery::aggregated(&groups, endpoints.resources());
                if form.encoding == Encoding::Protobuf {
                    let body = tricorn_schema::protobuf::encode(&document).map_err(Status::internal)?;
                    return Ok(tagged_bytes(context, body, AGGREGATED_PROTOBUF));
                }
                return Ok(tagged(context, &document, AGGREGATED));
            }
            let document = if core { discovery::api_versions(&address(server)) } else { discovery::api_group_list(&groups) };
            respond::value(context, StatusCode::OK, &document)
        }
        ["api", version] => resources(context, &endpoints, "", version),
        ["apis", group] => {
            let found = groups.iter().find(|(name, _)| name == group).ok_or_else(Status::path_not_found)?;
            let mut document = discovery::api_group(group, &found.1);
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            respond::value(context, StatusCode::OK, &document)
        }
        ["apis", group, version] => resources(context, &endpoints, group, version),
        _ => Err(Status::path_not_found()),
    }
}

fn resources(context: &Context, endpoints: &crate::endpoint::Endpoints, group: &str, version: &str) -> Answer {
    if !endpoints.resources().any(|resource| resource.group == group && resource.version == version) {
        return Err(Status::path_not_found());
    }
    respond::value(context, StatusCode::OK, &discovery::api_resource_list(group, version, endpoints.resources()))
}

fn address(server: &Server) -> String {
    format!("{}:{}", server.config.advertise_address, server.config.advertise_port)
}

/// `/`: all paths.
pub(crate) fn root(server: &Server) -> Value {
    let endpoints = server.endpoints.load();
    let mut paths = vec!["/.well-known/openid-configuration".to_owned(), "/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in endpoints.groups().iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    for path in ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"] {
        paths.push(path.to_owned());
    }
    json!({"paths": paths})
}

/// A short name for a document's contents.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// A document that the client need not read again while it is the same.
pub(crate) fn tagged(context: &Context, document: &Value, media: &'static str) -> Response<Body> {
    tagged_bytes(context, serde_json::to_vec(document).unwrap_or_default(), media)
}

/// The same for a document that is encoded already.
pub(crate) fn tagged_bytes(context: &Context, bytes: Vec<u8>, media: &'static str) -> Response<Body> {
    let tag = format!("\"{}\"", hash(&bytes));
    let mut response = if context.headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        respond::bytes(context, StatusCode::OK, media, bytes.into())
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.append(VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}
