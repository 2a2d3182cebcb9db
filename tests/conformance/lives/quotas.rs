//! What a namespace may use, and what its objects must look like.

use serde_json::{Value, json};

use super::{config_map, core, create, home, pod};
use crate::api::{Api, MERGE};
use crate::case::Case;

pub async fn quota(api: &Api, case: &Case) {
    let name = home(api, case, "life-quota").await;
    let (quotas, maps, pods) = (core(&name, "resourcequotas"), core(&name, "configmaps"), core(&name, "pods"));
    let one = format!("{quotas}/q");
    let hard = json!({"configmaps": "2", "count/pods": "1", "requests.cpu": "1", "limits.memory": "1Gi"});
    create(api, case, &quotas, &json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    let used = async |what: &str, expected: Value| {
        case.soon(&format!("what is used: {what}"), async || {
            let now = api.get(&one).await.body;
            if crate::case::contains(&now["status"]["used"], &expected) { Ok(()) } else { Err(now["status"].clone()) }
        })
        .await
    };
    if !used("at first", json!({"configmaps": "1", "count/pods": "0", "requests.cpu": "0"})).await {
        return;
    }
    case.equal("what is allowed", &api.get(&one).await.body["status"]["hard"], &hard);
    create(api, case, &maps, &config_map("a", json!({}))).await;
    used("with one more", json!({"configmaps": "2"})).await;
    let refused = api.post(&maps, &config_map("b", json!({}))).await;
    case.refused(
        "one too many",
        &refused,
        403,
        "Forbidden",
        "exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2",
    );
    api.delete(&format!("{maps}/a")).await;
    used("when it is gone", json!({"configmaps": "1"})).await;
    create(api, case, &maps, &config_map("b", json!({}))).await;

    let refused = api.post(&pods, &pod("p", json!({}))).await;
    case.refused(
        "a pod that does not say what it wants",
        &refused,
        403,
        "Forbidden",
        "must specify limits.memory for: c; requests.cpu for: c",
    );
    let mut sized = pod("p", json!({}));
    sized["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "600m"}, "limits": {"memory": "512Mi"}});
    create(api, case, &pods, &sized).await;
    used("by a pod", json!({"count/pods": "1", "requests.cpu": "600m", "limits.memory": "512Mi"})).await;
    sized["metadata"]["name"] = json!("q");
    case.refused("a pod too many", &api.post(&pods, &sized).await, 403, "Forbidden", "exceeded quota: q");
    api.delete(&format!("{pods}/p")).await;
    used("when the pod is gone", json!({"count/pods": "0", "requests.cpu": "0"})).await;
    api.patch(&one, MERGE, &json!({"spec": {"hard": {"configmaps": "5"}}})).await;
    case.soon("what is allowed changes", async || {
        let now = api.get(&one).await.body;
        if now["status"]["hard"]["configmaps"] == "5" { Ok(()) } else { Err(now["status"].clone()) }
    })
    .await;
}

/// What is counted, and whose.
pub async fn sorts(api: &Api, case: &Case) {
    let name = home(api, case, "life-quota-sorts").await;
    let (quotas, pods) = (core(&name, "resourcequotas"), core(&name, "pods"));
    let quota = async |name: &str, spec: Value| {
        create(api, case, &quotas, &json!({"metadata": {"name": name}, "spec": spec})).await;
    };
    let used = async |what: &str, name: &str, expected: Value| {
        case.soon(what, async || {
            let now = api.get(&format!("{quotas}/{name}")).await.body["status"]["used"].clone();
            if now == expected { Ok(()) } else { Err(now) }
        })
        .await
    };
    // What was there before its quota is counted too.
    let mut sized = pod("sized", json!({}));
    sized["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "100m", "example.com/device": "2"}, "limits": {"memory": "1Gi", "example.com/device": "2"}});
    sized["spec"]["activeDeadlineSeconds"] = json!(3600);
    create(api, case, &pods, &sized).await;
    create(api, case, &pods, &pod("idle", json!({}))).await;
    let ports = json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]);
    create(api, case, &core(&name, "services"), &json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "ports": ports}}))
        .await;
    let claim =
        |class: &str| json!({"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}});
    for class in ["gold", "tin"] {
        create(api, case, &core(&name, "persistentvolumeclaims"), &json!({"metadata": {"name": class}, "spec": claim(class)})).await;
    }
    let hard = json!({"pods": "10", "requests.cpu": "1", "limits.memory": "2Gi", "requests.example.com/device": "4", "count/deployments.apps": "2", "count/unheard.example.com": "1"});
    quota("computed", json!({"hard": hard})).await;
    let cpu = json!({"pods": "2", "requests.cpu": "100m", "limits.memory": "1Gi", "requests.example.com/device": "2", "count/deployments.apps": "0"});
    used("what pods ask for", "computed", cpu.clone()).await;
    quota("doors", json!({"hard": {"services": "5", "services.nodeports": "5", "services.loadbalancers": "5"}})).await;
    used("services and their ports", "doors", json!({"services": "1", "services.nodeports": "2", "services.loadbalancers": "1"})).await;
    let gold = "gold.storageclass.storage.k8s.io";
    let (claims, storage) = (format!("{gold}/persistentvolumeclaims"), format!("{gold}/requests.storage"));
    quota("disks", json!({"hard": {"requests.storage": "5Gi", "persistentvolumeclaims": "5", &*claims: "2", &*storage: "1Gi"}})).await;
    let disks = json!({"requests.storage": "2Gi", "persistentvolumeclaims": "2", &*claims: "1", &*storage: "1Gi"});
    used("storage and that of a class", "disks", disks).await;
    for (scope, expected) in [("BestEffort", "1"), ("NotBestEffort", "1"), ("Terminating", "1"), ("NotTerminating", "1")] {
        let name = scope.to_lowercase();
        quota(&name, json!({"hard": {"pods": "5"}, "scopes": [scope]})).await;
        used(scope, &name, json!({"pods": expected})).await;
    }
    let selector = json!({"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]}]});
    quota("important", json!({"hard": {"pods": "5"}, "scopeSelector": selector})).await;
    used("none of the class", "important", json!({"pods": "0"})).await;

    let deployment = json!({"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}});
    let deployments = super::group("apps", &name, "deployments");
    create(api, case, &deployments, &json!({"metadata": {"name": "d"}, "spec": deployment})).await;
    let mut with_one = cpu.clone();
    with_one["count/deployments.apps"] = json!("1");
    used("a Deployment is made", "computed", with_one).await;
    case.code("it goes", &api.delete(&format!("{deployments}/d")).await, 200);
    used("and counts no more", "computed", cpu).await;
    api.patch(&format!("{pods}/sized/status"), MERGE, &json!({"status": {"phase": "Succeeded"}})).await;
    let ended =
        json!({"pods": "1", "requests.cpu": "0", "limits.memory": "0", "requests.example.com/device": "0", "count/deployments.apps": "0"});
    used("an ended pod asks for nothing", "computed", ended).await;
}

pub async fn limits(api: &Api, case: &Case) {
    let name = home(api, case, "life-limits").await;
    let pods = core(&name, "pods");
    let limits = json!([
        {"type": "Container", "default": {"cpu": "500m", "memory": "512Mi"}, "defaultRequest": {"cpu": "100m"},
            "min": {"cpu": "50m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "5"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}},
    ]);
    create(api, case, &core(&name, "limitranges"), &json!({"metadata": {"name": "l"}, "spec": {"limits": limits}})).await;
    case.soon("limits are filled in", async || {
        let tried = api.post(&format!("{pods}?dryRun=All"), &pod("p", json!({}))).await;
        let resources = tried.body["spec"]["containers"][0]["resources"].clone();
        let expected = json!({"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "512Mi"}});
        if resources == expected { Ok(()) } else { Err(tried.body) }
    })
    .await;
    for (what, resources, word) in [
        ("too little", json!({"requests": {"cpu": "10m"}, "limits": {"cpu": "50m"}}), "minimum cpu usage per Container is 50m"),
        ("too much", json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}), "maximum cpu usage per Container is 1"),
        (
            "too far apart",
            json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "900m"}}),
            "cpu max limit to request ratio per Container is 5",
        ),
    ] {
        let mut wrong = pod("p", json!({}));
        wrong["spec"]["containers"][0]["resources"] = resources;
        case.refused(what, &api.post(&pods, &wrong).await, 403, "Forbidden", word);
    }
    let claim =
        json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}}}});
    let refused = api.post(&core(&name, "persistentvolumeclaims"), &claim).await;
    case.refused("a claim too large", &refused, 403, "Forbidden", "maximum storage usage per PersistentVolumeClaim is 2Gi");
}
