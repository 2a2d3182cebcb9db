//! Watching: a stream of events.

mod events;

use crate::Answer;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::options::ListParameters;
use crate::respond;
use crate::selectors;
use crate::server::Server;
use axum::body::Body;
use bytes::Bytes;
use events::Events;
use futures::stream;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use rand::Rng;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tricorn_meta::Status;
use tricorn_registry::{Batch, Object, Watch};

/// A watch without a timeout of its own ends after this long, or up to twice as long: so that watches do not all end at once.
const MIN_WATCH: Duration = Duration::from_secs(1800);
/// An idle watch is told this often how far the store has come.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(30);
/// This many objects of an initial list are written at once.
const INITIAL_CHUNK: usize = 128;

pub(crate) async fn serve(server: &Server, context: &Context, endpoint: &Arc<Endpoint>) -> Answer {
    let parameters = ListParameters::parse(&context.query, true)?;
    let form = respond::watch_form(context, endpoint)?;
    let media = form.encoding.stream_media().unwrap_or_default();
    let events = Events::new(endpoint.clone(), form);
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
                let mut out = Vec::new();
                events.error(&refusal, &mut out);
                return Ok(streamed(media, Body::from(out)));
            }
            watch => watch?,
        };
        (Vec::new(), from.unwrap_or(0), watch)
    };
    let lasts = parameters.timeout_seconds.map_or_else(|| MIN_WATCH + MIN_WATCH.mul_f64(rand::rng().random::<f64>()), Duration::from_secs);
    let mut ticks = tokio::time::interval_at(Instant::now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let running = Running {
        watch,
        events,
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
    let parts = stream::unfold(running, |mut running| async move {
        let bytes = running.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), running))
    });
    Ok(streamed(media, Body::from_stream(parts)))
}

fn streamed(media: &'static str, events: Body) -> Response<Body> {
    let mut response = Response::new(events);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// One watch under way.
struct Running {
    watch: Watch,
    events: Events,
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
    /// The next events; `None`: the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = Vec::new();
        if let Err(refusal) = self.step(&mut out).await? {
            // What went before is still true, and the client is told why nothing follows.
            self.ended = true;
            self.events.error(&refusal, &mut out);
        }
        Some(out.into())
    }

    /// Appends the next events; `None`: there are no more.
    async fn step(&mut self, out: &mut Vec<u8>) -> Option<Result<(), Status>> {
        if !self.initial.is_empty() {
            let take = self.initial.len().min(INITIAL_CHUNK);
            return Some(self.initial.drain(..take).try_for_each(|object| self.events.added(&object, out)));
        }
        if let Some(revision) = self.end_of_initial.take() {
            return Some(self.events.bookmark(revision, true, out));
        }
        loop {
            tokio::select! {
                batch = self.watch.next() => match batch {
                    Ok(batch) if batch.events.is_empty() => self.seen = self.seen.max(batch.revision),
                    Ok(batch) => return Some(self.take(&batch, out)),
                    Err(refusal) => return Some(Err(refusal)),
                },
                _ = self.ticks.tick() => {
                    // The answer arrives as an empty batch; what is known now is told now.
                    self.watch.want_progress();
                    if self.bookmarks && self.seen > self.marked {
                        self.marked = self.seen;
                        return Some(self.events.bookmark(self.seen, false, out));
                    }
                }
                () = tokio::time::sleep_until(self.deadline) => {
                    self.ended = true;
                    return (self.bookmarks && self.seen > self.marked).then(|| self.events.bookmark(self.seen, false, out));
                }
                () = self.stop.cancelled() => return None,
            }
        }
    }

    fn take(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<(), Status> {
        self.seen = self.seen.max(batch.revision);
        self.marked = self.seen;
        batch.events.iter().try_for_each(|event| self.events.event(event, out))
    }
}

#[cfg(test)]
mod tests;
