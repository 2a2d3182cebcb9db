//! How objects come to be.

use serde_json::json;

use super::Subject;
use crate::case::contains;

pub async fn walk(subject: &Subject<'_>) {
    let (api, case) = (subject.api, subject.case);
    let (all, one, object) = (subject.all(), subject.one(1), subject.object(1));
    case.refused("what is not there", &api.get(&one).await, 404, "NotFound", "not found");

    let tried = api.post(&format!("{all}?dryRun=All"), &object).await;
    case.code("a dry run", &tried, 201);
    case.code("after a dry run nothing is there", &api.get(&one).await, 404);
    case.code("a dry run of another sort", &api.post(&format!("{all}?dryRun=Some"), &object).await, 422);

    validation(subject).await;

    let made = subject.create(1).await;
    case.equal("its kind", made.text("/kind"), &subject.kind.kind);
    case.equal("its version", made.text("/apiVersion"), &subject.kind.api_version());
    for field in ["uid", "creationTimestamp", "resourceVersion"] {
        case.check(&format!("metadata.{field} is set"), !made.text(&format!("/metadata/{field}")).is_empty(), &made.body["metadata"]);
    }
    let wanted = json!({"metadata": {"name": subject.name(1), "labels": object["metadata"]["labels"]}});
    case.check("metadata is kept", contains(&made.body, &wanted), &made.body["metadata"]);
    let manager = made.body["metadata"]["managedFields"][0].clone();
    case.check("its fields have an owner", manager["operation"] == "Update" && manager["fieldsType"] == "FieldsV1", &manager);

    let read = api.get(&one).await;
    case.code("it is read back", &read, 200);
    case.equal("what is read is what was made", read.text("/metadata/uid"), made.text("/metadata/uid"));
    case.code("it is read from the cache", &api.get(&format!("{one}?resourceVersion=0")).await, 200);

    case.refused("the same again", &api.post(&all, &object).await, 409, "AlreadyExists", "already exists");
    let mut versioned = subject.object(2);
    versioned["metadata"]["resourceVersion"] = json!("1");
    case.refused("one with a resourceVersion", &api.post(&all, &versioned).await, 400, "BadRequest", "resourceVersion");

    if subject.sample.is_named_freely() {
        let mut nameless = subject.object(2);
        nameless["metadata"] = json!({"generateName": "walk-made-", "labels": {"made": "by-the-server"}});
        let made = api.post(&all, &nameless).await;
        case.code("one without a name", &made, 201);
        let name = made.text("/metadata/name").to_owned();
        case.check("a name is made", name.starts_with("walk-made-") && name.len() == "walk-made-".len() + 5, &name);
        case.code("it is there under that name", &api.get(&format!("{all}/{name}")).await, 200);
        api.delete(&format!("{all}/{name}")).await;
    }
}

/// What is not right about an object is said, as the client asks.
async fn validation(subject: &Subject<'_>) {
    let (api, case, all) = (subject.api, subject.case, subject.all());
    let mut unknown = subject.object(1);
    unknown["unheardOf"] = json!(true);
    let path = |how: &str| format!("{all}?dryRun=All&fieldValidation={how}");
    let strict = api.post(&path("Strict"), &unknown).await;
    case.refused("an unknown field, strictly", &strict, 400, "BadRequest", "unknown field \"unheardOf\"");
    let warned = api.post(&path("Warn"), &unknown).await;
    case.code("an unknown field, with a warning", &warned, 201);
    case.check(
        "there is a warning",
        warned.warnings().iter().any(|text| text.contains("unknown field") && text.starts_with("299 - ")),
        warned.warnings(),
    );
    let ignored = api.post(&path("Ignore"), &unknown).await;
    case.code("an unknown field, ignored", &ignored, 201);
    case.check("there is no warning of it", !ignored.warnings().iter().any(|text| text.contains("unknown field")), ignored.warnings());
    case.check("it is not kept", ignored.body.get("unheardOf").is_none(), &ignored.body);
    case.code("another sort of validation", &api.post(&path("Sometimes"), &unknown).await, 422);

    let mut other = subject.object(1);
    other["kind"] = json!("Another");
    case.code("an object of another kind", &api.post(&all, &other).await, 400);
    let mut other = subject.object(1);
    other["apiVersion"] = json!("another.example.com/v1");
    case.code("an object of another group", &api.post(&all, &other).await, 400);
    if subject.kind.namespaced {
        let mut other = subject.object(1);
        other["metadata"]["namespace"] = json!("another");
        case.code("an object of another namespace", &api.post(&all, &other).await, 400);
        let nowhere = subject.kind.collection("walk-nowhere");
        let mut object = subject.object(1);
        object["metadata"]["namespace"] = json!("walk-nowhere");
        for field in ["involvedObject", "regarding"] {
            if object.get(field).is_some() {
                object[field]["namespace"] = json!("walk-nowhere");
            }
        }
        case.refused("an object of no namespace", &api.post(&nowhere, &object).await, 404, "NotFound", "walk-nowhere");
    }
    case.code("no JSON", &api.send("POST", &all, &[("content-type", "application/json")], b"{".to_vec()).await, 400);
    case.code("no known form", &api.send("POST", &all, &[("content-type", "text/html")], b"{}".to_vec()).await, 415);
}
