#![allow(clippy::unwrap_used)]
use super::*;
use crate::endpoint::Endpoints;
use crate::testing::{TABLE, World, within};
use axum::body::Body;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    })
}

/// The columns that are always printed, and those of `-o wide`.
fn columns(table: &Value) -> (Vec<&str>, Vec<&str>) {
    let all = table["columnDefinitions"].as_array().unwrap().iter();
    let named = all.map(|column| (column["name"].as_str().unwrap(), column["priority"].as_i64().unwrap()));
    let (plain, wide): (Vec<_>, Vec<_>) = named.partition(|(_, priority)| *priority == 0);
    let names = |columns: Vec<(_, _)>| columns.into_iter().map(|(name, _)| name).collect();
    (names(plain), names(wide))
}

#[test]
fn every_builtin_kind_is_printed_with_columns_of_its_own() {
    let now = Timestamp::from_seconds(0);
    for endpoint in Endpoints::builtin().all() {
        let table = endpoint.table(&[&json!({})], now);
        assert_eq!(table, tricorn_schema::columns::table(&endpoint.group, &endpoint.kind, &[&json!({})], now), "{}", endpoint.kind);
        let cells = table["rows"][0]["cells"].as_array().unwrap().len();
        assert_eq!(table["columnDefinitions"].as_array().unwrap().len(), cells, "{}", endpoint.kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_objects_are_printed_as_upstream_prints_them() {
    let world = World::start().await;
    let made = world.create(DEPLOYMENTS, &deployment("a")).await;
    let (code, list) = world.get(DEPLOYMENTS, TABLE).await;
    assert_eq!((code, &list["kind"], &list["apiVersion"]), (200, &json!("Table"), &json!("meta.k8s.io/v1")));
    let plain = vec!["Name", "Ready", "Up-to-date", "Available", "Age"];
    assert_eq!(columns(&list), (plain, vec!["Containers", "Images", "Selector"]));
    let cells = list["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..4], [json!("a"), json!("0/2"), json!(0), json!(0)]);
    assert_eq!(cells[5..], [json!("c"), json!("i"), json!("a=b")]);
    let (_, one) = world.get(&format!("{DEPLOYMENTS}/a"), TABLE).await;
    assert_eq!(one["metadata"], json!({"resourceVersion": made["metadata"]["resourceVersion"]}));
    assert_eq!((&one["columnDefinitions"], &one["rows"][0]["object"]), (&list["columnDefinitions"], &list["rows"][0]["object"]));
    let (_, scale) = world.get(&format!("{DEPLOYMENTS}/a/scale"), TABLE).await;
    assert_eq!(columns(&scale), (vec!["Name", "Desired", "Available", "Age"], vec![]));
    assert_eq!(scale["rows"][0]["cells"].as_array().unwrap()[..3], [json!("a"), json!(2), json!(0)]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_carry_what_the_client_asks_for() {
    let world = World::start().await;
    let made = world.create(DEPLOYMENTS, &deployment("a")).await;
    let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]});
    let cases = [
        ("", 200, partial.clone()),
        ("?includeObject=", 200, partial.clone()),
        ("?includeObject=Metadata", 200, partial),
        ("?includeObject=Object", 200, made.clone()),
        ("?includeObject=None", 200, Value::Null),
        ("?includeObject=Everything", 400, Value::Null),
    ];
    for path in [DEPLOYMENTS.to_owned(), format!("{DEPLOYMENTS}/a")] {
        for (query, expected, object) in &cases {
            let (code, answer) = world.get(&format!("{path}{query}"), TABLE).await;
            assert_eq!((code, &answer["rows"][0]["object"]), (*expected, object), "{path}{query}");
        }
    }
    // Who does not want a Table is not asked what goes into it.
    assert_eq!(world.get(&format!("{DEPLOYMENTS}?includeObject=Everything"), "application/json").await.0, 200);
    world.stop().await;
}

/// The next events of a watch.
async fn events(body: &mut Body, count: usize) -> Vec<Value> {
    let mut text = Vec::new();
    within(async {
        while text.iter().filter(|byte| **byte == b'\n').count() < count {
            text.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
    })
    .await;
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_says_its_columns_once() {
    let world = World::start().await;
    world.create(DEPLOYMENTS, &deployment("a")).await;
    let (_, list) = world.get(DEPLOYMENTS, TABLE).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    // From the start, from a list, and from a bookmark on: the first event has the columns, whatever it is.
    let cases = [
        ("watch=true".to_owned(), vec!["ADDED", "ADDED", "MODIFIED", "DELETED"]),
        (format!("watch=true&resourceVersion={version}"), vec!["ADDED", "MODIFIED", "DELETED"]),
        (format!("watch=true&{initial}"), vec!["ADDED", "BOOKMARK", "ADDED", "MODIFIED", "DELETED"]),
        (format!("watch=true&{initial}&labelSelector=no=body"), vec!["BOOKMARK"]),
    ];
    let mut bodies = Vec::new();
    for (query, _) in &cases {
        let (code, body) = world.send(Method::GET, &format!("{DEPLOYMENTS}?{query}"), TABLE, None).await;
        assert_eq!(code, 200, "{query}");
        bodies.push(body);
    }
    world.create(DEPLOYMENTS, &deployment("b")).await;
    world.patch(&format!("{DEPLOYMENTS}/b"), &json!({"spec": {"replicas": 3}})).await;
    world.delete(&format!("{DEPLOYMENTS}/b")).await;
    for ((query, expected), mut body) in cases.into_iter().zip(bodies) {
        let events = events(&mut body, expected.len()).await;
        assert_eq!(events.iter().map(|event| event["type"].as_str().unwrap()).collect::<Vec<_>>(), expected, "{query}");
        for (index, event) in events.iter().enumerate() {
            let table = &event["object"];
            assert_eq!((&table["kind"], table["rows"].as_array().unwrap().len()), (&json!("Table"), 1), "{query}");
            let told = if index == 0 { &list["columnDefinitions"] } else { &Value::Null };
            assert_eq!(&table["columnDefinitions"], told, "{query}");
            assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), 8, "{query}");
            let shown = &table["rows"][0]["object"];
            assert_eq!(shown["kind"], "PartialObjectMetadata");
            assert_eq!(shown["metadata"]["resourceVersion"], table["metadata"]["resourceVersion"]);
        }
        let ends = events.iter().map(|event| &event["object"]["rows"][0]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"]);
        assert_eq!(ends.filter(|end| **end == json!("true")).count(), expected.iter().filter(|kind| **kind == "BOOKMARK").count());
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_includes_what_the_client_asks_for() {
    let world = World::start().await;
    let made = world.create(DEPLOYMENTS, &deployment("a")).await;
    for (query, code, object) in
        [("includeObject=Object", 200, made), ("includeObject=None", 200, Value::Null), ("includeObject=Everything", 400, Value::Null)]
    {
        let (found, mut body) = world.send(Method::GET, &format!("{DEPLOYMENTS}?watch=true&{query}"), TABLE, None).await;
        assert_eq!(found, code, "{query}");
        if code == 200 {
            assert_eq!(events(&mut body, 1).await[0]["object"]["rows"][0]["object"], object, "{query}");
        }
    }
    world.stop().await;
}
