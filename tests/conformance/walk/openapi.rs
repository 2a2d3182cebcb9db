//! The kind is described where clients look for it.

use serde_json::Value;

use super::Subject;

pub async fn published(subject: &Subject<'_>) {
    let (kind, case) = (subject.kind, subject.case);
    let group = if kind.group.is_empty() { format!("api/{}", kind.version) } else { format!("apis/{}/{}", kind.group, kind.version) };
    let index = subject.api.get("/openapi/v3").await;
    let url = index.body["paths"][&group]["serverRelativeURL"].as_str().unwrap_or_default().to_owned();
    if !case.check("OpenAPI v3 lists the group", url.contains("hash="), &url) {
        return;
    }
    let document = subject.api.get(&url).await.body;
    let is_it = |schema: &Value| {
        schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten().any(|one| {
            one["group"].as_str() == Some(&kind.group)
                && one["version"].as_str() == Some(&kind.version)
                && one["kind"].as_str() == Some(&kind.kind)
        })
    };
    let schema = document["components"]["schemas"].as_object().into_iter().flatten().find(|(_, schema)| is_it(schema));
    case.check("OpenAPI v3 has its schema, with properties", schema.is_some_and(|(_, schema)| schema["properties"].is_object()), schema);
    let collection = kind.collection("{namespace}");
    for (verb, method, one) in [
        ("list", "get", false),
        ("create", "post", false),
        ("deletecollection", "delete", false),
        ("get", "get", true),
        ("update", "put", true),
        ("patch", "patch", true),
        ("delete", "delete", true),
    ] {
        let path = if one { format!("{collection}/{{name}}") } else { collection.clone() };
        let there = document["paths"][&path].get(method).is_some();
        case.equal(&format!("OpenAPI v3 has {method} of {path}"), there, kind.has(verb));
    }
    for below in &kind.subresources {
        let path = format!("{collection}/{{name}}/{}", below.name);
        case.check(&format!("OpenAPI v3 has {path}"), document["paths"].get(&path).is_some(), ());
    }
}
