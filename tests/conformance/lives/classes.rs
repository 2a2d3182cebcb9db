//! Classes: what pods and ingresses are told to be like by name.

use serde_json::json;

use super::{core, create, group, home, pod};
use crate::api::{Api, MERGE};
use crate::case::Case;

pub async fn priority(api: &Api, case: &Case) {
    let (all, pods) = ("/apis/scheduling.k8s.io/v1/priorityclasses", core(&home(api, case, "life-priority").await, "pods"));
    let made = create(api, case, all, &json!({"metadata": {"name": "life-high"}, "value": 1000})).await;
    case.equal("it preempts by default", made.text("/preemptionPolicy"), "PreemptLowerPriority");
    let mut important = pod("p", json!({}));
    important["spec"]["priorityClassName"] = json!("life-high");
    case.soon("a pod of the class has its priority", async || {
        let tried = api.post(&format!("{pods}?dryRun=All"), &important).await;
        let right = tried.body["spec"]["priority"] == 1000 && tried.body["spec"]["preemptionPolicy"] == "PreemptLowerPriority";
        if right { Ok(()) } else { Err(tried.body) }
    })
    .await;
    important["spec"]["priority"] = json!(5);
    case.code("a priority of its own", &api.post(&pods, &important).await, 403);
    let mut unknown = pod("p", json!({}));
    unknown["spec"]["priorityClassName"] = json!("life-unheard-of");
    case.refused(
        "a class that is not there",
        &api.post(&pods, &unknown).await,
        403,
        "Forbidden",
        "no PriorityClass with name life-unheard-of was found",
    );
    let plain = create(api, case, &pods, &pod("plain", json!({}))).await;
    case.equal("a pod without a class", plain.body["spec"]["priority"].as_i64(), Some(0));
    case.code("its value stays", &api.patch(&format!("{all}/life-high"), MERGE, &json!({"value": 5})).await, 422);
    case.code("its description does not", &api.patch(&format!("{all}/life-high"), MERGE, &json!({"description": "d"})).await, 200);
    case.code("a name of the system's", &api.post(all, &json!({"metadata": {"name": "system-life"}, "value": 1})).await, 422);
    case.code(
        "a value of the system's",
        &api.post(all, &json!({"metadata": {"name": "life-higher"}, "value": 1_000_000_001_i64})).await,
        422,
    );
    for name in ["system-node-critical", "system-cluster-critical"] {
        case.code("a class that every cluster has", &api.get(&format!("{all}/{name}")).await, 200);
    }
    api.delete(&format!("{all}/life-high")).await;
}

pub async fn runtime(api: &Api, case: &Case) {
    let (all, pods) = ("/apis/node.k8s.io/v1/runtimeclasses", core(&home(api, case, "life-runtime").await, "pods"));
    let class = json!({"metadata": {"name": "life-runtime"}, "handler": "h", "overhead": {"podFixed": {"cpu": "10m"}},
        "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "t", "operator": "Exists"}]}});
    create(api, case, all, &class).await;
    let mut object = pod("p", json!({}));
    object["spec"]["runtimeClassName"] = json!("life-runtime");
    case.soon("a pod of the class has what it says", async || {
        let tried = api.post(&format!("{pods}?dryRun=All"), &object).await.body;
        let tolerates = tried["spec"]["tolerations"].as_array().is_some_and(|all| all.iter().any(|one| one["key"] == "t"));
        let right = tried["spec"]["overhead"] == json!({"cpu": "10m"}) && tried["spec"]["nodeSelector"] == json!({"a": "b"}) && tolerates;
        if right { Ok(()) } else { Err(tried) }
    })
    .await;
    object["spec"]["runtimeClassName"] = json!("life-unheard-of");
    case.code("a class that is not there", &api.post(&pods, &object).await, 403);
    case.code("its handler stays", &api.patch(&format!("{all}/life-runtime"), MERGE, &json!({"handler": "i"})).await, 422);
    case.code("a handler of no good name", &api.post(all, &json!({"metadata": {"name": "life-wrong"}, "handler": "_"})).await, 422);
    api.delete(&format!("{all}/life-runtime")).await;
}

pub async fn ingress(api: &Api, case: &Case) {
    let (all, ingresses) =
        ("/apis/networking.k8s.io/v1/ingressclasses", group("networking.k8s.io", &home(api, case, "life-ingress").await, "ingresses"));
    let parameters = json!({"apiGroup": "example.com", "kind": "P", "name": "p", "scope": "Namespace", "namespace": "n"});
    let made = create(
        api,
        case,
        all,
        &json!({"metadata": {"name": "life-class"}, "spec": {"controller": "example.com/c", "parameters": parameters}}),
    )
    .await;
    case.equal("its parameters", &made.body["spec"]["parameters"], &parameters);
    case.code(
        "its controller stays",
        &api.patch(&format!("{all}/life-class"), MERGE, &json!({"spec": {"controller": "example.com/d"}})).await,
        422,
    );
    let object = json!({"metadata": {"name": "i"}, "spec": {"rules": [{"host": "example.com", "http": {"paths": [
        {"path": "/a", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}});
    create(api, case, &ingresses, &object).await;
    case.code(
        "it is marked as the default",
        &api.patch(
            &format!("{all}/life-class"),
            MERGE,
            &json!({"metadata": {"annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}}),
        )
        .await,
        200,
    );
    let mut second = object.clone();
    second["metadata"]["name"] = json!("j");
    case.soon("an ingress has the default class", async || {
        let tried = api.post(&format!("{ingresses}?dryRun=All"), &second).await;
        if tried.text("/spec/ingressClassName") == "life-class" { Ok(()) } else { Err(tried.body) }
    })
    .await;
    let mut wrong = object;
    wrong["metadata"]["name"] = json!("k");
    wrong["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = json!("Nearly");
    case.code("a path of no known type", &api.post(&ingresses, &wrong).await, 422);
    api.delete(&format!("{all}/life-class")).await;
}
