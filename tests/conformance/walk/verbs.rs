//! What discovery does not list is refused as such.

use serde_json::json;

use super::Subject;
use crate::api::MERGE;

/// All verbs, each as its request: method, whether it is about one object, query.
const VERBS: [(&str, &str, bool, &str); 8] = [
    ("create", "POST", false, ""),
    ("list", "GET", false, ""),
    ("watch", "GET", false, "?watch=true"),
    ("deletecollection", "DELETE", false, ""),
    ("get", "GET", true, ""),
    ("update", "PUT", true, ""),
    ("patch", "PATCH", true, ""),
    ("delete", "DELETE", true, ""),
];

pub async fn unlisted(subject: &Subject<'_>) {
    let kind = subject.kind;
    // A path that has no verb at all is not served.
    let one_is_served = ["get", "update", "patch", "delete"].iter().any(|verb| kind.has(verb));
    for (verb, method, one, query) in VERBS.into_iter().filter(|(verb, ..)| !kind.has(verb)) {
        let path = if one { subject.one(1) } else { subject.all() };
        let code = ask(subject, method, &format!("{path}{query}")).await;
        let expected: &[u16] = if one && !one_is_served { &[404, 405] } else { &[405] };
        subject.case.check(&format!("{verb}, which is not listed, answers {expected:?}"), expected.contains(&code), code);
    }
    for below in &kind.subresources {
        let path = format!("{}/{}", subject.one(1), below.name);
        for (verb, method) in [("get", "GET"), ("create", "POST"), ("update", "PUT"), ("patch", "PATCH"), ("delete", "DELETE")] {
            if below.verbs.iter().any(|one| one == verb) {
                continue;
            }
            let code = ask(subject, method, &path).await;
            subject.case.equal(&format!("{verb} of {}, which is not listed", below.name), code, 405);
        }
    }
    if one_is_served {
        let missing = subject.api.get(&format!("{}/nothing", subject.one(1))).await;
        subject.case.code("a subresource that is not listed", &missing, 404);
    }
}

async fn ask(subject: &Subject<'_>, method: &str, path: &str) -> u16 {
    let (media, body) = match method {
        "GET" | "DELETE" => ("application/json", Vec::new()),
        "PATCH" => (MERGE, json!({}).to_string().into_bytes()),
        _ => ("application/json", subject.object(1).to_string().into_bytes()),
    };
    subject.api.send(method, path, &[("content-type", media), ("accept", "application/json")], body).await.code
}
