//! Lists as `kubectl get` prints them.

use serde_json::{Value, json};

use super::{core, create, home, pod};
use crate::api::{Api, TABLE, is};
use crate::case::Case;

pub async fn life(api: &Api, case: &Case) {
    let all = core(&home(api, case, "life-tables").await, "pods");
    create(api, case, &all, &pod("p", json!({"a": "b"}))).await;
    let table = api.get_as(&all, TABLE).await;
    let names: Vec<&str> =
        table.body["columnDefinitions"].as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    case.equal(
        "the columns of pods",
        names,
        vec!["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"],
    );
    let described = |name: &str| {
        let columns = table.body["columnDefinitions"].as_array().into_iter().flatten();
        columns.filter(|one| one["name"] == name).map(|one| one["description"].as_str().unwrap_or_default().to_owned()).collect::<String>()
    };
    case.check(
        "a field's own description",
        described("Node").starts_with("NodeName indicates in which node this pod is scheduled"),
        described("Node"),
    );
    case.check("a text of its own", described("Ready").contains("readiness"), described("Ready"));
    let cells = &table.body["rows"][0]["cells"];
    case.equal("its cells", json!([cells[0], cells[1], cells[2]]), json!(["p", "0/1", "Pending"]));
    case.check("the list's version", table.version().parse::<i64>().is_ok(), table.version());
    for (include, kind) in [("None", Value::Null), ("Metadata", json!("PartialObjectMetadata")), ("Object", json!("Pod"))] {
        let table = api.get_as(&format!("{all}?includeObject={include}"), TABLE).await;
        case.equal(&format!("includeObject={include}"), &table.body["rows"][0]["object"]["kind"], &kind);
    }
    case.code("includeObject=Everything", &api.get_as(&format!("{all}?includeObject=Everything"), TABLE).await, 400);
    let page = api.get_as(&format!("{}?limit=1", core("kube-system", "serviceaccounts")), TABLE).await;
    case.check("a page", page.body["rows"].as_array().is_some_and(|rows| rows.len() <= 1), &page.body);

    let path = format!("{all}?watch=true&timeoutSeconds=5&resourceVersion=0");
    let answer = api.get_as(&path, TABLE).await;
    let lines: Vec<Value> = answer.bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    case.check("a watch of Tables", lines.first().is_some_and(|event| is(event, "ADDED") && event["object"]["kind"] == "Table"), &lines);
    let refused = api.get_as(&all, "application/json;as=Table;v=v1;g=another.io").await;
    case.refused("a Table of another group", &refused, 406, "NotAcceptable", "");
    let falls_back = api.get_as(&all, &format!("{TABLE}, application/json")).await;
    case.equal("a Table or JSON", falls_back.text("/kind"), "Table");

    // A question is no object that could be listed.
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}).to_string().into_bytes();
    let headers = [("content-type", "application/json"), ("accept", TABLE)];
    let refused = api.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &headers, review).await;
    case.refused("a Table of a question", &refused, 406, "NotAcceptable", "");

    // A pod that has ended says so in its row.
    api.patch(&format!("{all}/p/status"), crate::api::MERGE, &json!({"status": {"phase": "Succeeded"}})).await;
    let row = api.get_as(&format!("{all}/p"), TABLE).await.body["rows"][0].clone();
    case.equal(
        "the row's condition",
        (&row["conditions"][0]["type"], &row["conditions"][0]["reason"]),
        (&json!("Completed"), &json!("Succeeded")),
    );
}
