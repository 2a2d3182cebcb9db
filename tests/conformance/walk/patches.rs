//! Every way to change a part of an object.

use serde_json::{Value, json};

use super::Subject;
use crate::api::{APPLY, JSON_PATCH, MERGE, STRATEGIC};
use crate::case::{contains, managed};

pub async fn walk(subject: &Subject<'_>) {
    let (api, case, one) = (subject.api, subject.case, subject.one(1));
    let patch = json!([{"op": "add", "path": "/metadata/annotations", "value": {"json": "yes"}}]);
    patched(subject, JSON_PATCH, &patch, &json!({"json": "yes"})).await;
    let untrue = json!([{"op": "test", "path": "/metadata/annotations/json", "value": "no"}]);
    case.code("a JSON patch whose test fails", &api.patch(&one, JSON_PATCH, &untrue).await, 422);
    patched(subject, MERGE, &annotations(json!({"json": null, "merge": "yes"})), &json!({"merge": "yes"})).await;
    if subject.kind.is_custom() {
        let refused = api.patch(&one, STRATEGIC, &annotations(json!({"a": "b"}))).await;
        case.code("a strategic merge of a custom kind", &refused, 415);
    } else {
        patched(subject, STRATEGIC, &annotations(json!({"strategic": "yes"})), &json!({"merge": "yes", "strategic": "yes"})).await;
        let removal = json!({"metadata": {"annotations": {"strategic": "yes", "$patch": "replace"}}});
        patched(subject, STRATEGIC, &removal, &json!({"strategic": "yes"})).await;
    }
    case.code("a patch of no known sort", &api.patch(&one, "application/json", &json!({})).await, 415);
    case.code("a patch of what is not there", &api.patch(&format!("{}/nothing", subject.all()), MERGE, &json!({})).await, 404);
    let tried = api.patch(&format!("{one}?dryRun=All"), MERGE, &annotations(json!({"tried": "yes"}))).await;
    case.check("a dry run of a patch shows what would be", tried.body["metadata"]["annotations"]["tried"] == "yes", &tried.body);
    case.check("and leaves all as it was", api.get(&one).await.body["metadata"]["annotations"].get("tried").is_none(), ());
    let unknown = api.patch(&format!("{one}?fieldValidation=Strict"), MERGE, &json!({"unheardOf": 1})).await;
    case.refused("an unknown field in a patch, strictly", &unknown, 422, "Invalid", "unknown field \"unheardOf\"");
    if let Some(change) = &subject.sample.change {
        let changed = api.patch(&one, MERGE, change).await;
        let mut expected = change.clone();
        drop_nulls(&mut expected);
        if case.code("a change of what is wanted", &changed, 200) {
            case.check("it has what was asked for", contains(&changed.body, &expected), &changed.body);
        }
    }
    applied(subject).await;
}

fn annotations(values: Value) -> Value {
    json!({"metadata": {"annotations": values}})
}

async fn patched(subject: &Subject<'_>, media: &str, patch: &Value, expected: &Value) {
    let answer = subject.api.patch(&subject.one(1), media, patch).await;
    if subject.case.code(media, &answer, 200) {
        let mut annotations = answer.body["metadata"]["annotations"].clone();
        // Controllers have annotations of their own.
        if let Some(all) = annotations.as_object_mut() {
            all.retain(|key, _| !key.contains('/'));
        }
        subject.case.equal(&format!("annotations after {media}"), &annotations, expected);
    }
}

/// Fields set to null are fields that are not there.
fn drop_nulls(value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, field| !field.is_null());
        object.values_mut().for_each(drop_nulls);
    }
}

/// Server-side apply: creation, ownership, conflicts.
async fn applied(subject: &Subject<'_>) {
    let (api, case, one) = (subject.api, subject.case, subject.one(4));
    let configuration = |value: &str| {
        let mut object = subject.object(4);
        object["metadata"]["annotations"] = json!({"applied": value});
        object
    };
    case.code("an apply by nobody", &api.patch(&one, APPLY, &configuration("a")).await, 422);
    let first = api.patch(&format!("{one}?fieldManager=first"), APPLY, &configuration("a")).await;
    if !case.code("an apply of what is not there", &first, 201) {
        return;
    }
    let entry = managed(&first.body, "first", "Apply", "");
    let owns = entry.is_some_and(|entry| entry["fieldsV1"]["f:metadata"]["f:annotations"].get("f:applied").is_some());
    case.check("the applier owns its fields", owns, &first.body["metadata"]["managedFields"]);
    case.check("the entry has its version", entry.is_some_and(|entry| entry["apiVersion"] == subject.kind.api_version()), entry);

    let again = api.patch(&format!("{one}?fieldManager=first"), APPLY, &configuration("a")).await;
    case.code("the same apply again", &again, 200);

    let bare = |value: &str| {
        let name = subject.name(4);
        json!({"apiVersion": subject.kind.api_version(), "kind": subject.kind.kind, "metadata": {"name": name, "annotations": {"applied": value}}})
    };
    let second = format!("{one}?fieldManager=second");
    let contested = api.patch(&second, APPLY, &bare("b")).await;
    case.refused("an apply of a field of another's", &contested, 409, "Conflict", "conflict with \"first\"");
    let cause = &contested.body["details"]["causes"][0];
    case.equal(
        "the cause of the conflict",
        (&cause["reason"], &cause["field"]),
        (&json!("FieldManagerConflict"), &json!(".metadata.annotations.applied")),
    );
    let shared = api.patch(&second, APPLY, &bare("a")).await;
    case.code("an apply of the same value", &shared, 200);
    let forced = api.patch(&format!("{second}&force=true"), APPLY, &bare("b")).await;
    case.code("an apply by force", &forced, 200);
    case.equal("what it sets", &forced.body["metadata"]["annotations"]["applied"], &json!("b"));
    let left =
        managed(&forced.body, "first", "Apply", "").is_some_and(|entry| entry["fieldsV1"]["f:metadata"].get("f:annotations").is_some());
    case.check("the field has changed hands", !left, &forced.body["metadata"]["managedFields"]);
    let nothing = json!({"apiVersion": subject.kind.api_version(), "kind": subject.kind.kind, "metadata": {"name": subject.name(4)}});
    let given_up = api.patch(&second, APPLY, &nothing).await;
    case.check(
        "what is no longer applied is gone",
        given_up.code == 200 && given_up.body["metadata"]["annotations"].get("applied").is_none(),
        &given_up.body,
    );
    subject.remove(4).await;
}
