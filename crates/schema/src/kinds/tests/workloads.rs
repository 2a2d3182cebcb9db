//! Rows about kinds that make pods, and what scales and guards them.
use super::*;

fn web(kind: &'static str) -> Of {
    let spec = json!({"selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}}});
    Of::new("apps", kind, true, json!({"spec": spec}))
}

#[test]
fn sets_and_deployments() {
    let spec = |s: Value| json!({"spec": s});
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"] {
        web(kind).takes(&[json!({})]);
        web(kind).refuses(&[
            (
                spec(json!({"template": {"spec": {"restartPolicy": "Never"}}})),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
            (spec(json!({"selector": {"matchLabels": null}})), "spec.selector: Invalid value: {}: empty selector is invalid for "),
        ]);
        web(kind).changes(None, &[(json!({}), spec(json!({"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}})), "")]);
    }
    web("Deployment").refuses(&[
        (
            spec(json!({"strategy": {"type": "x"}})),
            "spec.strategy: Unsupported value: {\"type\":\"x\"}: supported values: \"Recreate\", \"RollingUpdate\"",
        ),
        (
            spec(json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}})),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            spec(json!({"template": {"spec": {"activeDeadlineSeconds": 5}}})),
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ),
    ]);
    web("StatefulSet").refuses(&[
        (spec(json!({"podManagementPolicy": "x"})), "spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'"),
        (
            spec(json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}})),
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
        ),
        (
            spec(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}})),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
        ),
        (spec(json!({"ordinals": {"start": -1}})), "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"),
    ]);
    let claim = |name: &str| json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let mounted = |claims: Value| {
        let container = json!({"name": "c", "image": "web:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
        spec(json!({"volumeClaimTemplates": claims, "template": {"spec": {"containers": [container]}}}))
    };
    web("StatefulSet").takes(&[mounted(json!([claim("data")])), mounted(json!([claim("data"), claim("more")]))]);
    web("StatefulSet").refuses(&[
        (mounted(json!([claim("other")])), "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""),
        (
            mounted(json!([laid(claim("data"), &json!({"spec": {"accessModes": []}}))])),
            "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
        ),
        (spec(json!({"serviceName": "a.b"})), "spec.serviceName: Invalid value: \"a.b\": must not contain dots"),
        (json!({"metadata": {"name": "a.b"}}), "metadata.name: Invalid value: \"a.b\": must not contain dots"),
    ]);
    web("StatefulSet").changes(
        None,
        &[(
            mounted(json!([claim("data")])),
            mounted(json!([claim("data"), claim("more")])),
            "spec: Forbidden: updates to statefulset spec for fields other than",
        )],
    );
    web("StatefulSet").changes(
        None,
        &[(json!({}), spec(json!({"serviceName": "other"})), "spec: Forbidden: updates to statefulset spec for fields other than")],
    );
    web("DaemonSet").refuses(&[
        (
            spec(json!({"updateStrategy": {"type": "x"}})),
            "spec.updateStrategy: Unsupported value: {\"type\":\"x\"}: supported values: \"RollingUpdate\", \"OnDelete\"",
        ),
        (
            spec(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}})),
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
        ),
    ]);
    web("ReplicaSet").changes(
        Some("status"),
        &[
            (json!({}), json!({"status": {"replicas": 2, "readyReplicas": 1}}), ""),
            (json!({}), json!({"status": {"replicas": -1}}), "status.replicas: Invalid value: -1: must be greater than or equal to 0"),
            (
                json!({}),
                json!({"status": {"replicas": 1, "readyReplicas": 2}}),
                "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
            ),
            (
                json!({}),
                json!({"status": {"replicas": 1, "availableReplicas": 1}}),
                "status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas",
            ),
        ],
    );
}

#[test]
fn jobs() {
    let jobs = Of::new(
        "batch",
        "Job",
        true,
        json!({"metadata": {"uid": "u"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]}}}}),
    );
    let spec = |s: Value| json!({"spec": s});
    let template = |container: Value| {
        let whole = laid(
            json!({"name": "c", "image": "a", "imagePullPolicy": "Always", "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File", "resources": {}}),
            &container,
        );
        json!({"spec": {"template": {"spec": {"containers": [whole]}}}})
    };
    let indexed = |s: Value| json!({"spec": laid(json!({"completionMode": "Indexed", "completions": 5}), &s)});
    let fails = |rule: Value| json!({"spec": {"podFailurePolicy": {"rules": [laid(json!({"action": "FailJob"}), &rule)]}}});
    jobs.takes(&[
        json!({}),
        spec(json!({"selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}})),
        indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 2})),
        indexed(json!({"successPolicy": {"rules": [{"succeededIndexes": "0,2-4", "succeededCount": 2}]}})),
        fails(json!({"onExitCodes": {"operator": "In", "values": [1, 2]}})),
        fails(json!({"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]})),
        spec(json!({"managedBy": "a.b/c"})),
    ]);
    jobs.refuses(&[
        (spec(json!({"selector": {"matchLabels": {"a": "b"}}})), "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"batch.kubernetes.io/controller-uid\":\"u\"}}: `selector` not auto-generated"),
        (spec(json!({"template": {"spec": {"restartPolicy": "Always"}}})), "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""),
        (spec(json!({"backoffLimitPerIndex": 1})), "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"),
        (spec(json!({"completionMode": "Indexed", "parallelism": 1})), "spec.completions: Required value: when completion mode is Indexed"),
        (indexed(json!({"maxFailedIndexes": 1})), "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"),
        (indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 6})), "spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions"),
        (indexed(json!({"parallelism": 100001})), "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed"),
        (fails(json!({})), "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"),
        (fails(json!({"onExitCodes": {"operator": "In", "values": [0]}})), "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"),
        (fails(json!({"onExitCodes": {"operator": "In", "values": [2, 1]}})), "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be ordered"),
        (fails(json!({"onExitCodes": {"operator": "In", "values": [1], "containerName": "z"}})), "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"z\": must be one of the container or initContainer names in the pod template"),
        (fails(json!({"action": "FailIndex", "onPodConditions": [{"type": "a"}]})), "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"),
        (fails(json!({"onPodConditions": [{"type": "a", "status": "x"}]})), "spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: \"x\": supported values: \"False\", \"True\", \"Unknown\""),
        (indexed(json!({"successPolicy": {}})), "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified"),
        (indexed(json!({"successPolicy": {"rules": [{"succeededIndexes": "2,1"}]}})), "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"2,1\": error parsing succeededIndexes: non-increasing order"),
        (spec(json!({"managedBy": "x"})), "spec.managedBy: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")"),
        (json!({"metadata": {"name": "a.b"}, "spec": {"completionMode": "Indexed", "completions": 1}}), "metadata.name: Invalid value: \"a.b\": will not able to create pod with invalid DNS label: a.b-0"),
    ]);
    jobs.changes(
        None,
        &[
            (json!({}), spec(json!({"parallelism": 3})), ""),
            (json!({}), spec(json!({"suspend": true})), ""),
            (json!({}), spec(json!({"completions": 3})), "spec.completions: Invalid value: 3: field is immutable"),
            (
                indexed(json!({})),
                spec(json!({"completions": 7})),
                "spec.completions: Invalid value: 7: can only be modified in tandem with spec.parallelism",
            ),
            (indexed(json!({})), spec(json!({"completions": 7, "parallelism": 7})), ""),
            (spec(json!({"suspend": true})), spec(json!({"template": {"spec": {"nodeSelector": {"a": "b"}}}})), ""),
            (json!({}), spec(json!({"template": {"spec": {"nodeSelector": {"a": "b"}}}})), "spec.template: Invalid value: "),
            (spec(json!({"suspend": true})), template(json!({"resources": {"limits": {"cpu": "1"}}})), ""),
            (spec(json!({"suspend": true})), template(json!({"image": "b"})), "spec.template: Invalid value: "),
            (
                spec(json!({"suspend": true})),
                spec(
                    json!({"template": {"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}}}}),
                ),
                "",
            ),
            (
                spec(json!({"suspend": true})),
                spec(json!({"template": {"spec": {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "podAffinityTerm": {"topologyKey": "a", "labelSelector": {}}}]}}}}})),
                "spec.template: Invalid value: ",
            ),
        ],
    );
    jobs.changes(
        Some("status"),
        &[(
            json!({}),
            json!({"status": {"uncountedTerminatedPods": {"succeeded": ["a", "a"]}}}),
            "status.uncountedTerminatedPods.succeeded[1]: Duplicate value: \"a\"",
        )],
    );
}

#[test]
fn cron_jobs() {
    let crons = Of::new(
        "batch",
        "CronJob",
        true,
        json!({"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]}}}}}}),
    );
    let spec = |s: Value| json!({"spec": s});
    crons.takes(&[spec(json!({"timeZone": "Europe/Berlin"})), spec(json!({"timeZone": "Etc/GMT+1"}))]);
    crons.refuses(&[
        (
            spec(json!({"schedule": "TZ=UTC 0 0 * * *"})),
            "spec.schedule: Invalid value: \"TZ=UTC 0 0 * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ),
        (spec(json!({"timeZone": ""})), "spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"),
        (spec(json!({"timeZone": "a b"})), "spec.timeZone: Invalid value: \"a b\": unknown time zone a b"),
        (spec(json!({"timeZone": "Local"})), "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone"),
        (
            spec(json!({"concurrencyPolicy": "x"})),
            "spec.concurrencyPolicy: Unsupported value: \"x\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
        ),
        (
            spec(json!({"jobTemplate": {"spec": {"selector": {}}}})),
            "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
        ),
        (
            spec(json!({"jobTemplate": {"spec": {"manualSelector": true}}})),
            "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
        ),
        (json!({"metadata": {"name": "a".repeat(53)}}), "metadata.name: Invalid value: "),
    ]);
}

#[test]
fn autoscalers_and_budgets() {
    let scalers = Of::new(
        "autoscaling",
        "HorizontalPodAutoscaler",
        true,
        json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}}),
    );
    let spec = |s: Value| json!({"spec": s});
    let metric = |m: Value| json!({"spec": {"metrics": [m]}});
    let cpu = |target: Value| metric(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    scalers.takes(&[
        cpu(json!({"type": "Utilization", "averageUtilization": 80})),
        metric(json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}})),
        spec(json!({"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}], "tolerance": "50m"}}})),
    ]);
    scalers.refuses(&[
        (spec(json!({"minReplicas": 5})), "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"),
        (spec(json!({"scaleTargetRef": {"name": ""}})), "spec.scaleTargetRef.name: Required value"),
        (metric(json!({"type": "x"})), "spec.metrics[0].type: Unsupported value: \"x\": supported values: \"ContainerResource\", \"External\""),
        (metric(json!({"type": "Pods"})), "spec.metrics[0].pods: Required value: must populate information for the given metric source"),
        (metric(json!({"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}, "resource": {"name": "cpu"}})), "spec.metrics[0].resource: Forbidden: must populate the given metric source only"),
        (cpu(json!({"type": "Utilization"})), "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"),
        (cpu(json!({"type": "Utilization", "averageUtilization": 0})), "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"),
        (cpu(json!({"type": "x", "averageUtilization": 1})), "spec.metrics[0].resource.target.type: Invalid value: \"x\": must be either Utilization, Value, or AverageValue"),
        (metric(json!({"type": "External", "external": {"metric": {"name": ""}, "target": {"type": "Value", "value": "1"}}})), "spec.metrics[0].external.metric.name: Required value: must specify a metric name"),
        (spec(json!({"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}}})), "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800"),
        (spec(json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}})), "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600"),
        (spec(json!({"behavior": {"scaleDown": {"selectPolicy": "x"}}})), "spec.behavior.scaleDown.selectPolicy: Unsupported value: \"x\": supported values: \"Disabled\", \"Max\", \"Min\""),
    ]);
    let budgets = Of::new("policy", "PodDisruptionBudget", true, json!({"spec": {"minAvailable": "50%", "selector": {}}}));
    budgets.takes(&[json!({})]);
    budgets.refuses(&[
        (spec(json!({"maxUnavailable": 1})), "spec: Invalid value: "),
        (spec(json!({"minAvailable": "101%"})), "spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%"),
        (spec(json!({"unhealthyPodEvictionPolicy": "x"})), "spec.unhealthyPodEvictionPolicy: Unsupported value: \"x\""),
    ]);
}
