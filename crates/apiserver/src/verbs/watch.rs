//! Watching: a stream of lines, each an event.

use crate::Answer;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::media::{Encoding, JSON, View};
use crate::options::ListParameters;
use crate::respond;
use crate::selectors;
use crate::server::Server;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use rand::Rng;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tricorn_meta::Status;
use tricorn_registry::{ChangeKind, Object, Watch, WatchEvent};

/// A watch without a timeout of its own ends after this long, or up to twice as long: so that watches do not all end at once.
const MIN_WATCH: Duration = Duration::from_secs(1800);
/// An idle watch is told this often how far the store has come.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(30);
/// This many objects of an initial list are written at once.
const INITIAL_CHUNK: usize = 128;

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Arc<Endpoint>) -> Answer {
    let parameters = ListParameters::parse(&context.query, true)?;
    let form = respond::object_form(context)?;
    if form.encoding == Encoding::Yaml {
        return Err(Status::not_acceptable(&[JSON]));
    }
    let predicate = selectors::predicate(context, endpoint)?;
    let info = &context.info;
    let namespace = Some(info.namespace.as_str()).filter(|namespace| endpoint.namespaced && !namespace.is_empty());
    // Without a revision, or from revision 0, a watch begins with what is there.
    let listed = parameters.initial_events.unwrap_or(parameters.watch_from.is_none());
    let (initial, revision, watch) = if listed {
        let version = if parameters.initial_events.is_none() && context.query.get("resourceVersion").is_none() {
            tricorn_registry::Version::Any
        } else {
            parameters.version
        };
        server.registry.watch_list(&endpoint.stored, namespace, version, predicate).await?
    } else {
        let from = parameters.watch_from;
        let watch = match server.registry.watch(&endpoint.stored, namespace, from, predicate).await {
            // Upstream tells in the stream that a revision is too old: some clients begin anew only when they see it there.
            Err(refusal) if refusal.code() == 410 => {
                let mut out = BytesMut::new();
                line("ERROR", &refusal.to_json(), &mut out);
                return Ok(streamed(Body::from(out.freeze())));
            }
            watch => watch?,
        };
        (Vec::new(), from.unwrap_or(0), watch)
    };
    let lasts = parameters.timeout_seconds.map_or_else(|| MIN_WATCH + MIN_WATCH.mul_f64(rand::rng().random::<f64>()), Duration::from_secs);
    let mut ticks = tokio::time::interval_at(Instant::now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let view = Viewing { endpoint: endpoint.clone(), view: form.view, columns_told: false };
    let running = Running {
        watch,
        view,
        initial: initial.into(),
        end_of_initial: (parameters.initial_events == Some(true) && parameters.bookmarks).then_some(revision),
        bookmarks: parameters.bookmarks,
        seen: revision,
        marked: revision,
        deadline: Instant::now() + lasts,
        ticks,
        stop: server.stop.child_token(),
        ended: false,
    };
    let lines = stream::unfold(running, |mut running| async move {
        let bytes = running.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), running))
    });
    Ok(streamed(Body::from_stream(lines)))
}

fn streamed(lines: Body) -> Response<Body> {
    let mut response = Response::new(lines);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// In which form events are shown.
struct Viewing {
    endpoint: Arc<Endpoint>,
    view: View,
    /// Only the first Table of a watch says what its columns are.
    columns_told: bool,
}

impl Viewing {
    /// Whether the shared serialization will do.
    fn is_plain(&self, object: &Object) -> bool {
        self.view == View::Object && self.endpoint.is_stored_version(object.value())
    }

    fn event(&mut self, event: &WatchEvent, out: &mut BytesMut) {
        if self.is_plain(&event.object) {
            out.extend_from_slice(&event.line);
        } else {
            line(event.kind.as_str(), &self.show(event.object.value()), out);
        }
    }

    fn added(&mut self, object: &Object, out: &mut BytesMut) {
        if self.is_plain(object) {
            out.extend_from_slice(b"{\"type\":\"");
            out.extend_from_slice(ChangeKind::Added.as_str().as_bytes());
            out.extend_from_slice(b"\",\"object\":");
            out.extend_from_slice(object.body());
            out.extend_from_slice(b"}\n");
        } else {
            line(ChangeKind::Added.as_str(), &self.show(object.value()), out);
        }
    }

    fn show(&mut self, value: &Value) -> Value {
        let mut shown = respond::viewed(&self.endpoint, self.view, value);
        if matches!(self.view, View::Table(_)) && std::mem::replace(&mut self.columns_told, true) {
            shown["columnDefinitions"] = Value::Null;
        }
        shown
    }

    /// Tells how far the store has come, on an object that has nothing but its version.
    fn bookmark(&mut self, revision: i64, initial_end: bool, out: &mut BytesMut) {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": self.endpoint.kind, "apiVersion": self.endpoint.api_version(), "metadata": metadata});
        line("BOOKMARK", &self.show(&object), out);
    }
}

fn line(kind: &str, object: &Value, out: &mut BytesMut) {
    out.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").as_bytes());
}

/// One watch under way.
struct Running {
    watch: Watch,
    view: Viewing,
    initial: VecDeque<Arc<Object>>,
    end_of_initial: Option<i64>,
    bookmarks: bool,
    /// The revision that the watch has come to.
    seen: i64,
    /// The revision that the client was told last.
    marked: i64,
    deadline: Instant,
    ticks: Interval,
    stop: CancellationToken,
    ended: bool,
}

impl Running {
    /// The next lines; `None`: the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        if !self.initial.is_empty() {
            let take = self.initial.len().min(INITIAL_CHUNK);
            for object in self.initial.drain(..take) {
                self.view.added(&object, &mut out);
            }
            return Some(out.freeze());
        }
        if let Some(revision) = self.end_of_initial.take() {
            self.view.bookmark(revision, true, &mut out);
            return Some(out.freeze());
        }
        if self.ended {
            return None;
        }
        loop {
            tokio::select! {
                batch = self.watch.next() => match batch {
                    Ok(batch) => {
                        self.seen = self.seen.max(batch.revision);
                        for event in &batch.events {
                            self.view.event(event, &mut out);
                        }
                        if !batch.events.is_empty() {
                            self.marked = self.seen;
                            return Some(out.freeze());
                        }
                    }
                    Err(refusal) => {
                        self.ended = true;
                        line("ERROR", &refusal.to_json(), &mut out);
                        return Some(out.freeze());
                    }
                },
                _ = self.ticks.tick() => {
                    // The answer arrives as an empty batch; what is known now is told now.
                    self.watch.want_progress();
                    if self.bookmarks && self.seen > self.marked {
                        self.marked = self.seen;
                        self.view.bookmark(self.seen, false, &mut out);
                        return Some(out.freeze());
                    }
                }
                () = tokio::time::sleep_until(self.deadline) => {
                    self.ended = true;
                    if self.bookmarks && self.seen > self.marked {
                        self.view.bookmark(self.seen, false, &mut out);
                        return Some(out.freeze());
                    }
                    return None;
                }
                () = self.stop.cancelled() => return None,
            }
        }
    }
}
