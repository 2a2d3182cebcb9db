//! Which version of the world a list or a watch shows.

use serde_json::json;

use super::{config_map, core, create, gone, home};
use crate::api::{Api, is};
use crate::case::Case;

pub async fn lists(api: &Api, case: &Case) {
    let all = core(&home(api, case, "life-versions").await, "configmaps");
    let name = |answer: &crate::api::Answer| answer.names().into_iter().filter(|name| name != "kube-root-ca.crt").collect::<Vec<_>>();
    create(api, case, &all, &config_map("old", json!({}))).await;
    let then = api.get(&all).await.version();
    api.delete(&format!("{all}/old")).await;
    create(api, case, &all, &config_map("new", json!({}))).await;
    let now = api.get(&all).await.version();

    for (query, expected) in [
        (String::new(), "new"),
        ("resourceVersion=0".to_owned(), "new"),
        (format!("resourceVersion={then}"), "new"),
        (format!("resourceVersion={then}&resourceVersionMatch=NotOlderThan"), "new"),
        (format!("resourceVersion={then}&resourceVersionMatch=Exact"), "old"),
        (format!("resourceVersion={now}&resourceVersionMatch=Exact"), "new"),
        (format!("resourceVersion={then}&limit=100"), "old"),
        (format!("resourceVersion={then}&limit=100&resourceVersionMatch=NotOlderThan"), "new"),
        ("resourceVersion=0&resourceVersionMatch=NotOlderThan".to_owned(), "new"),
    ] {
        let answer = api.get(&format!("{all}?{query}")).await;
        if case.code(&query, &answer, 200) {
            case.equal(&query, name(&answer), vec![expected.to_owned()]);
        }
    }
    let exact = api.get(&format!("{all}?resourceVersion={then}&resourceVersionMatch=Exact")).await;
    case.equal("the version of an exact list", exact.version(), then.clone());

    for (query, reason) in [
        ("resourceVersionMatch=Exact".to_owned(), "Invalid"),
        ("resourceVersionMatch=NotOlderThan".to_owned(), "Invalid"),
        ("resourceVersion=0&resourceVersionMatch=Exact".to_owned(), "Invalid"),
        (format!("resourceVersion={then}&resourceVersionMatch=Nonsense"), "Invalid"),
        ("sendInitialEvents=true".to_owned(), "Invalid"),
        ("resourceVersion=nonsense".to_owned(), "BadRequest"),
    ] {
        let answer = api.get(&format!("{all}?{query}")).await;
        case.refused(&query, &answer, if reason == "Invalid" { 422 } else { 400 }, reason, "");
    }
    let future = format!("{}", now.parse::<i64>().unwrap_or(0) + 1_000_000);
    for path in [format!("{all}?resourceVersion={future}"), format!("{all}/new?resourceVersion={future}")] {
        let answer = api.get(&path).await;
        case.refused("a version that is not there yet", &answer, 504, "Timeout", "Too large resource version");
        case.check("it says when to come back", answer.body["details"]["retryAfterSeconds"].is_i64(), &answer.body);
    }
}

pub async fn watches(api: &Api, case: &Case) {
    let all = core(&home(api, case, "life-watches").await, "configmaps");
    let begin = api.get(&all).await.version();
    create(api, case, &all, &config_map("a", json!({"color": "red"}))).await;
    let middle = api.get(&all).await.version();
    let paint = |color: &str| json!({"metadata": {"labels": {"color": color}}});
    api.patch(&format!("{all}/a"), crate::api::MERGE, &paint("green")).await;
    api.patch(&format!("{all}/a"), crate::api::MERGE, &paint("red")).await;
    api.delete(&format!("{all}/a")).await;
    gone(api, case, &format!("{all}/a")).await;
    let types = async |query: &str| {
        let mut watch = api.watch(&format!("{all}?watch=true&timeoutSeconds=30&fieldSelector=metadata.name%3Da&{query}")).await;
        let events = watch.until(|event| is(event, "DELETED")).await;
        events.iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    case.equal(
        "from before",
        types(&format!("resourceVersion={begin}")).await,
        ["ADDED", "MODIFIED", "MODIFIED", "DELETED"].map(str::to_owned).to_vec(),
    );
    case.equal(
        "from between",
        types(&format!("resourceVersion={middle}")).await,
        ["MODIFIED", "MODIFIED", "DELETED"].map(str::to_owned).to_vec(),
    );
    // What leaves the selection is deleted to who watches it, and added when it comes back.
    let query = format!("resourceVersion={begin}&labelSelector=color%3Dred");
    case.equal("what leaves the selection", types(&query).await, ["ADDED", "DELETED"].map(str::to_owned).to_vec());
    let query = format!("resourceVersion={middle}&labelSelector=color%3Dgreen");
    case.equal("what comes into the selection", types(&query).await, ["ADDED", "DELETED"].map(str::to_owned).to_vec());

    // Two that begin at the same place see the same, in the same order.
    let versions = async || {
        let mut watch = api.watch(&format!("{all}?watch=true&timeoutSeconds=30&resourceVersion={begin}")).await;
        let events = watch.until(|event| is(event, "DELETED")).await;
        events.iter().map(|event| event["object"]["metadata"]["resourceVersion"].to_string()).collect::<Vec<_>>()
    };
    case.equal("two watches from the same version", versions().await, versions().await);
    let one = api.watch(&format!("{all}/kube-root-ca.crt?watch=true&timeoutSeconds=1")).await.until(|_| false).await;
    case.check("a watch of one object", one.iter().all(|event| event["object"]["metadata"]["name"] == "kube-root-ca.crt"), &one);
    for query in [
        "resourceVersionMatch=NotOlderThan",
        "resourceVersion=nonsense",
        "sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=5",
    ] {
        let answer = api.get(&format!("{all}?watch=true&timeoutSeconds=1&{query}")).await;
        case.check(&format!("a watch with {query} is refused"), matches!(answer.code, 400 | 422), &answer.body);
    }
}
