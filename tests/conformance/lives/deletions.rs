//! What goes with what.

use serde_json::{Value, json};

use super::{config_map, core, create, gone, group, home};
use crate::api::{Api, MERGE};
use crate::case::Case;

fn owned(name: &str, owner: &Value, blocks: bool) -> Value {
    let mut object = config_map(name, json!({}));
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "blockOwnerDeletion": blocks,
    }]);
    object
}

pub async fn owners(api: &Api, case: &Case) {
    let namespace = home(api, case, "life-owners").await;
    let all = core(&namespace, "configmaps");
    let pair = async |name: &str, blocks: bool| {
        let owner = create(api, case, &all, &config_map(name, json!({}))).await.body;
        create(api, case, &all, &owned(&format!("{name}-child"), &owner, blocks)).await;
        (format!("{all}/{name}"), format!("{all}/{name}-child"))
    };
    let (owner, child) = pair("background", false).await;
    case.code("a deletion", &api.delete_with(&owner, &json!({"propagationPolicy": "Background"})).await, 200);
    case.code("the owner goes at once", &api.get(&owner).await, 404);
    gone(api, case, &child).await;

    let (owner, child) = pair("orphan", false).await;
    api.delete_with(&owner, &json!({"propagationPolicy": "Orphan"})).await;
    gone(api, case, &owner).await;
    let left = api.get(&child).await;
    case.check(
        "an orphan stays and has no owner",
        left.code == 200 && left.body["metadata"].get("ownerReferences").is_none_or(|owners| owners == &json!([])),
        &left.body,
    );

    let (owner, child) = pair("foreground", true).await;
    api.patch(&child, MERGE, &json!({"metadata": {"finalizers": ["example.com/wait"]}})).await;
    let waiting = api.delete_with(&owner, &json!({"propagationPolicy": "Foreground"})).await;
    case.check(
        "the owner waits for what it owns",
        waiting.code == 200 && waiting.body["metadata"]["finalizers"] == json!(["foregroundDeletion"]),
        &waiting.body,
    );
    case.soon("what it owns is on its way", async || {
        let child = api.get(&child).await.body;
        if child["metadata"]["deletionTimestamp"].is_string() { Ok(()) } else { Err(child) }
    })
    .await;
    case.code("and the owner is still there", &api.get(&owner).await, 200);
    api.patch(&child, MERGE, &json!({"metadata": {"finalizers": null}})).await;
    gone(api, case, &child).await;
    gone(api, case, &owner).await;

    // An owner that never was.
    let ghost = json!({"metadata": {"name": "ghost", "uid": "11111111-2222-3333-4444-555555555555"}});
    create(api, case, &all, &owned("of-a-ghost", &ghost, false)).await;
    gone(api, case, &format!("{all}/of-a-ghost")).await;

    // Three that own each other in a circle go when one does.
    let mut circle: Vec<Value> = Vec::new();
    for name in ["one", "two", "three"] {
        circle.push(create(api, case, &all, &config_map(name, json!({}))).await.body);
    }
    for at in 0..3 {
        let references = owned("x", &circle[(at + 1) % 3], true)["metadata"]["ownerReferences"].clone();
        let name = circle[at]["metadata"]["name"].as_str().unwrap_or_default();
        api.patch(&format!("{all}/{name}"), MERGE, &json!({"metadata": {"ownerReferences": references}})).await;
    }
    api.delete(&format!("{all}/one")).await;
    for name in ["one", "two", "three"] {
        gone(api, case, &format!("{all}/{name}")).await;
    }
    by_default(api, case, &namespace).await;
}

/// Kinds that let go of what they own unless told otherwise, for old clients' sake.
async fn by_default(api: &Api, case: &Case, namespace: &str) {
    let template = json!({"metadata": {"labels": {"of": "rc"}}, "spec": {"schedulerName": "nobody", "restartPolicy": "Always", "containers": [{"name": "c", "image": "i"}]}});
    let controllers = core(namespace, "replicationcontrollers");
    create(
        api,
        case,
        &controllers,
        &json!({"metadata": {"name": "rc"}, "spec": {"replicas": 1, "selector": {"of": "rc"}, "template": template}}),
    )
    .await;
    let pods = format!("{}?labelSelector=of%3Drc", core(namespace, "pods"));
    case.soon("it has its pod", async || if api.get(&pods).await.names().is_empty() { Err(()) } else { Ok(()) }).await;
    api.delete(&format!("{controllers}/rc")).await;
    gone(api, case, &format!("{controllers}/rc")).await;
    let left = api.get(&pods).await;
    let owner = left.body["items"][0]["metadata"].get("ownerReferences").cloned();
    case.check(
        "a replication controller leaves its pods",
        left.names().len() == 1 && owner.as_ref().is_none_or(|one| one == &json!([])),
        &left.body,
    );

    let jobs = group("batch", namespace, "jobs");
    let job = |name: &str| json!({"metadata": {"name": name}, "spec": {"template": {"spec": {"schedulerName": "nobody", "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    create(api, case, &jobs, &job("j")).await;
    let deleted = api.delete(&format!("{jobs}/j")).await;
    case.check(
        "a job says that it leaves its pods",
        deleted.warnings().iter().any(|text| text.contains("child pods are preserved by default")),
        deleted.warnings(),
    );
    gone(api, case, &format!("{jobs}/j")).await;
    create(api, case, &jobs, &job("k")).await;
    let deleted = api.delete_with(&format!("{jobs}/k"), &json!({"propagationPolicy": "Background"})).await;
    case.check("and not when it is told what to do", deleted.warnings().is_empty(), deleted.warnings());
}

/// Objects that wait for others before they go.
pub async fn finalizers(api: &Api, case: &Case) {
    let all = core(&home(api, case, "life-finalizers").await, "configmaps");
    let one = format!("{all}/f");
    create(api, case, &all, &json!({"metadata": {"name": "f", "finalizers": ["example.com/a", "example.com/b"]}})).await;
    let deleted = api.delete(&one).await;
    case.check("it waits", deleted.code == 200 && deleted.body["metadata"]["deletionTimestamp"].is_string(), &deleted.body);
    case.code("a second deletion", &api.delete(&one).await, 200);
    let added = api.patch(&one, MERGE, &json!({"metadata": {"finalizers": ["example.com/a", "example.com/b", "example.com/c"]}})).await;
    case.code("no finalizer is added to what goes", &added, 422);
    let less = api.patch(&one, MERGE, &json!({"metadata": {"finalizers": ["example.com/b"]}})).await;
    case.code("one less", &less, 200);
    case.code("it is still there", &api.get(&one).await, 200);
    case.code("none", &api.patch(&one, MERGE, &json!({"metadata": {"finalizers": []}})).await, 200);
    case.code("it is gone", &api.get(&one).await, 404);
    let unqualified = api.post(&all, &json!({"metadata": {"name": "g", "finalizers": ["a b"]}})).await;
    case.code("a finalizer of no good name", &unqualified, 422);
}
