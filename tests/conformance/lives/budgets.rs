//! Disruption budgets and evictions.

use serde_json::json;

use super::{core, create, group, home, pod};
use crate::api::{Api, MERGE};
use crate::case::Case;

pub async fn life(api: &Api, case: &Case) {
    let name = home(api, case, "life-budgets").await;
    let (budgets, pods) = (group("policy", &name, "poddisruptionbudgets"), core(&name, "pods"));
    create(
        api,
        case,
        &budgets,
        &json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}}),
    )
    .await;
    create(api, case, &pods, &pod("p", json!({"app": "x"}))).await;
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    case.code("a pod runs", &api.patch(&format!("{pods}/p/status"), MERGE, &running).await, 200);
    let evict = async || {
        api.post(
            &format!("{pods}/p/eviction"),
            &json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": name}}),
        )
        .await
    };
    let none =
        json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    case.code("a budget that allows none", &api.patch(&format!("{budgets}/b/status"), MERGE, &none).await, 200);
    let refused = evict().await;
    case.refused("an eviction against the budget", &refused, 429, "TooManyRequests", "would violate the pod's disruption budget");
    case.code("the pod is still there", &api.get(&format!("{pods}/p")).await, 200);
    let one = api.patch(&format!("{budgets}/b/status"), MERGE, &json!({"status": {"disruptionsAllowed": 1}})).await;
    case.equal("a budget that allows one", one.body["status"]["disruptionsAllowed"].as_i64(), Some(1));
    case.code("an eviction within the budget", &evict().await, 201);
    super::gone(api, case, &format!("{pods}/p")).await;
    case.code("an eviction of what is not there", &evict().await, 404);
    for (what, spec) in [
        ("both bounds", json!({"minAvailable": 1, "maxUnavailable": 1})),
        ("a bound of less than none", json!({"minAvailable": -1})),
        ("a bound of more than all", json!({"minAvailable": "101%"})),
    ] {
        case.code(what, &api.post(&budgets, &json!({"metadata": {"name": "c"}, "spec": spec})).await, 422);
    }
    let percent = create(api, case, &budgets, &json!({"metadata": {"name": "d"}, "spec": {"maxUnavailable": "50%", "selector": {}}})).await;
    case.equal("a bound in percent", percent.text("/spec/maxUnavailable"), "50%");
}
