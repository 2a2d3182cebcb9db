//! Events for people to read: recorded without waiting, repeated ones counted in one object, chatty objects slowed.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::objects::Objects;

/// Events that may wait to be written; more are dropped, since an event is never worth a stalled controller.
const QUEUE_EVENTS: usize = 1024;
/// Distinct events remembered for counting repetitions; the oldest half is forgotten at the limit.
const REMEMBERED_EVENTS: usize = 4096;
/// Events in a burst that one object may cause.
const BURST_EVENTS: f64 = 25.0;
/// Seconds until an object that has used up its burst may cause another event.
const REFILL_SECONDS: f64 = 300.0;
/// Repetitions after this many seconds start a new event object.
const AGGREGATION_SECONDS: u64 = 600;
/// Longest message that the API accepts, in bytes.
const MESSAGE_BYTES: usize = 1024;

/// Whether an event tells of normal work or of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Normal work.
    Normal,
    /// Trouble that somebody may have to look at.
    Warning,
}

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Clone, Debug)]
struct Draft {
    about: ObjectReference,
    kind: EventKind,
    reason: String,
    message: String,
    source: EventSource,
}

#[derive(PartialEq, Eq, Hash)]
struct Sameness {
    uid: String,
    name: String,
    field: String,
    kind: EventKind,
    reason: String,
    message: String,
    component: String,
}

struct Known {
    namespace: String,
    name: String,
    count: i32,
    first: Instant,
    last: Instant,
}

/// Records events under one component's name. Clones share the queue; [`Recorder::named`] changes the name.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Draft>,
    source: EventSource,
}

impl Recorder {
    /// A recorder for `component` on `host` (empty where that means nothing), and the work that writes its events until
    /// `shutdown`; whoever calls must own and run that work.
    pub fn new(
        client: kube::Client,
        component: &str,
        host: &str,
        shutdown: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, receiver) = mpsc::channel(QUEUE_EVENTS);
        let source = EventSource { component: Some(component.to_owned()), host: Some(host.to_owned()).filter(|host| !host.is_empty()) };
        let writer = Writer { objects: Objects::new(client, component), known: HashMap::new(), budgets: HashMap::new() };
        (Self { sender, source }, writer.run(receiver, shutdown))
    }

    /// A recorder whose events go nowhere, for tests of what uses one.
    pub fn silent() -> Self {
        Self { sender: mpsc::channel(1).0, source: EventSource::default() }
    }

    /// The same recorder under another component's name.
    #[must_use]
    pub fn named(&self, component: &str) -> Self {
        let source = EventSource { component: Some(component.to_owned()), host: self.source.host.clone() };
        Self { sender: self.sender.clone(), source }
    }

    /// Records an event about `object`.
    pub fn event<K: Resource<DynamicType = ()>>(&self, object: &K, kind: EventKind, reason: &str, message: impl Into<String>) {
        self.event_about(object.object_ref(&()), kind, reason, message);
    }

    /// Records an event about the object that `about` points to, or about a part of it (`field_path`).
    pub fn event_about(&self, about: ObjectReference, kind: EventKind, reason: &str, message: impl Into<String>) {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES {
            let end = (0..=MESSAGE_BYTES - 3).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(end);
            message.push_str("...");
        }
        let draft = Draft { about, kind, reason: reason.to_owned(), message, source: self.source.clone() };
        if self.sender.try_send(draft).is_err() {
            debug!(reason, "event dropped: too many are waiting");
        }
    }
}

struct Writer {
    objects: Objects,
    known: HashMap<Sameness, Known>,
    budgets: HashMap<(String, String), (f64, Instant)>,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Draft>, shutdown: CancellationToken) {
        loop {
            let draft = tokio::select! {
                () = shutdown.cancelled() => return,
                draft = receiver.recv() => draft,
            };
            let Some(draft) = draft else { return };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.write(draft) => {}
            }
        }
    }

    /// Takes one event from the budget of the object and component; false if it is used up.
    fn may_speak(&mut self, draft: &Draft, now: Instant) -> bool {
        if self.budgets.len() >= REMEMBERED_EVENTS {
            self.budgets.retain(|_, (_, last)| now.duration_since(*last) < Duration::from_secs(AGGREGATION_SECONDS));
        }
        let object = draft.about.uid.clone().unwrap_or_else(|| draft.about.name.clone().unwrap_or_default());
        let component = draft.source.component.clone().unwrap_or_default();
        let (tokens, last) = self.budgets.entry((component, object)).or_insert((BURST_EVENTS, now));
        *tokens = (*tokens + now.duration_since(*last).as_secs_f64() / REFILL_SECONDS).min(BURST_EVENTS);
        *last = now;
        if *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }

    fn make_room(&mut self, now: Instant) {
        if self.known.len() < REMEMBERED_EVENTS {
            return;
        }
        let age = |known: &Known| now.duration_since(known.last);
        let mut ages: Vec<_> = self.known.values().map(age).collect();
        ages.sort_unstable();
        let keep = ages[ages.len() / 2];
        self.known.retain(|_, known| now.duration_since(known.last) < keep);
    }

    async fn write(&mut self, draft: Draft) {
        let now = Instant::now();
        if !self.may_speak(&draft, now) {
            return;
        }
        self.make_room(now);
        let sameness = Sameness {
            uid: draft.about.uid.clone().unwrap_or_default(),
            name: draft.about.name.clone().unwrap_or_default(),
            field: draft.about.field_path.clone().unwrap_or_default(),
            kind: draft.kind,
            reason: draft.reason.clone(),
            message: draft.message.clone(),
            component: draft.source.component.clone().unwrap_or_default(),
        };
        let recent = |known: &&mut Known| now.duration_since(known.first) < Duration::from_secs(AGGREGATION_SECONDS * 6);
        if let Some(known) = self.known.get_mut(&sameness).filter(recent) {
            known.count += 1;
            known.last = now;
            let patch = json!({"count": known.count, "lastTimestamp": Time(Timestamp::now())});
            match self.objects.merge::<Event>(Some(&known.namespace), &known.name, patch).await {
                Ok(_) => return,
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    debug!(%error, "event not counted");
                    return;
                }
            }
        }
        let event = new_event(&draft, Timestamp::now());
        match self.objects.create(&event).await {
            Ok(created) => {
                let namespace = created.metadata.namespace.unwrap_or_default();
                let name = created.metadata.name.unwrap_or_default();
                self.known.insert(sameness, Known { namespace, name, count: 1, first: now, last: now });
            }
            Err(error) => debug!(%error, "event not written"),
        }
    }
}

fn new_event(draft: &Draft, now: Timestamp) -> Event {
    let involved = draft.about.name.clone().unwrap_or_default();
    let namespace = draft.about.namespace.clone().filter(|ns| !ns.is_empty()).unwrap_or_else(|| "default".to_owned());
    let mut event = Event {
        involved_object: draft.about.clone(),
        reason: Some(draft.reason.clone()),
        message: Some(draft.message.clone()),
        type_: Some(draft.kind.as_str().to_owned()),
        source: Some(draft.source.clone()),
        reporting_component: draft.source.component.clone(),
        reporting_instance: Some(draft.source.host.clone().unwrap_or_default()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    };
    event.metadata.name = Some(format!("{involved}.{:x}", now.as_nanosecond()));
    event.metadata.namespace = Some(namespace);
    event
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_event_of_a_cluster_scoped_object_goes_to_default() {
        let draft = Draft {
            about: ObjectReference { name: Some("w1".into()), kind: Some("Node".into()), ..Default::default() },
            kind: EventKind::Normal,
            reason: "NodeReady".into(),
            message: "Node w1 status is now: NodeReady".into(),
            source: EventSource { component: Some("kubelet".into()), host: Some("w1".into()) },
        };
        let event = new_event(&draft, Timestamp::from_second(1).unwrap());
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(event.metadata.name.as_deref(), Some("w1.3b9aca00"));
        assert_eq!(event.type_.as_deref(), Some("Normal"));
    }
}
