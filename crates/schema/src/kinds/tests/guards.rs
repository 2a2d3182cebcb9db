//! Rows about who may what, who waits, certificates, classes and devices.
use super::*;

#[test]
fn roles_and_bindings() {
    let roles = Of::new("rbac.authorization.k8s.io", "Role", true, json!({}));
    let rule = |r: Value| json!({"rules": [r]});
    roles.takes(&[rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}))]);
    roles.refuses(&[
        (rule(json!({"apiGroups": [""], "resources": ["pods"]})), "rules[0].verbs: Required value: verbs must contain at least one value"),
        (
            rule(json!({"verbs": ["get"], "nonResourceURLs": ["/a"]})),
            "rules[0].nonResourceURLs: Invalid value: [\"/a\"]: namespaced rules cannot apply to non-resource URLs",
        ),
    ]);
    let bindings = Of::new(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        true,
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}]}),
    );
    bindings.takes(&[json!({})]);
    bindings.refuses(&[
        (json!({"roleRef": {"name": "a/b"}}), "roleRef.name: Invalid value: \"a/b\": may not contain '/'"),
        (json!({"roleRef": {"kind": "x"}}), "roleRef.kind: Unsupported value: \"x\": supported values: \"ClusterRole\", \"Role\""),
        (json!({"subjects": [{"kind": "ServiceAccount", "name": "A"}]}), "subjects[0].name: Invalid value: \"A\""),
    ]);
    bindings.changes(None, &[(json!({}), json!({"roleRef": {"name": "q"}}), "roleRef: Invalid value: ")]);
}

#[test]
fn flow_control() {
    let schemas =
        Of::new("flowcontrol.apiserver.k8s.io", "FlowSchema", false, json!({"spec": {"priorityLevelConfiguration": {"name": "p"}}}));
    let spec = |s: Value| json!({"spec": s});
    let rule = |r: Value| {
        let good = json!({"subjects": [{"kind": "User", "user": {"name": "*"}}], "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]});
        json!({"spec": {"rules": [laid(good, &r)]}})
    };
    schemas.takes(&[
        json!({}),
        rule(json!({})),
        rule(json!({"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz/*"]}]})),
    ]);
    schemas.refuses(&[
        (
            spec(json!({"matchingPrecedence": 1})),
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
        ),
        (
            spec(json!({"priorityLevelConfiguration": {"name": ""}})),
            "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
        ),
        (rule(json!({"subjects": []})), "spec.rules[0].subjects: Required value: subjects must contain at least one value"),
        (
            rule(json!({"subjects": [{"kind": "User"}]})),
            "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
        ),
        (
            rule(json!({"subjects": [{"kind": "User", "user": {"name": "a"}, "group": {"name": "g"}}]})),
            "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
        ),
        (
            rule(json!({"resourceRules": []})),
            "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
        ),
        (
            rule(json!({"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["a"]}]})),
            "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"a\": must start with slash",
        ),
    ]);
    let levels = Of::new(
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        false,
        json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {"queues": 64}}}}}),
    );
    levels.takes(&[json!({}), spec(json!({"limited": {"limitResponse": {"type": "Reject", "queuing": null}}}))]);
    levels.refuses(&[
        (spec(json!({"type": "Exempt", "limited": null})), "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"),
        (spec(json!({"limited": null})), "spec.limited: Required value: must not be empty when type is Limited"),
        (spec(json!({"limited": {"lendablePercent": 101}})), "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive"),
        (spec(json!({"limited": {"limitResponse": {"queuing": {"handSize": 65}}}})), "spec.limited.limitResponse.queuing.handSize: Invalid value: 65: should not be greater than queues (64)"),
        (spec(json!({"limited": {"limitResponse": {"queuing": {"handSize": 11}}}})), "spec.limited.limitResponse.queuing.handSize: Invalid value: 11: required entropy bits of deckSize 64 and handSize 11 should not be greater than 60"),
        (spec(json!({"limited": {"limitResponse": {"type": "Reject"}}})), "spec.limited.limitResponse.queuing: Forbidden: must be nil"),
    ]);
}

#[test]
fn certificates() {
    let pem = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0=";
    let requests = Of::new(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        false,
        json!({"spec": {"request": pem, "signerName": "a.b/c", "usages": ["client auth"]}}),
    );
    let spec = |s: Value| json!({"spec": s});
    requests.takes(&[json!({})]);
    requests.refuses(&[
        (spec(json!({"request": "YQ=="})), "spec.request: Invalid value: \"YQ==\": PEM block type must be CERTIFICATE REQUEST"),
        (spec(json!({"usages": []})), "spec.usages: Required value"),
        (spec(json!({"usages": ["x"]})), "spec.usages[0]: Unsupported value: \"x\": supported values: \"any\""),
        (
            spec(json!({"signerName": "kubernetes.io/legacy-unknown"})),
            "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
        ),
        (
            spec(json!({"signerName": "abc"})),
            "spec.signerName: Invalid value: \"abc\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ),
        (
            spec(json!({"signerName": "a/b"})),
            "spec.signerName: Invalid value: \"a\": should be a domain with at least two segments separated by dots",
        ),
        (
            spec(json!({"expirationSeconds": 60})),
            "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 600 seconds (10 minutes)",
        ),
    ]);
    let approved = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}]}});
    requests.changes(None, &[(json!({}), spec(json!({"signerName": "a.b/d"})), "")]);
    requests.changes(
        Some("approval"),
        &[
            (json!({}), approved.clone(), ""),
            (
                json!({}),
                json!({"status": {"conditions": [{"type": "Approved", "status": "False"}]}}),
                "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"",
            ),
            (
                json!({}),
                json!({"status": {"conditions": [{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]}}),
                "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
            ),
        ],
    );
    requests.changes(
        Some("status"),
        &[
            (json!({}), json!({"status": {"certificate": "YQ=="}}), ""),
            (json!({}), approved, "status.conditions: Forbidden: updates may not add a condition of type \"Approved\""),
        ],
    );
}

#[test]
fn classes_and_leases() {
    let leases = Of::new("coordination.k8s.io", "Lease", true, json!({"spec": {"leaseDurationSeconds": 5}}));
    leases.takes(&[json!({})]);
    leases.refuses(&[
        (json!({"spec": {"leaseDurationSeconds": 0}}), "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
        (json!({"spec": {"leaseTransitions": -1}}), "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"),
    ]);
    let classes = Of::new("scheduling.k8s.io", "PriorityClass", false, json!({"value": 5}));
    classes.takes(&[json!({})]);
    classes.refuses(&[
        (json!({"value": 1_000_000_001}), "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"),
        (
            json!({"metadata": {"name": "system-x"}}),
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class",
        ),
        (
            json!({"metadata": {"name": "system-node-critical"}}),
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000",
        ),
    ]);
    classes.changes(
        None,
        &[
            (json!({}), json!({"value": 6}), "value: Forbidden: may not be changed in an update."),
            (json!({}), json!({"preemptionPolicy": "Never"}), "preemptionPolicy: Invalid value: \"Never\": field is immutable"),
        ],
    );
    let runtimes = Of::new("node.k8s.io", "RuntimeClass", false, json!({"handler": "runc"}));
    runtimes.takes(&[json!({"overhead": {"podFixed": {"cpu": "1"}}, "scheduling": {"tolerations": [{"key": "a", "operator": "Exists"}]}})]);
    runtimes.refuses(&[
        (json!({"handler": "A"}), "handler: Invalid value: \"A\": a lowercase RFC 1123 label"),
        (json!({"overhead": {"podFixed": {"tea": "1"}}}), "overhead.limits[tea]: Invalid value: \"tea\""),
        (
            json!({"scheduling": {"tolerations": [{"key": "a", "operator": "x"}]}}),
            "scheduling.tolerations[0].operator: Unsupported value: \"x\"",
        ),
    ]);
    runtimes.changes(None, &[(json!({}), json!({"handler": "other"}), "handler: Invalid value: \"other\": field is immutable")]);
}

#[test]
fn devices() {
    let claim =
        |r: Value| json!({"spec": {"devices": {"requests": [laid(json!({"name": "a", "exactly": {"deviceClassName": "gpu"}}), &r)]}}});
    let claims = Of::new("resource.k8s.io", "ResourceClaim", true, json!({}));
    claims.takes(&[claim(json!({})), claim(json!({"exactly": null, "firstAvailable": [{"name": "x", "deviceClassName": "gpu"}]}))]);
    claims.refuses(&[
        (claim(json!({"name": "A"})), "spec.devices.requests[0].name: Invalid value: \"A\""),
        (
            claim(json!({"exactly": null})),
            "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
        ),
        (claim(json!({"exactly": {"deviceClassName": ""}})), "spec.devices.requests[0].exactly.deviceClassName: Required value"),
        (
            claim(json!({"exactly": {"allocationMode": "All", "count": 2}})),
            "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
        ),
        (
            laid(claim(json!({})), &json!({"spec": {"devices": {"constraints": [{"requests": ["z"], "matchAttribute": "a.b/c"}]}}})),
            "spec.devices.constraints[0].requests[0]: Invalid value: \"z\": must be the name of a request in the claim",
        ),
    ]);
    claims.changes(None, &[(claim(json!({})), claim(json!({"name": "b"})), "spec: Invalid value: ")]);
    claims.changes(
        Some("status"),
        &[(
            json!({}),
            json!({"status": {"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]}}),
            "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
        )],
    );
    let slices = Of::new(
        "resource.k8s.io",
        "ResourceSlice",
        false,
        json!({"spec": {"driver": "a.b", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "nodeName": "n"}}),
    );
    slices.takes(&[json!({})]);
    slices.refuses(&[
        (
            json!({"spec": {"nodeName": null}}),
            "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
        ),
        (json!({"spec": {"allNodes": true}}), "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of"),
        (json!({"spec": {"devices": [{"name": "a"}, {"name": "a"}]}}), "spec.devices[1].name: Duplicate value: \"a\""),
        (
            json!({"spec": {"devices": [{"name": "a", "attributes": {"x": {}}}]}}),
            "spec.devices[0].attributes[x]: Invalid value: {}: exactly one value must be specified",
        ),
    ]);
    slices.changes(None, &[(json!({}), json!({"spec": {"nodeName": "m"}}), "spec.nodeName: Invalid value: \"m\": field is immutable")]);
}
