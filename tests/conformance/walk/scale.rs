//! What has replicas, in the shape that autoscalers know.

use serde_json::{Value, json};

use super::Subject;
use crate::api::{APPLY, JSON_PATCH, MERGE, STRATEGIC, TABLE};
use crate::case::managed;

const ATTEMPTS: usize = 8;

pub async fn walk(subject: &Subject<'_>) {
    if subject.kind.subresource("scale").is_none() {
        return;
    }
    let (api, case, one) = (subject.api, subject.case, subject.one(1));
    let path = format!("{one}/scale");
    let read = api.get(&path).await;
    case.code("the scale is read", &read, 200);
    case.equal("its kind", (read.text("/apiVersion"), read.text("/kind")), ("autoscaling/v1", "Scale"));
    case.equal("its name", read.text("/metadata/name"), &*subject.name(1));
    case.equal("it is of the object", read.text("/metadata/uid"), api.get(&one).await.text("/metadata/uid"));
    let table = api.get_as(&path, TABLE).await;
    case.equal("it is a Table", (table.text("/kind"), table.body["rows"].as_array().map(Vec::len)), ("Table", Some(1)));

    let mut code = 0;
    for _ in 0..ATTEMPTS {
        let mut scale = api.get(&path).await.body;
        scale["spec"]["replicas"] = json!(1);
        let updated = api.put(&format!("{path}?fieldManager=scaler"), &scale).await;
        code = updated.code;
        if code != 409 {
            case.equal("an update of the scale", (&updated.body["kind"], replicas(&updated.body)), (&json!("Scale"), 1));
            break;
        }
    }
    case.equal("an update of the scale", code, 200);
    case.equal("the object's replicas", replicas(&api.get(&one).await.body), 1);

    for (media, patch, expected) in [
        (MERGE, json!({"spec": {"replicas": 2}}), 2),
        (JSON_PATCH, json!([{"op": "replace", "path": "/spec/replicas", "value": 1}]), 1),
        (STRATEGIC, json!({"spec": {"replicas": 2}}), 2),
    ] {
        let patched = api.patch(&format!("{path}?fieldManager=scaler"), media, &patch).await;
        if media == STRATEGIC && subject.kind.is_custom() {
            case.code("a strategic merge of a custom kind's scale", &patched, 415);
        } else if case.code(media, &patched, 200) {
            case.equal(&format!("the replicas after {media}"), replicas(&patched.body), expected);
            case.equal(&format!("the object's replicas after {media}"), replicas(&api.get(&one).await.body), expected);
        }
    }
    let object = api.get(&one).await.body;
    case.check("replicas belong to who scales", owns(managed(&object, "scaler", "Update", "scale")), &object["metadata"]["managedFields"]);

    let stale = json!({"metadata": {"name": subject.name(1), "resourceVersion": "1"}, "spec": {"replicas": 5}});
    case.refused("a scale of an older version", &api.put(&path, &stale).await, 409, "Conflict", "modified");
    let negative = api.patch(&path, MERGE, &json!({"spec": {"replicas": -1}})).await;
    case.refused("fewer than none", &negative, 422, "Invalid", "greater than or equal to 0");
    let strange = api.patch(&format!("{path}?fieldValidation=Strict"), MERGE, &json!({"spec": {"unheardOf": 1}})).await;
    case.refused("an unknown field of a scale, strictly", &strange, 400, "BadRequest", "unknown field \"spec.unheardOf\"");
    case.code("a scale under another name", &api.put(&path, &json!({"metadata": {"name": "another"}, "spec": {"replicas": 1}})).await, 400);
    case.code("the scale of what is not there", &api.get(&format!("{}/nothing/scale", subject.all())).await, 404);
    applied(subject, &path).await;
}

fn replicas(object: &Value) -> i64 {
    object["spec"]["replicas"].as_i64().unwrap_or(-1)
}

fn owns(entry: Option<&Value>) -> bool {
    entry.is_some_and(|entry| entry["fieldsV1"]["f:spec"].get("f:replicas").is_some())
}

/// Server-side apply of a scale knows owners as that of the object does.
async fn applied(subject: &Subject<'_>, path: &str) {
    let (api, case, one) = (subject.api, subject.case, subject.one(1));
    let scale = |replicas: i64| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": subject.name(1)}, "spec": {"replicas": replicas}});
    let now = replicas(&api.get(&one).await.body);
    let contested = api.patch(&format!("{path}?fieldManager=applier"), APPLY, &scale(now + 1)).await;
    case.refused(
        "an apply of replicas that are another's",
        &contested,
        409,
        "Conflict",
        "conflict with \"scaler\" with subresource \"scale\"",
    );
    case.equal("the field of the conflict", contested.body["details"]["causes"][0]["field"].as_str(), Some(".spec.replicas"));
    case.equal("the object's replicas after it", replicas(&api.get(&one).await.body), now);
    let forced = api.patch(&format!("{path}?fieldManager=applier&force=true"), APPLY, &scale(0)).await;
    if case.code("an apply of replicas by force", &forced, 200) {
        case.equal("the replicas after it", (forced.text("/kind"), replicas(&forced.body)), ("Scale", 0));
    }
    let object = api.get(&one).await.body;
    let fields = &object["metadata"]["managedFields"];
    case.check("replicas belong to who applied", owns(managed(&object, "applier", "Apply", "scale")), fields);
    case.check("and to nobody else", !owns(managed(&object, "scaler", "Update", "scale")), fields);
    let entry = managed(&object, "applier", "Apply", "scale").cloned().unwrap_or_default();
    case.equal("in the object's version", &entry["apiVersion"], &json!(subject.kind.api_version()));
    case.code("an apply by nobody", &api.patch(path, APPLY, &scale(1)).await, 422);
    let nothing = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "nothing"}, "spec": {"replicas": 1}});
    let nowhere = format!("{}/nothing/scale?fieldManager=applier", subject.all());
    case.code("an apply of the scale of what is not there", &api.patch(&nowhere, APPLY, &nothing).await, 404);
}
