//! What keeps pods running, as far as that shows without a node.

use serde_json::{Value, json};

use super::{core, create, group, home};
use crate::api::{Api, MERGE};
use crate::case::Case;

/// Sets whose pods have claims of their own.
pub async fn stateful(api: &Api, case: &Case) {
    let name = home(api, case, "life-stateful").await;
    let sets = group("apps", &name, "statefulsets");
    let claim = |name: &str| json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let set = |claims: Value| {
        let mounts = json!([{"name": "data", "mountPath": "/data"}]);
        json!({"metadata": {"name": "s"}, "spec": {
            "serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "volumeClaimTemplates": claims,
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "i", "volumeMounts": mounts}]}},
        }})
    };
    let lacking = api.post(&sets, &set(json!([claim("other")]))).await;
    case.refused(
        "a mount that no claim is for",
        &lacking,
        422,
        "Invalid",
        "spec.template.spec.containers[0].volumeMounts[0].name: Not found",
    );
    let mut wrong = claim("data");
    wrong["spec"]["accessModes"] = json!([]);
    case.refused(
        "a claim that is none",
        &api.post(&sets, &set(json!([wrong]))).await,
        422,
        "Invalid",
        "at least 1 access mode is required",
    );
    let made = create(api, case, &sets, &set(json!([claim("data")]))).await;
    let defaulted = &made.body["spec"]["volumeClaimTemplates"][0];
    case.equal(
        "its claim has its defaults",
        (&defaulted["kind"], &defaulted["spec"]["volumeMode"]),
        (&json!("PersistentVolumeClaim"), &json!("Filesystem")),
    );
    case.soon("the first pod has its claim", async || {
        let claim = api.get(&format!("{}/data-s-0", core(&name, "persistentvolumeclaims"))).await;
        let pod = api.get(&format!("{}/s-0", core(&name, "pods"))).await;
        let volumes = pod.body["spec"]["volumes"].as_array().into_iter().flatten();
        let mounted = volumes.filter(|volume| volume["persistentVolumeClaim"]["claimName"] == "data-s-0").count();
        if (claim.code, mounted) == (200, 1) { Ok(()) } else { Err((claim.code, pod.body)) }
    })
    .await;
    let more = json!({"spec": {"volumeClaimTemplates": [claim("data"), claim("more")]}});
    let changed = api.patch(&format!("{sets}/s?dryRun=All"), MERGE, &more).await;
    case.refused("its claims stay", &changed, 422, "Invalid", "updates to statefulset spec for fields other than");
    let scaled = api.patch(&format!("{sets}/s"), MERGE, &json!({"spec": {"replicas": 0}})).await;
    case.equal("its size does not", (scaled.code, scaled.body["spec"]["replicas"].as_i64()), (200, Some(0)));
}
