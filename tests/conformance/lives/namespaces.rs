//! Namespaces and all that goes with them.

use serde_json::json;

use super::{config_map, core, create, gone, home};
use crate::api::{Api, MERGE};
use crate::case::Case;

const ALL: &str = "/api/v1/namespaces";

pub async fn life(api: &Api, case: &Case) {
    let name = home(api, case, "life-namespaces").await;
    let one = format!("{ALL}/{name}");
    let made = api.get(&one).await;
    case.equal("its label", made.body["metadata"]["labels"]["kubernetes.io/metadata.name"].as_str(), Some(&*name));
    case.equal("its phase", made.text("/status/phase"), "Active");
    case.equal("its finalizer", &made.body["spec"]["finalizers"], &json!(["kubernetes"]));
    case.soon("the cluster's certificate is there", async || match api.get(&format!("{one}/configmaps/kube-root-ca.crt")).await.code {
        200 => Ok(()),
        code => Err(code),
    })
    .await;
    for namespace in ["default", "kube-system", "kube-public"] {
        case.code("a namespace that every cluster has stays", &api.delete(&format!("{ALL}/{namespace}")).await, 403);
    }
    let mut finalized = api.get(&one).await.body;
    finalized["spec"]["finalizers"] = json!(["kubernetes", "example.com/wait"]);
    let finalized = api.put(&format!("{one}/finalize"), &finalized).await;
    case.equal(
        "its finalizers",
        (finalized.code, &finalized.body["spec"]["finalizers"]),
        (200, &json!(["kubernetes", "example.com/wait"])),
    );
    case.code("it is deleted", &api.delete(&one).await, 200);
    case.soon("its own finalizer waits for others", async || {
        let now = api.get(&one).await.body;
        if now["spec"]["finalizers"] == json!(["example.com/wait"]) && now["status"]["phase"] == "Terminating" { Ok(()) } else { Err(now) }
    })
    .await;
    let refused = api.post(&core(&name, "configmaps"), &config_map("late", json!({}))).await;
    case.refused("nothing is made in what goes", &refused, 403, "Forbidden", "being terminated");
    case.equal("and it says why", refused.body["details"]["causes"][0]["reason"].as_str(), Some("NamespaceTerminating"));
    let mut last = api.get(&one).await.body;
    last["spec"]["finalizers"] = json!([]);
    case.code("the last finalizer goes", &api.put(&format!("{one}/finalize"), &last).await, 200);
    gone(api, case, &one).await;
    case.code("a name that is none", &api.post(ALL, &json!({"metadata": {"name": "Not_Good"}})).await, 422);
}

pub async fn contents(api: &Api, case: &Case) {
    let name = home(api, case, "life-contents").await;
    let (one, maps) = (format!("{ALL}/{name}"), core(&name, "configmaps"));
    create(api, case, &maps, &config_map("goes", json!({}))).await;
    create(api, case, &maps, &json!({"metadata": {"name": "waits", "finalizers": ["example.com/wait"]}})).await;
    let widgets = format!("/apis/conformance.example.com/v1/namespaces/{name}/widgets");
    create(
        api,
        case,
        &widgets,
        &json!({"apiVersion": "conformance.example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {}}),
    )
    .await;
    api.delete(&one).await;
    gone(api, case, &format!("{maps}/goes")).await;
    gone(api, case, &format!("{widgets}/w")).await;
    case.soon("it says what is left", async || {
        let now = api.get(&one).await.body;
        let says = |kind: &str| {
            let conditions = now["status"]["conditions"].as_array().into_iter().flatten();
            conditions
                .filter(|one| one["type"] == kind)
                .any(|one| one["status"] == "True" && one["message"].as_str().is_some_and(|text| !text.is_empty()))
        };
        if says("NamespaceContentRemaining") && says("NamespaceFinalizersRemaining") { Ok(()) } else { Err(now["status"].clone()) }
    })
    .await;
    case.code("what waits is still there", &api.get(&format!("{maps}/waits")).await, 200);
    api.patch(&format!("{maps}/waits"), MERGE, &json!({"metadata": {"finalizers": null}})).await;
    gone(api, case, &one).await;
    case.code("the name is free again", &api.post(ALL, &json!({"metadata": {"name": name}})).await, 201);
}
