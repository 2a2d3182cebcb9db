#![allow(clippy::unwrap_used)]
use crate::cbor;
use crate::media::{CBOR, PROTOBUF};
use crate::testing::{World, within};
use axum::body::Body;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::BodyExt;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use prost::Message;
use serde_json::{Value, json};
use tricorn_proto::etcdserverpb::CompactionRequest;
use tricorn_schema::protobuf;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const METADATA: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// A watch as its client sees it.
struct Watched {
    media: String,
    body: Body,
    unread: Vec<u8>,
}

impl Watched {
    async fn begin(world: &World, path: &str, accept: &str) -> Self {
        let response = world.request(Request::builder().uri(path).header(ACCEPT, accept), Body::empty()).await;
        assert_eq!(response.status(), 200);
        let media = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        Self { media, body: response.into_body(), unread: Vec::new() }
    }

    /// Reads on until `split` finds a whole event at the beginning of what is there.
    async fn next<T>(&mut self, split: impl Fn(&[u8]) -> Option<(T, usize)>) -> T {
        loop {
            if let Some((event, length)) = split(&self.unread) {
                self.unread.drain(..length);
                return event;
            }
            let frame = within(self.body.frame()).await.unwrap().unwrap();
            self.unread.extend_from_slice(frame.data_ref().unwrap());
        }
    }

    /// The type of the next event, and the object's bytes.
    async fn protobuf(&mut self) -> (String, Vec<u8>) {
        self.next(|unread| {
            let (length, rest) = unread.split_first_chunk::<4>()?;
            let frame = rest.get(..u32::from_be_bytes(*length) as usize)?;
            let event = meta::WatchEvent::decode(frame).unwrap();
            Some(((event.r#type.unwrap(), event.object.unwrap().raw.unwrap()), frame.len() + 4))
        })
        .await
    }

    async fn object(&mut self) -> (String, Value) {
        let (kind, body) = self.protobuf().await;
        (kind, protobuf::decode(&body).unwrap())
    }

    async fn cbor(&mut self) -> Value {
        // Events are not delimited: one is whole when it can be read.
        self.next(|unread| (1..=unread.len()).find_map(|length| Some((cbor::decode(&unread[..length]).ok()?, length)))).await
    }
}

fn map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": value}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_in_protobuf_tells_what_one_in_json_tells() {
    let world = World::start().await;
    let first = world.create(MAPS, &map("a", "1")).await;
    let path = format!("{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
    let mut watched = Watched::begin(&world, &path, PROTOBUF).await;
    let mut metadata = Watched::begin(&world, &path, METADATA).await;
    assert_eq!(watched.media, "application/vnd.kubernetes.protobuf;stream=watch");
    assert_eq!(watched.object().await, ("ADDED".to_owned(), first.clone()));
    let (kind, bookmark) = watched.object().await;
    assert_eq!((kind.as_str(), &bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"]), ("BOOKMARK", &json!("true")));
    assert_eq!((&bookmark["kind"], &bookmark["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    let (_, patched) = world.patch(&format!("{MAPS}/a"), &json!({"data": {"k": "2"}})).await;
    assert_eq!(watched.object().await, ("MODIFIED".to_owned(), patched));
    world.delete(&format!("{MAPS}/a")).await;
    let (kind, last) = watched.object().await;
    assert_eq!((kind.as_str(), &last["data"]["k"]), ("DELETED", &json!("2")));
    assert_ne!(last["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);

    let mut kinds = Vec::new();
    for _ in 0..4 {
        let (kind, body) = metadata.protobuf().await;
        let raw = k8s_pb::apimachinery::pkg::runtime::Unknown::decode(&body[4..]).unwrap();
        assert_eq!(raw.type_meta.unwrap().kind.as_deref(), Some("PartialObjectMetadata"));
        let partial = meta::PartialObjectMetadata::decode(raw.raw.unwrap().as_slice()).unwrap();
        kinds.push((kind, partial.metadata.unwrap().name.unwrap_or_default()));
    }
    let told: Vec<(&str, &str)> = kinds.iter().map(|(kind, name)| (kind.as_str(), name.as_str())).collect();
    assert_eq!(told, [("ADDED", "a"), ("BOOKMARK", ""), ("MODIFIED", "a"), ("DELETED", "a")]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_in_cbor_is_a_sequence() {
    let world = World::start().await;
    let mut watched = Watched::begin(&world, &format!("{MAPS}?watch=true"), "application/cbor-seq").await;
    assert_eq!(watched.media, "application/cbor-seq");
    let made = world.create(MAPS, &map("a", "é")).await;
    assert_eq!(watched.cbor().await, json!({"type": "ADDED", "object": made}));
    let mut again = Watched::begin(&world, &format!("{MAPS}?watch=true"), CBOR).await;
    assert_eq!((again.media.clone(), again.cbor().await["object"].clone()), ("application/cbor-seq".to_owned(), made));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_a_status_in_its_own_encoding() {
    let world = World::start().await;
    world.create(MAPS, &map("a", "1")).await;
    // Nothing is that old.
    let path = format!("{MAPS}?watch=true&resourceVersion=1");
    let request = CompactionRequest { revision: 3, physical: true };
    world.server.registry.store().compact(request).await.unwrap();
    let mut watched = Watched::begin(&world, &path, PROTOBUF).await;
    let (kind, body) = watched.protobuf().await;
    let raw = k8s_pb::apimachinery::pkg::runtime::Unknown::decode(&body[4..]).unwrap().raw.unwrap();
    let status = meta::Status::decode(raw.as_slice()).unwrap();
    assert_eq!((kind.as_str(), status.code, status.reason.as_deref()), ("ERROR", Some(410), Some("Expired")));
    let mut watched = Watched::begin(&world, &path, CBOR).await;
    assert_eq!(watched.cbor().await["object"]["code"], json!(410));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn yaml_cannot_be_watched() {
    let world = World::start().await;
    let (code, _) = world.send(Method::GET, &format!("{MAPS}?watch=true"), "application/yaml", None).await;
    assert_eq!(code, 406);
    world.stop().await;
}
