#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tricorn_meta::Timestamp;

use super::{counted_in, matches, usage};

fn told(amounts: &super::Amounts) -> Value {
    Value::Object(amounts.iter().map(|(name, amount)| (name.clone(), amount.to_string().into())).collect())
}

#[test]
fn each_name_of_a_quota_is_about_one_resource() {
    for (name, expected) in [
        ("pods", Some(("", "pods"))),
        ("count/pods", Some(("", "pods"))),
        ("count/deployments.apps", Some(("apps", "deployments"))),
        ("count/widgets.example.com", Some(("example.com", "widgets"))),
        ("cpu", Some(("", "pods"))),
        ("requests.memory", Some(("", "pods"))),
        ("limits.ephemeral-storage", Some(("", "pods"))),
        ("limits.hugepages-2Mi", None),
        ("requests.hugepages-2Mi", Some(("", "pods"))),
        ("requests.example.com/device", Some(("", "pods"))),
        ("requests.kubernetes.io/device", None),
        ("requests.storage", Some(("", "persistentvolumeclaims"))),
        ("gold.storageclass.storage.k8s.io/requests.storage", Some(("", "persistentvolumeclaims"))),
        ("services.nodeports", Some(("", "services"))),
        ("secrets", Some(("", "secrets"))),
        ("example.com/device", None),
    ] {
        assert_eq!(counted_in(name), expected, "{name}");
    }
}

#[test]
fn a_pod_counts_for_what_it_asks_for() {
    let mut pod = json!({"spec": {
        "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m", "example.com/device": "2"}, "limits": {"memory": "1Gi"}}}, {"name": "b"}],
        "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}}],
        "overhead": {"cpu": "50m"},
    }});
    let expected = json!({"count/pods": "1", "pods": "1", "cpu": "1050m", "requests.cpu": "1050m", "requests.example.com/device": "2", "limits.memory": "1Gi"});
    assert_eq!(told(&usage("", "pods", &pod, None)), expected);
    pod["status"] = json!({"phase": "Failed"});
    assert_eq!(told(&usage("", "pods", &pod, None)), json!({"count/pods": "1"}));
    pod["status"] = json!({"phase": "Running"});
    pod["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30});
    let at = |text: &str| Timestamp::parse(text);
    assert_eq!(told(&usage("", "pods", &pod, at("2026-01-01T00:00:30Z"))), expected);
    assert_eq!(told(&usage("", "pods", &pod, at("2026-01-01T00:00:31Z"))), json!({"count/pods": "1"}));
}

#[test]
fn claims_and_services_count_for_more_than_themselves() {
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1500m"}}}, "status": {"allocatedResources": {"storage": "1"}}});
    let expected = json!({
        "count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": "2",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1", "gold.storageclass.storage.k8s.io/requests.storage": "2",
    });
    assert_eq!(told(&usage("", "persistentvolumeclaims", &claim, None)), expected);
    let service = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2, "nodePort": 30000}]}});
    let of = |service: &Value| told(&usage("", "services", service, None))["services.nodeports"].clone();
    assert_eq!(of(&service), "2");
    let mut sparing = service.clone();
    sparing["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
    assert_eq!(of(&sparing), "1");
    assert_eq!(told(&usage("apps", "deployments", &json!({}), None)), json!({"count/deployments.apps": "1"}));
}

#[test]
fn scopes_choose_pods() {
    let quota = |scopes: Value, expressions: Value| json!({"spec": {"scopes": scopes, "scopeSelector": {"matchExpressions": expressions}}});
    let idle = json!({"spec": {"containers": [{"name": "c"}], "priorityClassName": "high", "activeDeadlineSeconds": 5}});
    let busy = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}});
    let class = |operator: &str, values: Value| json!([{"scopeName": "PriorityClass", "operator": operator, "values": values}]);
    for (scopes, expressions, of_idle, of_busy) in [
        (json!([]), json!([]), true, true),
        (json!(["BestEffort"]), json!([]), true, false),
        (json!(["NotBestEffort"]), json!([]), false, true),
        (json!(["Terminating"]), json!([]), true, false),
        (json!(["NotTerminating", "NotBestEffort"]), json!([]), false, true),
        (json!([]), class("In", json!(["high"])), true, false),
        (json!([]), class("NotIn", json!(["high"])), false, true),
        (json!([]), class("Exists", json!([])), true, false),
        (json!([]), class("DoesNotExist", json!([])), false, true),
        (json!(["VolumeAttributesClass"]), json!([]), false, false),
    ] {
        let quota = quota(scopes, expressions);
        assert_eq!((matches(&quota, "", "pods", &idle), matches(&quota, "", "pods", &busy)), (of_idle, of_busy), "{quota}");
    }
    assert!(!matches(&quota(json!(["BestEffort"]), json!([])), "", "configmaps", &json!({})));
}
