//! What happens is told as it happens, and afterwards.

use serde_json::Value;

use super::Subject;
use crate::api::{is, quoted};

pub async fn walk(subject: &Subject<'_>, begin: &str) {
    history(subject, begin).await;
    live(subject).await;
}

/// The life of the first object, from before it was there.
async fn history(subject: &Subject<'_>, begin: &str) {
    let (api, case) = (subject.api, subject.case);
    let selector = quoted(&format!("metadata.name={}", subject.name(1)));
    let path = format!("{}?watch=true&resourceVersion={begin}&fieldSelector={selector}&timeoutSeconds=30", subject.all());
    let mut watch = api.watch(&path).await;
    case.equal("a watch of the past", watch.code, 200);
    let events = watch.until(|event| is(event, "DELETED")).await;
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap_or_default()).collect();
    case.check("it begins with ADDED", types.first() == Some(&"ADDED"), &types);
    case.check("it ends with DELETED", types.last() == Some(&"DELETED"), &types);
    let between = types.len() > 2 && types[1..types.len() - 1].iter().all(|kind| *kind == "MODIFIED");
    case.check("between them all is MODIFIED", between, &types);
    let versions: Vec<u64> = events.iter().map(version).collect();
    case.check("versions grow", versions.is_sorted_by(|a, b| a < b), &versions);
    let strange = events
        .iter()
        .find(|event| event["object"]["kind"] != subject.kind.kind || event["object"]["apiVersion"] != subject.kind.api_version());
    case.check("all of it is of the kind", strange.is_none(), strange);
}

fn version(event: &Value) -> u64 {
    event["object"]["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A list that is streamed, and what comes after it.
async fn live(subject: &Subject<'_>) {
    let (api, case) = (subject.api, subject.case);
    subject.create(5).await;
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=120";
    let path = format!("{}?{query}&labelSelector=walk%3Dconformance", subject.all());
    let mut watch = api.watch(&path).await;
    let first = watch.until(|event| is(event, "BOOKMARK")).await;
    let added: Vec<&Value> = first.iter().filter(|event| is(event, "ADDED")).map(|event| &event["object"]["metadata"]["name"]).collect();
    case.equal("what is there comes first", added, vec![&Value::from(subject.name(5))]);
    let bookmark = first.last().cloned().unwrap_or_default();
    case.equal(
        "the end of it is marked",
        &bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        &Value::from("true"),
    );
    case.equal("the bookmark's kind", &bookmark["object"]["kind"], &Value::from(subject.kind.kind.clone()));
    case.check("it has a version", version(&bookmark) > 0, &bookmark);
    subject.create(6).await;
    let name = subject.name(6);
    let events = watch.until(|event| is(event, "ADDED") && event["object"]["metadata"]["name"] == name).await;
    case.check("a new one is told", events.last().is_some_and(|event| is(event, "ADDED")), &events);
    subject.remove(6).await;
    let events = watch.until(|event| is(event, "DELETED") && event["object"]["metadata"]["name"] == name).await;
    case.check("its end is told", events.last().is_some_and(|event| is(event, "DELETED")), &events);
    drop(watch);
    // Only its own: those of a kind without namespaces come and go with other cases.
    let path = format!("{}?watch=true&timeoutSeconds=1&resourceVersion=0&labelSelector=walk%3Dconformance", subject.all());
    let ended = api.watch(&path).await.until(|_| false).await;
    case.check("a watch ends when it is to", ended.iter().all(|event| is(event, "ADDED") || is(event, "MODIFIED")), &ended);
    let refused = api.get(&format!("{}?watch=true&sendInitialEvents=true", subject.all())).await;
    case.refused("a streamed list without a match", &refused, 422, "Invalid", "resourceVersionMatch");
    subject.remove(5).await;
}
