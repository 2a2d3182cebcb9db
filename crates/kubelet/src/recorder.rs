//! Events about pods and the node: recorded at once, written by one task, repeats counted instead of repeated.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Event, EventSource, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;

const QUEUE_LIMIT: usize = 1024;
/// Known events, so that a repeat is found. Past this the oldest are forgotten.
const KNOWN_LIMIT: usize = 4096;
/// The longest message an Event takes.
const MESSAGE_LIMIT_BYTES: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    field: Option<String>,
    warning: bool,
    reason: String,
    message: String,
}

#[derive(Debug)]
struct Record {
    reference: ObjectReference,
    key: Key,
    at: Timestamp,
}

/// Records events. Cheap to clone; an event that finds the queue full is dropped and logged.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Record>,
}

/// Refers to a pod, and to one of its containers by a field path.
pub fn pod_reference(pod: &Pod, field: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: field,
    }
}

/// Refers to a node.
pub fn node_reference(node: &Node) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".into()),
        api_version: Some("v1".into()),
        name: node.metadata.name.clone(),
        uid: node.metadata.uid.clone().or_else(|| node.metadata.name.clone()),
        ..Default::default()
    }
}

impl Recorder {
    /// A recorder and the task that writes its events until all recorders are gone.
    pub fn start(client: kube::Client, host: String) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, records) = mpsc::channel(QUEUE_LIMIT);
        (Self { queue }, tokio::spawn(write_all(client, host, records)))
    }

    /// Records a Normal event.
    pub fn normal(&self, reference: ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(reference, false, reason, message.into());
    }

    /// Records a Warning event.
    pub fn warning(&self, reference: ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(reference, true, reason, message.into());
    }

    fn record(&self, reference: ObjectReference, warning: bool, reason: &str, mut message: String) {
        if message.len() > MESSAGE_LIMIT_BYTES {
            let end = (0..=MESSAGE_LIMIT_BYTES).rev().find(|end| message.is_char_boundary(*end)).unwrap_or_default();
            message.truncate(end);
        }
        let key = Key {
            uid: reference.uid.clone().unwrap_or_default(),
            field: reference.field_path.clone(),
            warning,
            reason: reason.to_owned(),
            message,
        };
        if self.queue.try_send(Record { reference, key, at: Timestamp::now() }).is_err() {
            tracing::warn!(reason, "an event was dropped: the queue is full");
        }
    }
}

struct Known {
    name: String,
    count: i32,
}

async fn write_all(client: kube::Client, host: String, mut records: mpsc::Receiver<Record>) {
    let mut known: HashMap<Key, Known> = HashMap::new();
    while let Some(record) = records.recv().await {
        let namespace = record.reference.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        if let Some(entry) = known.get_mut(&record.key) {
            entry.count += 1;
            let patch = json!({"count": entry.count, "lastTimestamp": Time(record.at)});
            if api.patch(&entry.name, &PatchParams::default(), &Patch::Merge(patch)).await.is_ok() {
                continue;
            }
        }
        let event = event(&record, &namespace, &host);
        match api.create(&PostParams::default(), &event).await {
            Ok(created) => {
                if known.len() >= KNOWN_LIMIT {
                    known.clear();
                }
                let name = created.metadata.name.unwrap_or_default();
                known.insert(record.key, Known { name, count: 1 });
            }
            Err(error) => tracing::debug!(reason = record.key.reason, %error, "create event"),
        }
    }
}

fn event(record: &Record, namespace: &str, host: &str) -> Event {
    let object = record.reference.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{object}.{:x}", record.at.as_nanosecond())),
            namespace: Some(namespace.to_owned()),
            ..Default::default()
        },
        involved_object: record.reference.clone(),
        reason: Some(record.key.reason.clone()),
        message: Some(record.key.message.clone()),
        type_: Some(if record.key.warning { "Warning" } else { "Normal" }.into()),
        source: Some(EventSource { component: Some("kubelet".into()), host: Some(host.to_owned()) }),
        reporting_component: Some("kubelet".into()),
        reporting_instance: Some(host.to_owned()),
        first_timestamp: Some(Time(record.at)),
        last_timestamp: Some(Time(record.at)),
        count: Some(1),
        ..Default::default()
    }
}
