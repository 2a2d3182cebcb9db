#![allow(clippy::unwrap_used)]
use super::*;
use crate::cbor;
use crate::testing::{World, within};
use http::{Method, Request};
use http_body_util::BodyExt;
use k8s_pb::api::{authorization, autoscaling, core};
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::Unknown;
use prost::Message;
use std::io::Read;
use tricorn_schema::protobuf;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CROWNS: &str = "/apis/sea.example/v1/namespaces/default/crowns";
const PROTOBUF: &str = media::PROTOBUF;
const METADATA: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const METADATA_LIST: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// An answer as it came.
struct Got {
    code: u16,
    media: String,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Got {
    /// What the envelope says, and the message in it.
    fn opened<T: Message + Default>(&self) -> (String, T) {
        assert_eq!(self.media, PROTOBUF);
        let unknown = Unknown::decode(self.body.strip_prefix(b"k8s\0").unwrap()).unwrap();
        let kind = unknown.type_meta.unwrap();
        (format!("{} {}", kind.api_version.unwrap(), kind.kind.unwrap()), T::decode(unknown.raw.unwrap().as_slice()).unwrap())
    }

    fn status(&self) -> meta::Status {
        let (kind, status) = self.opened();
        assert_eq!(kind, "v1 Status");
        status
    }
}

async fn ask(world: &World, method: Method, path: &str, accept: &str, body: Option<(&str, Vec<u8>)>) -> Got {
    let mut request = Request::builder().method(method).uri(path).header(ACCEPT, accept).header(ACCEPT_ENCODING, "gzip");
    let (media, body) = body.unwrap_or_default();
    if !media.is_empty() {
        request = request.header(CONTENT_TYPE, media);
    }
    let (parts, body) = world.request(request, body).await.into_parts();
    let body = within(body.collect()).await.unwrap().to_bytes();
    let media = parts.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
    Got { code: parts.status.as_u16(), media, headers: parts.headers, body }
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": name}})
}

/// With a custom kind.
async fn with_crowns(world: &World) -> tokio::task::JoinHandle<()> {
    let task = tokio::spawn(crate::custom::run(world.server.clone()));
    let definition = json!({"metadata": {"name": "crowns.sea.example"}, "spec": {
        "group": "sea.example", "scope": "Namespaced", "names": {"plural": "crowns", "singular": "crown", "kind": "Crown"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}});
    world.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
    within(async {
        while world.get(CROWNS, "").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_answers_in_protobuf() {
    let world = World::start().await;
    let sent = protobuf::encode(&config_map("a")).unwrap();
    let made = ask(&world, Method::POST, MAPS, PROTOBUF, Some((PROTOBUF, sent.clone()))).await;
    let (kind, map): (_, core::v1::ConfigMap) = made.opened();
    assert_eq!((made.code, kind.as_str(), map.data["k"].as_str()), (201, "v1 ConfigMap", "a"));
    let one = ask(&world, Method::GET, &format!("{MAPS}/a"), PROTOBUF, None).await;
    assert_eq!(one.body, made.body);
    assert_eq!(protobuf::decode(&one.body).unwrap(), world.get(&format!("{MAPS}/a"), "").await.1);
    world.create(MAPS, &config_map("b")).await;
    let (kind, list): (_, core::v1::ConfigMapList) = ask(&world, Method::GET, &format!("{MAPS}?limit=1"), PROTOBUF, None).await.opened();
    let head = list.metadata.unwrap();
    assert_eq!((kind.as_str(), list.items, head.remaining_item_count), ("v1 ConfigMapList", vec![map], Some(1)));
    assert!(!head.resource_version.unwrap().is_empty() && !head.r#continue.unwrap().is_empty());
    let empty: (_, core::v1::SecretList) = ask(&world, Method::GET, "/api/v1/secrets", PROTOBUF, None).await.opened();
    assert_eq!((empty.0.as_str(), empty.1.items), ("v1 SecretList", vec![]));

    let merge = Some(("application/merge-patch+json", br#"{"data":{"k":"c"}}"#.to_vec()));
    let (_, patched): (_, core::v1::ConfigMap) = ask(&world, Method::PATCH, &format!("{MAPS}/a"), PROTOBUF, merge).await.opened();
    assert_eq!(patched.data["k"], "c");
    let put = Some((PROTOBUF, protobuf::encode(&config_map("a")).unwrap()));
    let (_, replaced): (_, core::v1::ConfigMap) = ask(&world, Method::PUT, &format!("{MAPS}/a"), PROTOBUF, put).await.opened();
    assert_eq!(replaced.data["k"], "a");

    let again = ask(&world, Method::POST, MAPS, PROTOBUF, Some((PROTOBUF, sent))).await.status();
    assert_eq!(
        (again.code, again.reason.as_deref(), again.details.unwrap().name.as_deref()),
        (Some(409), Some("AlreadyExists"), Some("a"))
    );
    let gone = ask(&world, Method::DELETE, &format!("{MAPS}/a"), PROTOBUF, None).await;
    assert_eq!((gone.code, gone.status().status.as_deref()), (200, Some("Success")));
    let missing = ask(&world, Method::GET, &format!("{MAPS}/a"), PROTOBUF, None).await;
    assert_eq!((missing.code, missing.status().message.as_deref()), (404, Some("configmaps \"a\" not found")));
    let all: (_, core::v1::ConfigMapList) = ask(&world, Method::DELETE, MAPS, PROTOBUF, None).await.opened();
    assert_eq!(all.1.items.len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_for_who_cannot_be_answered() {
    let world = World::start().await;
    let body = Some((media::JSON, config_map("a").to_string().into_bytes()));
    assert_eq!(ask(&world, Method::POST, MAPS, "text/html", body).await.code, 406);
    assert_eq!(world.get(&format!("{MAPS}/a"), "").await.0, 404);
    world.create(MAPS, &config_map("a")).await;
    assert_eq!(ask(&world, Method::DELETE, &format!("{MAPS}/a"), "text/html", None).await.code, 406);
    assert_eq!(world.get(&format!("{MAPS}/a"), "").await.0, 200);
    // A deletion answers with a Status whatever view of the object is asked for.
    let gone = ask(&world, Method::DELETE, &format!("{MAPS}/a"), METADATA, None).await;
    assert_eq!((gone.code, gone.status().status.as_deref()), (200, Some("Success")));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_stored_object_has_a_protobuf_form_too() {
    let world = World::start().await;
    world.create(MAPS, &config_map("a")).await;
    let one: (_, meta::PartialObjectMetadata) = ask(&world, Method::GET, &format!("{MAPS}/a"), METADATA, None).await.opened();
    assert_eq!((one.0.as_str(), one.1.metadata.clone().unwrap().name.as_deref()), ("meta.k8s.io/v1 PartialObjectMetadata", Some("a")));
    let all: (_, meta::PartialObjectMetadataList) = ask(&world, Method::GET, MAPS, METADATA_LIST, None).await.opened();
    assert_eq!((all.0.as_str(), all.1.items), ("meta.k8s.io/v1 PartialObjectMetadataList", vec![one.1]));

    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    world.create("/apis/apps/v1/namespaces/default/deployments", &deployment).await;
    let path = "/apis/apps/v1/namespaces/default/deployments/d/scale";
    let scale: (_, autoscaling::v1::Scale) = ask(&world, Method::GET, path, PROTOBUF, None).await.opened();
    assert_eq!((scale.0.as_str(), scale.1.spec.unwrap().replicas), ("autoscaling/v1 Scale", Some(2)));

    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let body = Some((PROTOBUF, protobuf::encode(&review).unwrap()));
    let review: (_, authorization::v1::SelfSubjectAccessReview) = ask(&world, Method::POST, path, PROTOBUF, body).await.opened();
    assert!(review.1.status.unwrap().allowed.is_some());

    let groups: (_, meta::APIGroupList) = ask(&world, Method::GET, "/apis", PROTOBUF, None).await.opened();
    assert!(groups.1.groups.iter().any(|group| group.name.as_deref() == Some("apps")));
    let group: (_, meta::APIGroup) = ask(&world, Method::GET, "/apis/apps", PROTOBUF, None).await.opened();
    assert_eq!(group.0, "v1 APIGroup");
    let versions: (_, meta::APIVersions) = ask(&world, Method::GET, "/api", PROTOBUF, None).await.opened();
    assert_eq!(versions.1.versions, ["v1"]);
    let resources: (_, meta::APIResourceList) = ask(&world, Method::GET, "/api/v1", PROTOBUF, None).await.opened();
    assert_eq!(resources.1.group_version.as_deref(), Some("v1"));
    let aggregated = "application/vnd.kubernetes.protobuf;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2";
    let all = ask(&world, Method::GET, "/apis", aggregated, None).await;
    assert_eq!((all.code, all.media.starts_with(PROTOBUF), all.headers.contains_key("etag")), (200, true, true));
    // These are no kinds, and are JSON whatever is asked for.
    for path in ["/version", "/openapi/v3"] {
        let text = ask(&world, Method::GET, path, PROTOBUF, None).await;
        assert_eq!((text.code, text.media.as_str()), (200, media::JSON), "{path}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_kinds_have_protobuf_for_their_metadata_only() {
    let world = World::start().await;
    let task = with_crowns(&world).await;
    world.create(CROWNS, &json!({"apiVersion": "sea.example/v1", "kind": "Crown", "metadata": {"name": "c"}, "spec": {"n": 1.5}})).await;
    let refused = ask(&world, Method::GET, CROWNS, PROTOBUF, None).await;
    let expected = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor";
    assert_eq!((refused.code, refused.status().message.as_deref()), (406, Some(expected)));
    let list = ask(&world, Method::GET, CROWNS, "application/vnd.kubernetes.protobuf,application/json", None).await;
    assert_eq!((list.code, list.media.as_str()), (200, media::JSON));
    let all: (_, meta::PartialObjectMetadataList) = ask(&world, Method::GET, CROWNS, METADATA_LIST, None).await.opened();
    assert_eq!(all.1.items[0].metadata.clone().unwrap().name.as_deref(), Some("c"));
    // What cannot be answered is not looked for.
    let missing = ask(&world, Method::GET, &format!("{CROWNS}/none"), PROTOBUF, None).await.status();
    assert_eq!(missing.code, Some(406));
    // Nothing says how to read one.
    let sent = protobuf::seal("sea.example/v1", "Crown", b"");
    assert_eq!(ask(&world, Method::POST, CROWNS, media::JSON, Some((PROTOBUF, sent))).await.code, 400);

    let crown = json!({"apiVersion": "sea.example/v1", "kind": "Crown", "metadata": {"name": "d"}, "spec": {"n": [1, -2.5, null, "é"]}});
    let sent = Some((media::CBOR, cbor::seal(&cbor::encode_item(&crown))));
    let made = ask(&world, Method::POST, CROWNS, media::CBOR, sent).await;
    assert_eq!((made.code, made.media.as_str()), (201, media::CBOR));
    assert_eq!(cbor::decode(&made.body).unwrap()["spec"], crown["spec"]);
    let list = ask(&world, Method::GET, CROWNS, media::CBOR, None).await;
    assert_eq!(cbor::decode(&list.body).unwrap(), world.get(CROWNS, "").await.1);
    task.abort();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_answers_in_cbor() {
    let world = World::start().await;
    let sent = |value: &Value| cbor::seal(&cbor::encode_item(value));
    let read = |got: &Got| {
        assert_eq!((got.media.as_str(), &got.body[..3]), (media::CBOR, b"\xd9\xd9\xf7".as_slice()));
        cbor::decode(&got.body).unwrap()
    };
    let made = ask(&world, Method::POST, MAPS, media::CBOR, Some((media::CBOR, sent(&config_map("a"))))).await;
    assert_eq!((made.code, &read(&made)["data"]["k"]), (201, &json!("a")));
    for path in [format!("{MAPS}/a"), MAPS.to_owned(), "/apis/apps/v1".to_owned()] {
        let got = ask(&world, Method::GET, &path, media::CBOR, None).await;
        assert_eq!(read(&got), world.get(&path, "").await.1, "{path}");
    }
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"x": "y"}});
    let applied = Some(("application/apply-patch+cbor", sent(&apply)));
    let applied = ask(&world, Method::PATCH, &format!("{MAPS}/b?fieldManager=m"), media::CBOR, applied).await;
    let value = read(&applied);
    assert_eq!((applied.code, &value["data"], &value["metadata"]["managedFields"][0]["operation"]), (201, &apply["data"], &json!("Apply")));
    let metadata = "application/cbor;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let all = read(&ask(&world, Method::GET, MAPS, metadata, None).await);
    assert_eq!((&all["kind"], &all["items"][1]["kind"]), (&json!("PartialObjectMetadataList"), &json!("PartialObjectMetadata")));
    let missing = ask(&world, Method::GET, &format!("{MAPS}/none"), media::CBOR, None).await;
    assert_eq!((missing.code, &read(&missing)["reason"]), (404, &json!("NotFound")));
    let gone = ask(&world, Method::DELETE, &format!("{MAPS}/a"), media::CBOR, Some((media::CBOR, sent(&json!({"dryRun": ["All"]}))))).await;
    assert_eq!((gone.code, &read(&gone)["status"]), (200, &json!("Success")));
    assert_eq!(world.get(&format!("{MAPS}/a"), "").await.0, 200, "it was a dry run");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed_for_who_wants_it() {
    let world = World::start().await;
    for name in ["a", "b", "c"] {
        let mut map = config_map(name);
        map["data"]["k"] = json!("x".repeat(50_000));
        world.create(MAPS, &map).await;
    }
    for accept in [media::JSON, PROTOBUF, media::CBOR, media::YAML] {
        let one = ask(&world, Method::GET, &format!("{MAPS}/a"), accept, None).await;
        assert!(!one.headers.contains_key(CONTENT_ENCODING), "{accept}: too small");
        let list = ask(&world, Method::GET, MAPS, accept, None).await;
        assert!(list.headers[CONTENT_ENCODING] == "gzip" && list.headers[VARY] == "Accept-Encoding", "{accept}");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(list.body.as_ref()).read_to_end(&mut plain).unwrap();
        assert!(list.body.len() < 20_000 && plain.len() > 150_000, "{accept}");
    }
    for encoding in ["", "identity", "deflate, br", "gzip;q=0"] {
        let request = Request::builder().uri(MAPS).header(ACCEPT, PROTOBUF).header(ACCEPT_ENCODING, encoding);
        assert!(!world.request(request, Body::empty()).await.headers().contains_key(CONTENT_ENCODING), "{encoding}");
    }
    world.stop().await;
}
