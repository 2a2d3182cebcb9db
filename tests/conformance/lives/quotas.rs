//! What a namespace may use, and what its objects must look like.

use serde_json::json;

use super::{config_map, core, create, home, pod};
use crate::api::{Api, MERGE};
use crate::case::Case;

pub async fn quota(api: &Api, case: &Case) {
    let name = home(api, case, "life-quota").await;
    let (quotas, maps, pods) = (core(&name, "resourcequotas"), core(&name, "configmaps"), core(&name, "pods"));
    let one = format!("{quotas}/q");
    case.soon("the certificate is there before it is counted", async || {
        if api.get(&format!("{maps}/kube-root-ca.crt")).await.code == 200 { Ok(()) } else { Err(()) }
    })
    .await;
    let hard = json!({"configmaps": "2", "count/pods": "1", "requests.cpu": "1", "limits.memory": "1Gi"});
    create(api, case, &quotas, &json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    let used = async |what: &str, expected: serde_json::Value| {
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
