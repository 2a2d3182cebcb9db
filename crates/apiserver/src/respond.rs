//! Answers: objects and lists in the form that the client wants, and refusals.

use crate::Answer;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::media::{self, Encoding, Form, OBJECTS, PLAIN, View};
use crate::stamp;
use crate::table::{self, Include};
use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use std::io::Write;
use tricorn_meta::Status;
use tricorn_registry::{Listing, Object};

/// Answers from this size on are compressed for clients that take gzip.
const GZIP_FROM_BYTES: usize = 128 << 10;

/// The form for an object, a list or a watch.
pub(crate) fn object_form(context: &Context) -> Result<Form, Status> {
    let mut form = media::negotiate(context.header(ACCEPT), OBJECTS)?;
    if let View::Table(include) = &mut form.view {
        *include = Include::of(&context.query)?;
    }
    Ok(form)
}

/// One object.
pub(crate) fn object(context: &Context, endpoint: &Endpoint, code: StatusCode, object: &Object) -> Answer {
    let form = object_form(context)?;
    match form.view {
        View::Object if form.encoding == Encoding::Json && endpoint.is_stored_version(object.value()) => {
            Ok(bytes(context, code, media::JSON, object.body().clone()))
        }
        View::Object => Ok(encoded(context, code, form, &endpoint.shown(object.value()))),
        _ => Ok(encoded(context, code, form, &viewed(endpoint, form.view, object.value()))),
    }
}

/// One object as a table or as its metadata.
pub(crate) fn viewed(endpoint: &Endpoint, view: View, object: &Value) -> Value {
    match view {
        View::Table(include) => table::of(endpoint, &[object], include, version_of(object), stamp::now()),
        View::Metadata => partial(object),
        _ => endpoint.shown(object),
    }
}

/// The metadata of a Table that shows a single object.
fn version_of(object: &Value) -> Value {
    json!({"resourceVersion": stamp::text(object, "resourceVersion")})
}

/// Only the metadata of an object.
pub(crate) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A document of a built-in kind that no endpoint stores, such as a Scale, in the form for an object.
pub(crate) fn unstored(context: &Context, code: StatusCode, document: &Value) -> Answer {
    let form = object_form(context)?;
    Ok(match form.view {
        View::Table(include) => {
            let shown = table::unstored(document, include, version_of(document), stamp::now());
            encoded(context, code, form, &shown)
        }
        View::Metadata => encoded(context, code, form, &partial(document)),
        _ => encoded(context, code, form, document),
    })
}

/// A list, or a page of one.
pub(crate) fn list(context: &Context, endpoint: &Endpoint, listing: &Listing) -> Answer {
    let form = object_form(context)?;
    let metadata = list_metadata(listing);
    if form == Form::JSON && listing.objects.iter().all(|object| endpoint.is_stored_version(object.value())) {
        return Ok(bytes(context, StatusCode::OK, media::JSON, concatenated(endpoint, &metadata, listing)));
    }
    let values: Vec<&Value> = listing.objects.iter().map(|object| object.value()).collect();
    let answer = match form.view {
        View::Table(include) => table::of(endpoint, &values, include, metadata, stamp::now()),
        View::Metadata => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "items": values.into_iter().map(partial).collect::<Vec<_>>(),
        }),
        _ => json!({
            "kind": endpoint.list_kind(), "apiVersion": endpoint.api_version(), "metadata": metadata,
            "items": values.into_iter().map(|value| endpoint.shown(value)).collect::<Vec<_>>(),
        }),
    };
    Ok(encoded(context, StatusCode::OK, form, &answer))
}

fn list_metadata(listing: &Listing) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), listing.revision.to_string().into());
    if let Some(at) = &listing.continuation {
        metadata.insert("continue".to_owned(), at.encode().into());
    }
    if let Some(remaining) = listing.remaining {
        metadata.insert("remainingItemCount".to_owned(), remaining.into());
    }
    Value::Object(metadata)
}

/// A list put together from bodies that are serialized already.
fn concatenated(endpoint: &Endpoint, metadata: &Value, listing: &Listing) -> Bytes {
    let size: usize = listing.objects.iter().map(|object| object.body().len() + 1).sum();
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        endpoint.list_kind(),
        endpoint.api_version()
    );
    let mut out = Vec::with_capacity(size + head.len() + 4);
    out.extend_from_slice(head.as_bytes());
    for (at, object) in listing.objects.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(object.body());
    }
    out.extend_from_slice(b"]}\n");
    out.into()
}

/// Any other document.
pub(crate) fn value(context: &Context, code: StatusCode, value: &Value) -> Answer {
    let form = media::negotiate(context.header(ACCEPT), PLAIN)?;
    Ok(encoded(context, code, form, value))
}

fn encoded(context: &Context, code: StatusCode, form: Form, value: &Value) -> Response<Body> {
    match form.encoding {
        Encoding::Json => {
            let mut text = serde_json::to_vec(value).unwrap_or_default();
            text.push(b'\n');
            bytes(context, code, media::JSON, text.into())
        }
        Encoding::Yaml => bytes(context, code, media::YAML, serde_yaml_ng::to_string(value).unwrap_or_default().into()),
    }
}

/// Bytes, compressed where that pays and the client takes it.
pub(crate) fn bytes(context: &Context, code: StatusCode, media: &'static str, body: Bytes) -> Response<Body> {
    let gzip = body.len() >= GZIP_FROM_BYTES && context.header(ACCEPT_ENCODING).contains("gzip");
    let body = if gzip { compressed(&body) } else { Some(body.clone()) }.map_or((body, false), |done| (done, gzip));
    let mut response = Response::new(Body::from(body.0));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if body.1 {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

fn compressed(body: &Bytes) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Plain text.
pub(crate) fn text(code: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert("X-Content-Type-Options", HeaderValue::from_static("nosniff"));
    response
}

/// A refusal.
pub(crate) fn refusal(context: Option<&Context>, status: &Status) -> Response<Body> {
    let accept = context.map_or("", |context| context.header(ACCEPT));
    let form = media::negotiate(accept, PLAIN).unwrap_or(Form::JSON);
    let body = status.to_json();
    let (media, text) = match form.encoding {
        Encoding::Json => (media::JSON, serde_json::to_string(&body).unwrap_or_default() + "\n"),
        Encoding::Yaml => (media::YAML, serde_yaml_ng::to_string(&body).unwrap_or_default()),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Some(seconds) = status.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
