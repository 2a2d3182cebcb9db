//! What is wanted and what is, each behind a door of its own.

use serde_json::{Value, json};

use super::Subject;
use crate::api::{APPLY, Answer, MERGE};
use crate::case::{contains, managed};

/// Controllers may write between two requests of ours; then they are made again.
const ATTEMPTS: usize = 8;

pub async fn walk(subject: &Subject<'_>) {
    let Some(below) = subject.kind.subresource("status") else { return };
    let (api, case, one) = (subject.api, subject.case, subject.one(1));
    let path = format!("{one}/status");
    let Some(status) = &subject.sample.status else { return case.fail("there is no status in samples.yaml, and discovery lists one") };
    case.equal("the verbs of the status", below.verbs.join(","), "get,patch,update".to_owned());

    let read = api.get(&path).await;
    case.code("the status is read", &read, 200);
    case.equal("and is the whole object", (read.text("/kind"), read.text("/metadata/name")), (&*subject.kind.kind, &*subject.name(1)));

    let (before, patched) = patched(subject, &path, status).await;
    if case.code("a patch of the status", &patched, 200) {
        case.check("it has what was asked for", contains(&patched.body, status), &patched.body["status"]);
        case.equal("what is wanted is as it was", wanted(&patched.body), wanted(&before));
        case.check(
            "the status has its owner",
            managed(&patched.body, "of-status", "Update", "status").is_some(),
            &patched.body["metadata"]["managedFields"],
        );
    }
    let updated = updated(subject, &path, status).await;
    if case.code("an update of the status", &updated, 200) {
        case.check("it has what was asked for", contains(&updated.body, status), &updated.body["status"]);
    }
    let mut stale = api.get(&path).await.body;
    stale["metadata"]["resourceVersion"] = json!("1");
    case.refused("an update of the status of an older version", &api.put(&path, &stale).await, 409, "Conflict", "modified");
    untouched(subject, status).await;

    let mut configuration = status.clone();
    for (field, value) in [
        ("apiVersion", json!(subject.kind.api_version())),
        ("kind", json!(subject.kind.kind)),
        ("metadata", json!({"name": subject.name(1)})),
    ] {
        configuration[field] = value;
    }
    let applied = api.patch(&format!("{path}?fieldManager=applier&force=true"), APPLY, &configuration).await;
    if case.code("an apply of the status", &applied, 200) {
        case.check(
            "it has its owner",
            managed(&applied.body, "applier", "Apply", "status").is_some(),
            &applied.body["metadata"]["managedFields"],
        );
    }
    case.code("the status of what is not there", &api.get(&format!("{}/nothing/status", subject.all())).await, 404);
}

/// Patches the status, and tries to change what is wanted with it: the object before, and the answer.
async fn patched(subject: &Subject<'_>, path: &str, status: &Value) -> (Value, Answer) {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let before = subject.api.get(&subject.one(1)).await.body;
        let mut both = status.clone();
        merge(&mut both, &another_spec(subject, &before));
        let patched = subject.api.patch(&format!("{path}?fieldManager=of-status"), MERGE, &both).await;
        let settled = patched.code != 200 || wanted(&patched.body) == wanted(&before);
        last = Some((before, patched));
        if settled {
            break;
        }
    }
    last.unwrap()
}

/// A change of what is wanted that a write of the status must not make.
fn another_spec(subject: &Subject<'_>, before: &Value) -> Value {
    let mut change = subject.sample.change.clone().unwrap_or_else(|| json!({}));
    // It has been made before; so now the other way round.
    if let (Some(spec), Some(now)) = (change["spec"].as_object_mut(), before["spec"].as_object()) {
        spec.retain(|key, value| {
            let number = value.as_i64().filter(|_| now.get(key) == Some(value));
            if let Some(number) = number {
                *value = json!(number + 1);
            }
            number.is_some()
        });
    }
    change.as_object_mut().unwrap().retain(|key, _| key == "spec");
    change
}

/// The object without metadata and status.
fn wanted(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|key, _| !matches!(key.as_str(), "metadata" | "status"));
    }
    object
}

async fn updated(subject: &Subject<'_>, path: &str, status: &Value) -> Answer {
    let mut answer = None;
    for _ in 0..ATTEMPTS {
        let mut object = subject.api.get(path).await.body;
        merge(&mut object, status);
        let updated = subject.api.put(path, &object).await;
        if updated.code != 409 {
            return updated;
        }
        answer = Some(updated);
    }
    answer.unwrap()
}

/// A write of the object leaves the status alone.
async fn untouched(subject: &Subject<'_>, status: &Value) {
    let (api, one) = (subject.api, subject.one(1));
    let mut told = None;
    for _ in 0..ATTEMPTS {
        let before = api.get(&one).await;
        let mut object = before.body.clone();
        object["status"] = json!({});
        object["metadata"]["annotations"]["status"] = json!(before.version());
        let updated = api.put(&one, &object).await;
        let same = updated.code == 200 && updated.body["status"] == before.body["status"];
        told = (!same).then_some((updated.body["status"].clone(), before.body["status"].clone(), status));
        if same {
            break;
        }
    }
    subject.case.check("a write of the object leaves the status as it was", told.is_none(), told);
}

fn merge(into: &mut Value, patch: &Value) {
    match (into.as_object_mut(), patch.as_object()) {
        (Some(object), Some(patch)) => {
            for (key, value) in patch {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        _ => *into = patch.clone(),
    }
}
