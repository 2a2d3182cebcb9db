//! Answers: objects and lists in the form that the client wants, and refusals.

mod pieces;

use crate::Answer;
use crate::context::Context;
use crate::encoded::{self, Shown};
use crate::endpoint::Endpoint;
use crate::media::{self, Encoding, Form, Offer, View};
use crate::stamp;
use crate::table::{self, Include};
use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY};
use http::{Response, StatusCode};
use pieces::Pieces;
use serde_json::{Map, Value, json};
use std::io::Write;
use tricorn_meta::Status;
use tricorn_registry::{Listing, Object};

/// Answers from this size on are compressed for clients that take gzip.
const GZIP_FROM_BYTES: usize = 128 << 10;

/// The form for an object or a list.
fn object_form(context: &Context, offer: Offer) -> Result<Form, Status> {
    with_include(context, media::negotiate(context.header(ACCEPT), offer)?)
}

/// Whether there is a form for the answer: asked before anything is done, so that nothing is done for who cannot be answered.
pub(crate) fn check_acceptable(context: &Context, endpoint: &Endpoint) -> Result<(), Status> {
    media::negotiate(context.header(ACCEPT), offer(endpoint)).map(drop)
}

/// The form for a watch.
pub(crate) fn watch_form(context: &Context, endpoint: &Endpoint) -> Result<Form, Status> {
    with_include(context, media::negotiate_stream(context.header(ACCEPT), offer(endpoint))?)
}

fn with_include(context: &Context, mut form: Form) -> Result<Form, Status> {
    if let View::Table(include) = &mut form.view {
        *include = Include::of(&context.query)?;
    }
    Ok(form)
}

fn offer(endpoint: &Endpoint) -> Offer {
    if endpoint.is_builtin() { Offer::Objects } else { Offer::CustomObjects }
}

/// One object.
pub(crate) fn object(context: &Context, endpoint: &Endpoint, code: StatusCode, object: &Object) -> Answer {
    let form = object_form(context, offer(endpoint))?;
    match form.encoding {
        Encoding::Protobuf | Encoding::Cbor => {
            let item = encoded::item(endpoint, form, object)?;
            let body = encoded::body(form.encoding, &Shown::object(endpoint, form.view), &item);
            Ok(bytes(context, code, form.encoding.media(), body))
        }
        Encoding::Json if form.view == View::Object && endpoint.serves_as_stored(object) => {
            Ok(bytes(context, code, media::JSON, object.body().clone()))
        }
        _ => written(context, code, form, &viewed(endpoint, form.view, &object.glance())),
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

/// A document of a built-in kind that no endpoint stores, such as the Scale of `endpoint`'s object, in the form for an object.
pub(crate) fn unstored(context: &Context, endpoint: &Endpoint, code: StatusCode, document: &Value) -> Answer {
    let form = object_form(context, offer(endpoint))?;
    match form.view {
        View::Table(include) => {
            let shown = table::unstored(document, include, version_of(document), stamp::now());
            written(context, code, form, &shown)
        }
        View::Metadata => written(context, code, form, &partial(document)),
        _ => written(context, code, form, document),
    }
}

/// A list, or a page of one.
pub(crate) fn list(context: &Context, endpoint: &Endpoint, listing: Listing) -> Answer {
    let form = object_form(context, offer(endpoint))?;
    let metadata = list_metadata(&listing);
    if matches!(form.encoding, Encoding::Protobuf | Encoding::Cbor) {
        let items: Result<Vec<Bytes>, Status> = listing.objects.iter().map(|object| encoded::item(endpoint, form, object)).collect();
        let body = encoded::list(form.encoding, &Shown::list(endpoint, form.view), &metadata, &items?)?;
        return Ok(bytes(context, StatusCode::OK, form.encoding.media(), body));
    }
    if form == Form::JSON && listing.objects.iter().all(|object| endpoint.serves_as_stored(object)) {
        let head =
            format!(r#"{{"kind":"{}","apiVersion":"{}","metadata":{metadata},"items":["#, endpoint.list_kind(), endpoint.api_version());
        let pieces = Pieces::new(head, listing.objects);
        if takes_gzip(context, pieces.len()) {
            return Ok(bytes(context, StatusCode::OK, media::JSON, pieces.whole()));
        }
        return Ok(plain(StatusCode::OK, media::JSON, Body::new(pieces)));
    }
    let trees: Vec<_> = listing.objects.iter().map(|object| object.glance()).collect();
    let values: Vec<&Value> = trees.iter().map(AsRef::as_ref).collect();
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
    written(context, StatusCode::OK, form, &answer)
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

/// Any other document of the API's types.
pub(crate) fn value(context: &Context, code: StatusCode, value: &Value) -> Answer {
    written(context, code, media::negotiate(context.header(ACCEPT), Offer::Plain)?, value)
}

/// A Status in the place of an object, where a client may have asked for a view of one.
pub(crate) fn status(context: &Context, code: StatusCode, status: &Status) -> Answer {
    let encoding = media::negotiate(context.header(ACCEPT), Offer::Objects)?.encoding;
    written(context, code, Form { encoding, view: View::Object }, &status.to_json())
}

/// A document that is none of the API's types, and is JSON whatever the client would like.
pub(crate) fn json_document(context: &Context, value: &Value) -> Answer {
    written(context, StatusCode::OK, Form::JSON, value)
}

fn written(context: &Context, code: StatusCode, form: Form, value: &Value) -> Answer {
    Ok(bytes(context, code, form.encoding.media(), document(form.encoding, value)?))
}

/// A whole document in an encoding.
fn document(encoding: Encoding, value: &Value) -> Result<Bytes, Status> {
    Ok(match encoding {
        Encoding::Json => {
            let mut text = serde_json::to_vec(value).map_err(Status::internal)?;
            text.push(b'\n');
            text.into()
        }
        Encoding::Yaml => serde_yaml_ng::to_string(value).map_err(Status::internal)?.into(),
        Encoding::Protobuf | Encoding::Cbor => encoded::body(encoding, &Shown::of(value), &encoded::value_item(encoding, value)?),
    })
}

/// Bytes, compressed where that pays and the client takes it.
pub(crate) fn bytes(context: &Context, code: StatusCode, media: &'static str, body: Bytes) -> Response<Body> {
    if takes_gzip(context, body.len())
        && let Some(compressed) = compressed(&body)
    {
        let mut response = plain(code, media, Body::from(compressed));
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        return response;
    }
    plain(code, media, Body::from(body))
}

/// Whether so many bytes are to be compressed.
fn takes_gzip(context: &Context, length: usize) -> bool {
    length >= GZIP_FROM_BYTES && context.header(ACCEPT_ENCODING).split(',').any(|coding| coding.trim() == "gzip")
}

fn plain(code: StatusCode, media: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
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
    let form = media::negotiate(accept, Offer::Plain).unwrap_or(Form::JSON);
    let answer = status.to_json();
    let (media, body) = match document(form.encoding, &answer) {
        Ok(body) => (form.encoding.media(), body),
        Err(_) => (media::JSON, answer.to_string().into()),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Some(seconds) = status.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests;
