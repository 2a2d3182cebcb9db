//! Server-side apply: who owns what, and what becomes of it.

use serde_json::{Value, json};

use super::{core, create, group, home};
use crate::api::{APPLY, Api, MERGE};
use crate::case::{Case, managed};

fn deployment(labels: Value, spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": labels}, "spec": spec})
}

fn spec(replicas: Option<i64>, containers: Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"schedulerName": "nobody", "containers": containers}},
    });
    if let Some(replicas) = replicas {
        spec["replicas"] = json!(replicas);
    }
    spec
}

pub async fn life(api: &Api, case: &Case) {
    let one = format!("{}/d", group("apps", &home(api, case, "life-apply").await, "deployments"));
    let apply =
        async |manager: &str, query: &str, object: &Value| api.patch(&format!("{one}?fieldManager={manager}{query}"), APPLY, object).await;
    let containers = json!([{"name": "c", "image": "i"}]);
    let made = apply("owner", "", &deployment(json!({"a": "b"}), spec(Some(0), containers.clone()))).await;
    case.code("an apply makes it", &made, 201);
    let tried = apply("owner", "&dryRun=All", &deployment(json!({"a": "b"}), spec(Some(1), containers.clone()))).await;
    case.equal("a dry run", tried.body["spec"]["replicas"].as_i64(), Some(1));
    case.equal("leaves it", api.get(&one).await.body["spec"]["replicas"].as_i64(), Some(0));

    // An updater takes what it changes.
    let scaled = api.patch(&format!("{one}?fieldManager=updater"), MERGE, &json!({"spec": {"replicas": 1}})).await;
    case.check(
        "who changes it owns it",
        managed(&scaled.body, "updater", "Update", "").is_some_and(|entry| entry["fieldsV1"]["f:spec"].get("f:replicas").is_some()),
        &scaled.body["metadata"]["managedFields"],
    );
    let contested = apply("owner", "", &deployment(json!({"a": "b"}), spec(Some(0), containers.clone()))).await;
    case.refused(
        "an apply over an update",
        &contested,
        409,
        "Conflict",
        "Apply failed with 1 conflict: conflict with \"updater\" using apps/v1: .spec.replicas",
    );
    let given_up = apply("owner", "", &deployment(json!({"a": "b"}), spec(None, containers.clone()))).await;
    case.equal("what an applier leaves to another stays", (given_up.code, given_up.body["spec"]["replicas"].as_i64()), (200, Some(1)));
    let forced = apply("owner", "&force=true", &deployment(json!({"a": "b"}), spec(Some(0), containers.clone()))).await;
    case.equal("by force", (forced.code, forced.body["spec"]["replicas"].as_i64()), (200, Some(0)));

    // What nobody owns any more goes.
    apply("labeller", "", &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"x": "y"}}})).await;
    let left = apply("labeller", "", &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}})).await;
    case.check(
        "what is applied no more is gone",
        left.code == 200 && left.body["metadata"]["labels"].get("x").is_none(),
        &left.body["metadata"]["labels"],
    );
    case.check("and so is its owner", managed(&left.body, "labeller", "Apply", "").is_none(), &left.body["metadata"]["managedFields"]);

    let same = api.get(&one).await;
    let again = apply("owner", "&force=true", &deployment(json!({"a": "b"}), spec(Some(0), containers.clone()))).await;
    case.check("the same again changes nothing", again.code == 200 && again.body["spec"] == same.body["spec"], again.version());
    let cleared = api.patch(&one, MERGE, &json!({"metadata": {"managedFields": [{}]}})).await;
    case.check(
        "owners can be forgotten",
        cleared.code == 200 && cleared.body["metadata"].get("managedFields").is_none(),
        &cleared.body["metadata"],
    );
    let begun = apply("owner", "", &deployment(json!({"a": "c"}), json!({}))).await;
    case.refused("what was there before the first apply", &begun, 409, "Conflict", "before-first-apply");

    case.code(
        "an apply with managed fields",
        &apply(
            "owner",
            "",
            &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "managedFields": [{"manager": "x"}]}}),
        )
        .await,
        400,
    );
    case.code(
        "an apply of another version",
        &apply("owner", "", &json!({"apiVersion": "apps/v2", "kind": "Deployment", "metadata": {"name": "d"}})).await,
        400,
    );
    case.code(
        "an apply under another name",
        &apply("owner", "", &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "e"}})).await,
        400,
    );
    let unforced = api.patch(&format!("{one}?force=true"), MERGE, &json!({})).await;
    case.code("force without apply", &unforced, 422);
}

/// Lists whose elements have keys are merged element by element, sets value by value.
pub async fn lists(api: &Api, case: &Case) {
    let namespace = home(api, case, "life-apply-lists").await;
    let one = format!("{}/d", group("apps", &namespace, "deployments"));
    let apply = async |manager: &str, object: &Value| api.patch(&format!("{one}?fieldManager={manager}"), APPLY, object).await;
    apply(
        "first",
        &deployment(
            json!({"a": "b"}),
            spec(Some(0), json!([{"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]}])),
        ),
    )
    .await;
    let second = deployment(
        json!({}),
        json!({"template": {"spec": {"containers": [{"name": "d", "image": "j"}, {"name": "c", "env": [{"name": "B", "value": "2"}], "ports": [{"containerPort": 81, "protocol": "TCP"}]}]}}}),
    );
    let both = apply("second", &second).await;
    if case.code("two appliers of one list", &both, 200) {
        let containers = &both.body["spec"]["template"]["spec"]["containers"];
        let names = |list: &Value, key: &str| list.as_array().into_iter().flatten().map(|one| one[key].to_string()).collect::<Vec<_>>();
        case.equal("containers", names(containers, "name").len(), 2);
        let c = containers.as_array().into_iter().flatten().find(|one| one["name"] == "c").cloned().unwrap_or_default();
        case.equal("variables", names(&c["env"], "name"), vec!["\"A\"".to_owned(), "\"B\"".to_owned()]);
        case.equal("ports", names(&c["ports"], "containerPort"), vec!["80".to_owned(), "81".to_owned()]);
    }
    let left = apply("second", &deployment(json!({}), json!({}))).await;
    let containers = left.body["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len);
    case.equal("what the second lets go of", (left.code, containers), (200, Some(1)));

    let maps = core(&namespace, "configmaps");
    create(api, case, &maps, &json!({"metadata": {"name": "c", "finalizers": ["example.com/a"]}})).await;
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "finalizers": ["example.com/b"]}});
    let set = api.patch(&format!("{maps}/c?fieldManager=m"), APPLY, &applied).await;
    case.equal("a set", &set.body["metadata"]["finalizers"], &json!(["example.com/a", "example.com/b"]));
    api.patch(&format!("{maps}/c"), MERGE, &json!({"metadata": {"finalizers": null}})).await;

    let bytes = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  from: yaml\n".to_vec();
    let yaml = api.send("PATCH", &format!("{maps}/y?fieldManager=m"), &[("content-type", APPLY)], bytes).await;
    case.equal("an apply in YAML", (yaml.code, yaml.text("/data/from")), (201, "yaml"));
}
