//! Events, of which there is one sort under two names.

use serde_json::json;

use super::{core, create, group, home};
use crate::api::{Api, MERGE};
use crate::case::Case;

pub async fn life(api: &Api, case: &Case) {
    let name = home(api, case, "life-events").await;
    let (old, new) = (core(&name, "events"), group("events.k8s.io", &name, "events"));
    let involved = json!({"kind": "Pod", "namespace": name, "name": "p", "apiVersion": "v1"});
    create(api, case, &old, &json!({"metadata": {"name": "a"}, "involvedObject": involved, "reason": "Told", "message": "m", "type": "Normal", "source": {"component": "c"}, "count": 3})).await;
    let seen = api.get(&format!("{new}/a")).await;
    case.equal(
        "an old event as a new one",
        (seen.text("/apiVersion"), seen.text("/note"), seen.text("/regarding/name")),
        ("events.k8s.io/v1", "m", "p"),
    );
    case.equal("its old fields", (seen.body["deprecatedCount"].as_i64(), seen.text("/deprecatedSource/component")), (Some(3), "c"));
    let event = json!({"metadata": {"name": "b"}, "regarding": involved, "reason": "Seen", "note": "n", "type": "Warning", "action": "Look",
        "eventTime": "2026-01-02T03:04:05.123456Z", "reportingController": "example.com/c", "reportingInstance": "i"});
    create(api, case, &new, &event).await;
    let seen = api.get(&format!("{old}/b")).await;
    case.equal(
        "a new event as an old one",
        (seen.text("/message"), seen.text("/involvedObject/name"), seen.text("/reportingComponent")),
        ("n", "p", "example.com/c"),
    );
    case.equal("its time", seen.text("/eventTime"), "2026-01-02T03:04:05.123456Z");
    let series = json!({"series": {"count": 5, "lastObservedTime": "2026-01-02T03:05:05.000001Z"}});
    let patched = api.patch(&format!("{new}/b"), MERGE, &series).await;
    case.equal("a series", (patched.code, patched.body["series"]["count"].as_i64()), (200, Some(5)));
    case.code("what happened stays", &api.patch(&format!("{new}/b?dryRun=All"), MERGE, &json!({"reason": "Other"})).await, 422);
    let mut timeless = event.clone();
    timeless["metadata"]["name"] = json!("c");
    timeless.as_object_mut().unwrap().remove("eventTime");
    case.code("a new event needs a time", &api.post(&format!("{new}?dryRun=All"), &timeless).await, 422);
    for (field, expected) in [("reason=Seen", "b"), ("type=Normal", "a"), ("involvedObject.name=p,reason=Told", "a"), ("source=c", "a")] {
        let answer = api.get(&format!("{old}?fieldSelector={}", crate::api::quoted(field))).await;
        case.equal(field, (answer.code, answer.names()), (200, vec![expected.to_owned()]));
    }
    let answer = api.get(&format!("{new}?fieldSelector=regarding.name%3Dp,type%3DWarning")).await;
    case.equal("fields of a new event", (answer.code, answer.names()), (200, vec!["b".to_owned()]));
    let elsewhere = json!({"metadata": {"name": "d"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}});
    let refused = api.post(&old, &elsewhere).await;
    case.refused("an event of another namespace", &refused, 422, "Invalid", "does not match event.namespace");
    for (what, change) in [
        ("a new event needs an action", json!({"action": ""})),
        ("a new event needs somebody who saw it", json!({"reportingController": ""})),
        ("a new event is of one of two types", json!({"type": "Strange"})),
        ("a new event leaves old fields out", json!({"deprecatedCount": 3})),
        ("a series has more than one", json!({"series": {"count": 1, "lastObservedTime": "2026-01-02T03:05:05.000001Z"}})),
    ] {
        let mut wrong = event.clone();
        wrong["metadata"]["name"] = json!("e");
        change.as_object().unwrap().iter().for_each(|(key, value)| wrong[key] = value.clone());
        case.code(what, &api.post(&format!("{new}?dryRun=All"), &wrong).await, 422);
    }
    let recounted = api.patch(&format!("{old}/a"), MERGE, &json!({"count": 4, "reason": "Retold"})).await;
    case.equal("an old event may change", (recounted.code, recounted.body["count"].as_i64()), (200, Some(4)));
    api.delete(&format!("{new}?fieldSelector=reason%3DSeen")).await;
    case.equal("some are deleted", api.get(&old).await.names(), vec!["a".to_owned()]);
}
