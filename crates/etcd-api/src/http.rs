//! etcd's HTTP endpoints: health, version, metrics, and a clear answer for what is not there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;
use tricorn_proto::etcdserverpb::{AlarmType, RangeRequest};
use tricorn_store::{Error, Store};

use crate::config::{ETCD_CLUSTER_VERSION, ETCD_VERSION};
use crate::gateway;
use crate::metrics::Metrics;
use crate::shared::Shared;

/// A health check that has no answer after this long has failed.
const CHECK_DEADLINE: Duration = Duration::from_secs(5);

/// What the endpoints need.
#[derive(Clone)]
pub(crate) struct Endpoints {
    pub shared: Shared,
    pub metrics: Arc<Metrics>,
}

/// The endpoints that are served on every address.
pub(crate) fn routes(endpoints: Endpoints) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/livez", get(livez))
        .route("/livez/{check}", get(livez_one))
        .route("/readyz", get(readyz))
        .route("/readyz/{check}", get(readyz_one))
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .fallback(unknown)
        .with_state(endpoints)
}

async fn unknown(headers: HeaderMap, uri: http::Uri) -> Response {
    let grpc = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        let status = tonic::Status::unimplemented(format!("unknown service or method {}", uri.path()));
        return status.into_http::<Body>();
    }
    if gateway::owns(uri.path()) {
        return (StatusCode::NOT_FOUND, "Not Found\n").into_response();
    }
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

async fn version() -> Response {
    json_response(StatusCode::OK, &json!({ "etcdserver": ETCD_VERSION, "etcdcluster": ETCD_CLUSTER_VERSION, "storage": "3.6.0" }))
}

async fn metrics(State(endpoints): State<Endpoints>) -> Response {
    let text = endpoints.metrics.render(&endpoints.shared.store);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn json_response(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// The query's values under `name`; a name without a value counts as an empty one.
fn query_values(query: Option<&str>, name: &str) -> Vec<String> {
    let pairs = query.unwrap_or_default().split('&');
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
        .collect()
}

async fn health(State(endpoints): State<Endpoints>, RawQuery(query): RawQuery) -> Response {
    let serializable = query_values(query.as_deref(), "serializable").iter().any(|value| value == "true");
    let excluded = query_values(query.as_deref(), "exclude");
    let store = &endpoints.shared.store;
    let alarm = store.alarms().iter().map(|alarm| alarm.alarm().as_str_name()).find(|alarm| excluded.iter().all(|name| name != alarm));
    let reason = if let Some(alarm) = alarm {
        format!("ALARM {alarm}")
    } else if store.leadership().borrow().leader.is_none() && !serializable {
        "RAFT NO LEADER".to_owned()
    } else {
        let read = if serializable { serializable_read(store).await } else { linearizable_read(store).await };
        read.err().map(|error| format!("QGET ERROR:{error}")).unwrap_or_default()
    };
    let healthy = reason.is_empty();
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(status, &json!({ "health": healthy.to_string(), "reason": reason }))
}

/// The checks, each under etcd's name.
const LIVE: &[&str] = &["serializable_read"];
const READY: &[&str] = &["data_corruption", "serializable_read", "linearizable_read", "non_learner"];

async fn livez(State(endpoints): State<Endpoints>, RawQuery(query): RawQuery) -> Response {
    run_checks(&endpoints, "livez", LIVE, query.as_deref()).await
}

async fn readyz(State(endpoints): State<Endpoints>, RawQuery(query): RawQuery) -> Response {
    run_checks(&endpoints, "readyz", READY, query.as_deref()).await
}

async fn livez_one(State(endpoints): State<Endpoints>, Path(check): Path<String>) -> Response {
    run_one(&endpoints, "livez", LIVE, &check).await
}

async fn readyz_one(State(endpoints): State<Endpoints>, Path(check): Path<String>) -> Response {
    run_one(&endpoints, "readyz", READY, &check).await
}

async fn run_one(endpoints: &Endpoints, name: &str, known: &'static [&'static str], check: &str) -> Response {
    match known.iter().position(|known| *known == check) {
        Some(at) => run_checks(endpoints, name, known.get(at..=at).unwrap_or_default(), None).await,
        None => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}

async fn run_checks(endpoints: &Endpoints, name: &str, checks: &[&str], query: Option<&str>) -> Response {
    let excluded: BTreeSet<String> = query_values(query, "exclude").into_iter().collect();
    let verbose = !query_values(query, "verbose").is_empty();
    let mut failed = false;
    let mut lines = String::new();
    for check in checks {
        if excluded.contains(*check) {
            lines += &format!("[+]{check} excluded: ok\n");
            continue;
        }
        match run_check(&endpoints.shared.store, check).await {
            Ok(()) => lines += &format!("[+]{check} ok\n"),
            Err(reason) => {
                failed = true;
                lines += &format!("[-]{check} failed: {reason}\n");
            }
        }
    }
    if failed {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{lines}{name} check failed\n")).into_response();
    }
    if verbose { format!("{lines}{name} check passed\n").into_response() } else { "ok\n".into_response() }
}

async fn run_check(store: &Store, check: &str) -> Result<(), String> {
    match check {
        "serializable_read" => serializable_read(store).await,
        "linearizable_read" => linearizable_read(store).await,
        "non_learner" if store.status().is_learner => Err("this member is a learner".to_owned()),
        "data_corruption" if store.alarms().iter().any(|alarm| alarm.alarm() == AlarmType::Corrupt) => {
            Err("alarm activated: CORRUPT".to_owned())
        }
        // The store refuses to start or go on with damaged data; while it runs, it has found none.
        _ => Ok(()),
    }
}

async fn linearizable_read(store: &Store) -> Result<(), String> {
    in_time(store.read_index()).await.map(|_| ())
}

async fn serializable_read(store: &Store) -> Result<(), String> {
    let request = RangeRequest { key: bytes::Bytes::from_static(b"health"), serializable: true, limit: 1, ..RangeRequest::default() };
    in_time(store.range(request)).await.map(|_| ())
}

async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match tokio::time::timeout(CHECK_DEADLINE, work).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
