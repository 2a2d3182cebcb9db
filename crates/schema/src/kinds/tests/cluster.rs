//! Rows about nodes, namespaces, quotas and the small kinds of the core group.
use super::*;

#[test]
fn metadata_of_our_kinds_and_of_others() {
    let maps = Of::new("", "ConfigMap", true, json!({}));
    let owner = |o: Value| json!({"metadata": {"ownerReferences": [laid(json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}), &o)]}});
    maps.takes(&[json!({"metadata": {"finalizers": ["a.b/c", "orphan"]}}), owner(json!({"controller": true}))]);
    maps.refuses(&[
        (json!({"metadata": {"finalizers": ["x"]}}), "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified"),
        (json!({"metadata": {"finalizers": ["a b/c"]}}), "metadata.finalizers: Invalid value: \"a b/c\": prefix part"),
        (json!({"metadata": {"finalizers": ["orphan", "foregroundDeletion"]}}), "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set"),
        (owner(json!({"uid": null})), "metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty"),
        (owner(json!({"kind": "Event"})), "metadata.ownerReferences[0]: Invalid value: "),
    ]);
    Of::new("example.com", "Toy", true, json!({})).takes(&[json!({"metadata": {"finalizers": ["x"]}})]);
}

#[test]
fn maps_and_secrets() {
    let maps = Of::new("", "ConfigMap", true, json!({"data": {"a": "b"}}));
    maps.refuses(&[
        (json!({"binaryData": {"a": "YQ=="}}), "data[a]: Invalid value: \"a\": duplicate of key present in binaryData"),
        (json!({"data": {"a/b": "c"}}), "data[a/b]: Invalid value: \"a/b\": a valid config key"),
        (json!({"data": {"a": "x".repeat(1024 * 1024 + 1)}}), "[]: Too long: may not be more than 1048576 bytes"),
    ]);
    maps.changes(
        None,
        &[
            (json!({"immutable": true}), json!({"data": {"a": "c"}}), "data: Forbidden: field is immutable when `immutable` is set"),
            (json!({"immutable": true}), json!({"immutable": false}), "immutable: Forbidden: field is immutable when `immutable` is set"),
            (json!({}), json!({"immutable": true}), ""),
        ],
    );
    let secrets = Of::new("", "Secret", true, json!({}));
    let of = |kind: &str, data: Value| json!({"type": kind, "data": data});
    secrets.takes(&[of("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "e30="})), of("a.b/c", json!({}))]);
    secrets.refuses(&[
        (
            of("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "W10="})),
            "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\"",
        ),
        (of("kubernetes.io/tls", json!({"tls.crt": "YQ=="})), "data[tls.key]: Required value"),
        (of("kubernetes.io/ssh-auth", json!({"ssh-privatekey": ""})), "data[ssh-privatekey]: Required value"),
        (of("kubernetes.io/basic-auth", json!({})), "data[username]: Required value"),
        (of("kubernetes.io/service-account-token", json!({})), "metadata.annotations[kubernetes.io/service-account.name]: Required value"),
    ]);
    secrets.changes(None, &[(json!({}), json!({"type": "a.b/c"}), "type: Invalid value: \"a.b/c\": field is immutable")]);
}

#[test]
fn nodes() {
    let nodes = Of::new("", "Node", false, json!({}));
    let spec = |s: Value| json!({"spec": s});
    nodes.takes(&[spec(json!({"podCIDRs": ["10.0.0.0/24", "fd00::/64"], "taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}]}))]);
    nodes.refuses(&[
        (spec(json!({"taints": [{"key": "a", "effect": "x"}]})), "metadata.taints[0].effect: Unsupported value: \"x\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""),
        (spec(json!({"taints": [{"key": "a", "effect": "NoExecute"}, {"key": "a", "value": "b", "effect": "NoExecute"}]})), "metadata.taints[1]: Duplicate value: {\"key\":\"a\",\"value\":\"b\",\"effect\":\"NoExecute\"}: taints must be unique by key and effect pair"),
        (spec(json!({"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]})), "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one CIDR for each IP family"),
        (json!({"status": {"capacity": {"cpu": "-1"}}}), "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0"),
    ]);
    nodes.changes(
        None,
        &[
            (json!({}), spec(json!({"podCIDRs": ["10.0.0.0/24"], "providerID": "a"})), ""),
            (
                spec(json!({"podCIDRs": ["10.0.0.0/24"]})),
                spec(json!({"podCIDRs": ["10.0.1.0/24"]})),
                "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
            ),
            (
                spec(json!({"providerID": "a"})),
                spec(json!({"providerID": "b"})),
                "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
            ),
        ],
    );
    let address = json!({"type": "InternalIP", "address": "1.1.1.1"});
    nodes.changes(
        Some("status"),
        &[(json!({}), json!({"status": {"addresses": [address, address]}}), "status.addresses[1]: Duplicate value: ")],
    );
}

#[test]
fn namespaces() {
    let spaces = Of::new("", "Namespace", false, json!({}));
    spaces.refuses(&[(
        json!({"spec": {"finalizers": ["x"]}}),
        "spec.finalizers: Invalid value: \"x\": name is neither a standard finalizer name",
    )]);
    spaces.changes(
        Some("status"),
        &[
            (json!({}), json!({"status": {"phase": "Active"}}), ""),
            (
                json!({}),
                json!({"status": {"phase": "Terminating"}}),
                "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty",
            ),
        ],
    );
    spaces
        .changes(Some("finalize"), &[(json!({}), json!({"spec": {"finalizers": ["a b"]}}), "spec.finalizers[0]: Invalid value: \"a b\"")]);
}

#[test]
fn limits_and_quotas() {
    let limits = Of::new("", "LimitRange", true, json!({}));
    let limit = |l: Value| json!({"spec": {"limits": [laid(json!({"type": "Container"}), &l)]}});
    limits.takes(&[
        limit(json!({"min": {"cpu": "1"}, "max": {"cpu": "4"}, "default": {"cpu": "3"}, "defaultRequest": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "4"}})),
        limit(json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}})),
        limit(json!({"type": "example.com/x", "max": {"storage": "1"}})),
    ]);
    limits.refuses(&[
        (
            limit(json!({"type": "Thing"})),
            "spec.limits[0].type: Invalid value: \"Thing\": must be a standard limit type or fully qualified",
        ),
        (json!({"spec": {"limits": [{"type": "Pod"}, {"type": "Pod"}]}}), "spec.limits[1].type: Duplicate value: \"Pod\""),
        (
            limit(json!({"type": "Pod", "default": {"cpu": "1"}})),
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
        ),
        (
            limit(json!({"type": "PersistentVolumeClaim"})),
            "spec.limits[0].limits: Required value: either minimum or maximum storage value is required",
        ),
        (
            limit(json!({"min": {"cpu": "2"}, "max": {"cpu": "1"}})),
            "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
        ),
        (
            limit(json!({"defaultRequest": {"cpu": "2"}, "default": {"cpu": "1"}})),
            "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit value 1",
        ),
        (
            limit(json!({"maxLimitRequestRatio": {"cpu": "500m"}})),
            "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
        ),
        (
            limit(json!({"min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}})),
            "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
        ),
        (
            limit(json!({"max": {"storage": "1"}})),
            "spec.limits[0].max[storage]: Invalid value: \"storage\": must be a standard resource for containers",
        ),
    ]);
    let quotas = Of::new("", "ResourceQuota", true, json!({}));
    let spec = |s: Value| json!({"spec": s});
    quotas.takes(&[
        spec(json!({"hard": {"pods": 1, "requests.cpu": "1", "count/things.example.com": 1, "gold.storageclass.storage.k8s.io/requests.storage": "1Gi", "requests.nvidia.com/gpu": 4}})),
        spec(json!({"hard": {"pods": 1}, "scopes": ["BestEffort"]})),
        spec(json!({"hard": {"cpu": 1}, "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["a"]}]}})),
    ]);
    quotas.refuses(&[
        (spec(json!({"hard": {"storage": "1"}})), "spec.hard[storage]: Invalid value: \"storage\": must be a standard resource for quota"),
        (spec(json!({"hard": {"pods": "1500m"}})), "spec.hard[pods]: Invalid value: \"1500m\": must be an integer"),
        (spec(json!({"hard": {"pods": -1}})), "spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"),
        (spec(json!({"scopes": ["x"]})), "spec.scopes: Invalid value: [\"x\"]: unsupported scope"),
        (spec(json!({"hard": {"cpu": 1}, "scopes": ["BestEffort"]})), "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"),
        (spec(json!({"scopes": ["Terminating", "NotTerminating"]})), "spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\"]: conflicting scopes"),
        (spec(json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}})), "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"),
    ]);
    quotas.changes(
        None,
        &[
            (
                spec(json!({"scopes": ["Terminating"]})),
                spec(json!({"scopes": ["BestEffort"]})),
                "spec.scopes: Invalid value: [\"BestEffort\"]: field is immutable",
            ),
            (json!({}), spec(json!({"hard": {"pods": 2}})), ""),
        ],
    );
    quotas.changes(Some("status"), &[(json!({}), json!({"status": {"used": {"pods": -1}}}), "status.used[pods]: Invalid value: \"-1\"")]);
}

#[test]
fn events_of_both_apis() {
    let involved = json!({"kind": "Pod", "namespace": "default", "name": "p"});
    let old = Of::new("", "Event", true, json!({"involvedObject": involved, "reason": "Told", "message": "m", "type": "Normal"}));
    old.takes(&[json!({}), json!({"type": "Strange"}), json!({"count": 3}), json!({"involvedObject": {"namespace": null}})]);
    old.refuses(&[
        (
            json!({"involvedObject": {"namespace": "other"}}),
            "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace",
        ),
        (json!({"eventTime": "2026-01-01T00:00:00.000000Z"}), "reportingController: Required value"),
    ]);
    old.changes(None, &[(json!({}), json!({"reason": "Retold"}), "")]);
    let new = Of::new(
        "events.k8s.io",
        "Event",
        true,
        json!({"involvedObject": involved, "reason": "Told", "type": "Normal", "action": "Tell", "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingComponent": "example.com/c", "reportingInstance": "i"}),
    );
    new.takes(&[json!({}), json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}})]);
    new.refuses(&[
        (json!({"eventTime": null}), "eventTime: Required value"),
        (json!({"action": null}), "action: Required value"),
        (json!({"reportingComponent": "a b"}), "reportingController: Invalid value: \"a b\": "),
        (json!({"reason": "r".repeat(129)}), "reason: Invalid value: \"\": can have at most 128 characters"),
        (json!({"message": "m".repeat(1025)}), "message: Invalid value: \"\": can have at most 1024 characters"),
        (json!({"type": "Strange"}), "type: Invalid value: \"\": has invalid value: Strange"),
        (json!({"count": 1}), "count: Invalid value: \"\": needs to be unset"),
        (json!({"source": {"component": "c"}}), "source: Invalid value: \"\": needs to be unset"),
        (json!({"series": {"count": 1}}), "series.count: Invalid value: \"\": should be at least 2"),
    ]);
    new.changes(
        None,
        &[
            (json!({}), json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}), ""),
            (json!({}), json!({"series": {"count": 2}}), "series.lastObservedTime: Required value"),
            (json!({}), json!({"reason": "Retold"}), "reason: Invalid value: \"Retold\": field is immutable"),
            (
                json!({}),
                json!({"reportingComponent": "example.com/d"}),
                "reportingController: Invalid value: \"example.com/d\": field is immutable",
            ),
        ],
    );
}

#[test]
fn a_condition_of_a_request_knows_when_it_came_about() {
    use tricorn_meta::Timestamp;
    let condition = |status: &str| json!({"status": {"conditions": [{"type": "Approved", "status": status}]}});
    let (mut first, early, late) = (condition("True"), Timestamp::from_seconds(0), Timestamp::from_seconds(60));
    crate::kinds::date_conditions(&mut first, &json!({}), early);
    let times = |of: &Value| ["lastUpdateTime", "lastTransitionTime"].map(|key| of["status"]["conditions"][0][key].clone());
    assert_eq!(times(&first), ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]);
    for (status, since) in [("True", "1970-01-01T00:00:00Z"), ("False", "1970-01-01T00:01:00Z")] {
        let mut second = condition(status);
        crate::kinds::date_conditions(&mut second, &first, late);
        assert_eq!(times(&second), ["1970-01-01T00:01:00Z", since]);
    }
}
