//! `/openapi/v2` and `/openapi/v3`: what `kubectl explain` reads.

use crate::Answer;
use crate::context::Context;
use crate::discovery::{hash, tagged, tagged_bytes};
use crate::media::{self, Offer};
use crate::respond;
use crate::server::Server;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use tricorn_meta::Status;
use tricorn_schema::{openapi, openapi_proto};

/// What client-go asks for `/openapi/v2` in, and takes nothing else.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What the answer is called then.
const PROTOBUF_ANSWER: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// All definitions, once; they are asked for rarely.
static DEFINITIONS: LazyLock<Map<String, Value>> = LazyLock::new(openapi::described_definitions);

pub(crate) fn v2(server: &Server, context: &Context) -> Answer {
    let accept = context.header(http::header::ACCEPT);
    let form = media::negotiate(accept, Offer::Text);
    let protobuf = form.is_err() && accept.contains(PROTOBUF);
    if !protobuf {
        form?;
    }
    let endpoints = server.endpoints.load();
    let mut definitions = DEFINITIONS.clone();
    definitions.extend(custom_definitions(server));
    let document = openapi::v2(&definitions, endpoints.resources());
    Ok(if protobuf {
        tagged_bytes(context, openapi_proto::encode(&document), PROTOBUF_ANSWER)
    } else {
        tagged(context, &document, media::JSON)
    })
}

pub(crate) fn v3(server: &Server, context: &Context) -> Answer {
    let endpoints = server.endpoints.load();
    let path = context.info.path.trim_start_matches("/openapi/v3").trim_matches('/');
    if path.is_empty() {
        let mut paths = Map::new();
        for (group, versions) in endpoints.groups() {
            for version in versions {
                let name = openapi::group_version_path(group, version);
                // What is built in changes with the server's version only; what is custom, with its definitions.
                let builtin = format!("{}{name}", env!("CARGO_PKG_VERSION"));
                let custom: Vec<_> =
                    endpoints.all().iter().filter(|one| !one.is_builtin() && one.group == group).map(|one| one.node_hash()).collect();
                let hash = hash(format!("{builtin}{}", custom.join("")).as_bytes());
                paths.insert(name.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{name}?hash={hash}")}));
            }
        }
        return respond::json_document(context, &json!({"paths": paths}));
    }
    let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => return Err(Status::path_not_found()),
    };
    if !endpoints.resources().any(|resource| resource.group == group && resource.version == version) {
        return Err(Status::path_not_found());
    }
    media::negotiate(context.header(http::header::ACCEPT), Offer::Text)?;
    let custom = custom_definitions(server);
    let document = if custom.is_empty() {
        openapi::v3(group, version, &DEFINITIONS, endpoints.resources())
    } else {
        let mut definitions = DEFINITIONS.clone();
        definitions.extend(custom);
        openapi::v3(group, version, &definitions, endpoints.resources())
    };
    Ok(tagged(context, &document, media::JSON))
}

/// The definitions of all custom kinds, by their names in OpenAPI.
fn custom_definitions(server: &Server) -> Map<String, Value> {
    server.endpoints.load().all().iter().filter_map(|endpoint| endpoint.custom_definition()).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, within};
    use http::Method;
    use http_body_util::BodyExt;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_schema_comes_in_the_form_that_is_asked_for() {
        let world = World::start().await;
        let cases = [
            ("application/json", 200, b"{\""),
            (super::PROTOBUF, 200, b"\x0a\x03"),
            ("application/com.github.proto-openapi.spec.v2@v1.0+protobuf, application/json", 200, b"{\""),
            ("text/html", 406, b"{\""),
        ];
        for (accept, expected, begins) in cases {
            let (code, body) = world.send(Method::GET, "/openapi/v2", accept, None).await;
            let bytes = within(body.collect()).await.map(|body| body.to_bytes()).unwrap_or_default();
            assert_eq!((code.as_u16(), bytes.starts_with(begins)), (expected, true), "{accept}");
        }
        world.stop().await;
    }
}
