#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{World, within};
use http::header::ACCEPT;
use http::{HeaderValue, Method, Request};
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::Unknown;
use prost::Message;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

fn typed(media: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))])
}

#[test]
fn the_content_type_says_how_a_body_is_read() {
    let expected = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    let read = |media, bytes: &[u8]| object(&typed(media), bytes);
    assert_eq!(read("application/json", expected.to_string().as_bytes()).unwrap(), expected);
    assert_eq!(read("application/yaml; charset=utf-8", b"{apiVersion: v1, kind: Pod, metadata: {name: p}}").unwrap(), expected);
    let protobuf = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x05\x0a\x03\x0a\x01p";
    assert_eq!(read("application/vnd.kubernetes.protobuf", protobuf).unwrap(), expected);
    assert_eq!(read("application/vnd.kubernetes.protobuf", b"{}").unwrap_err().code(), 400);
    let cbor = b"\xd9\xd9\xf7\xa3\x64kind\x43Pod\x68metadata\xa1\x44name\x61p\x6aapiVersion\x42v1";
    assert_eq!(read("application/cbor", cbor).unwrap(), expected);
    assert_eq!(read("application/cbor", b"\xa1").unwrap_err().code(), 400);
    let refused = read("text/html", b"").unwrap_err();
    let accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor";
    assert!(refused.message().ends_with(accepted), "{}", refused.message());
}

/// A pod with fields of most forms.
fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}, "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"containers": [{"name": "c", "image": "i", "command": ["sh", "-c"], "resources": {"requests": {"cpu": "1"}},
            "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3}}],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s", "optional": true}}]}})
}

/// Changes a few bytes, takes some away or doubles some.
fn spoil(body: &mut Vec<u8>, dice: &mut StdRng) {
    for _ in 0..dice.random_range(1..4) {
        let at = dice.random_range(0..body.len().max(1));
        match dice.random_range(0..4) {
            0 if at < body.len() => body[at] = dice.random(),
            1 if at < body.len() => body[at] ^= 1 << dice.random_range(0..8),
            2 => body.truncate(at),
            _ => {
                let piece: Vec<u8> = body.iter().skip(at).take(dice.random_range(1..9)).copied().collect();
                body.splice(at.min(body.len())..at.min(body.len()), piece);
            }
        }
    }
}

/// The code in a Status, which has to be the one of the answer.
fn status_code(media: &str, body: &[u8]) -> u16 {
    let code = match media {
        PROTOBUF => {
            let unknown = Unknown::decode(body.strip_prefix(b"k8s\0").unwrap()).unwrap();
            assert_eq!(unknown.type_meta.unwrap().kind.as_deref(), Some("Status"));
            i64::from(meta::Status::decode(unknown.raw.unwrap().as_slice()).unwrap().code.unwrap())
        }
        _ => cbor::decode(body).unwrap()["code"].as_i64().unwrap(),
    };
    u16::try_from(code).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn spoilt_bodies_end_in_a_status() {
    let world = World::start().await;
    let sound = |media: &str| match media {
        PROTOBUF => tricorn_schema::protobuf::encode(&pod()).unwrap(),
        _ => cbor::seal(&cbor::encode_item(&pod())),
    };
    let pods = "/api/v1/namespaces/default/pods?dryRun=All";
    let map = "/api/v1/namespaces/default/configmaps/m?dryRun=All&fieldManager=m";
    let cases = [
        (Method::POST, pods, PROTOBUF, PROTOBUF),
        (Method::POST, pods, CBOR, CBOR),
        (Method::PATCH, map, "application/apply-patch+cbor", CBOR),
        (Method::DELETE, map, PROTOBUF, PROTOBUF),
    ];
    let mut dice = StdRng::seed_from_u64(55799);
    let mut refused = 0;
    for round in 0..1200 {
        for (method, path, sent, media) in &cases {
            let mut body = sound(media);
            spoil(&mut body, &mut dice);
            let request = Request::builder().method(method).uri(*path).header(CONTENT_TYPE, *sent).header(ACCEPT, *media);
            let (parts, answer) = world.request(request, body.clone()).await.into_parts();
            let answer = within(answer.collect()).await.unwrap().to_bytes();
            let code = parts.status.as_u16();
            assert!(code < 500, "round {round}: {code} for {method} of {body:x?}");
            if code >= 400 {
                assert_eq!(status_code(media, &answer), code);
                refused += 1;
            }
        }
    }
    assert!(refused > 1000, "{refused}");
    world.stop().await;
}
