//! Rows about pods.
use super::*;

fn pods() -> Of {
    Of::new("", "Pod", true, json!({"spec": {"containers": [{"name": "c", "image": "a"}]}}))
}

/// A pod whose one container has these fields too.
fn with(container: Value) -> Value {
    json!({"spec": {"containers": [laid(json!({"name": "c", "image": "a"}), &container)]}})
}

fn init(container: Value) -> Value {
    json!({"spec": {"initContainers": [laid(json!({"name": "i", "image": "a"}), &container)]}})
}

#[test]
fn containers() {
    pods().takes(&[
        with(json!({"ports": [{"name": "http", "containerPort": 80, "hostPort": 80}, {"containerPort": 80, "protocol": "UDP", "hostPort": 80}]})),
        with(json!({"resources": {"limits": {"cpu": "1", "example.com/gpu": 1, "hugepages-2Mi": "4Mi"}}})),
        with(json!({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]})),
        init(json!({"restartPolicy": "Always", "readinessProbe": {"exec": {"command": ["a"]}}})),
        with(json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]})),
        with(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}})),
    ]);
    pods().refuses(&[
        (with(json!({"image": " a"})), "spec.containers[0].image: Invalid value: \" a\": must not have leading or trailing whitespace"),
        (
            with(json!({"terminationMessagePolicy": "x"})),
            "spec.containers[0].terminationMessagePolicy: Unsupported value: \"x\": supported values: \"File\", \"FallbackToLogsOnError\"",
        ),
        (with(json!({"ports": [{"containerPort": 0}]})), "spec.containers[0].ports[0].containerPort: Required value"),
        (
            with(json!({"ports": [{"containerPort": 1, "name": "a--b"}]})),
            "spec.containers[0].ports[0].name: Invalid value: \"a--b\": must not contain consecutive hyphens",
        ),
        (
            with(json!({"ports": [{"containerPort": 1, "hostPort": 1}, {"containerPort": 2, "hostPort": 1}]})),
            "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//1\"",
        ),
        (
            laid(with(json!({"ports": [{"containerPort": 1, "hostPort": 2}]})), &json!({"spec": {"hostNetwork": true}})),
            "spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true",
        ),
        (
            init(json!({"livenessProbe": {"exec": {"command": ["a"]}}})),
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (init(json!({"name": "c"})), "spec.initContainers[0].name: Duplicate value: \"c\""),
        (
            with(json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]})),
            "spec.containers[0].restartPolicy: Required value",
        ),
        (
            with(json!({"resizePolicy": [{"resourceName": "disk", "restartPolicy": "NotRequired"}]})),
            "spec.containers[0].resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\"",
        ),
        (
            json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "a"}]}}),
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
        (
            json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "a", "targetContainerName": "z"}]}}),
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"z\"",
        ),
        (
            json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "a", "ports": [{"containerPort": 1}]}]}}),
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
        ),
    ]);
}

#[test]
fn probes_and_hooks() {
    let probe = |p: Value| with(json!({"readinessProbe": p}));
    pods().takes(&[
        probe(json!({"httpGet": {"port": "http", "httpHeaders": [{"name": "X-A", "value": "b"}]}})),
        probe(json!({"grpc": {"port": 1}, "successThreshold": 3})),
        with(json!({"livenessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 5}})),
    ]);
    pods().refuses(&[
        (with(json!({"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}})), "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"),
        (probe(json!({"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 5})), "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes"),
        (probe(json!({"exec": {}})), "spec.containers[0].readinessProbe.exec.command: Required value"),
        (probe(json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}})), "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"),
        (probe(json!({"httpGet": {"port": 0}})), "spec.containers[0].readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        (probe(json!({"httpGet": {"port": 1, "scheme": "ftp"}})), "spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: \"ftp\": supported values: \"HTTP\", \"HTTPS\""),
        (probe(json!({"httpGet": {"port": 1, "httpHeaders": [{"name": "a b"}]}})), "spec.containers[0].readinessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of"),
        (with(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}})), "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)"),
    ]);
}

#[test]
fn environment() {
    let env = |source: Value| with(json!({"env": [{"name": "A", "valueFrom": source}]}));
    pods().takes(&[
        env(json!({"fieldRef": {"fieldPath": "metadata.labels['app']"}})),
        env(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}})),
        env(json!({"configMapKeyRef": {"name": "m", "key": "k"}})),
        with(json!({"envFrom": [{"prefix": "A_", "secretRef": {"name": "s"}}]})),
        laid(
            env(json!({"fileKeyRef": {"volumeName": "v", "path": "a/b", "key": "K"}})),
            &json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
        ),
    ]);
    pods().refuses(&[
        (with(json!({"env": [{"name": "A=B"}]})), "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name"),
        (env(json!({})), "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of"),
        (with(json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]})), "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"),
        (env(json!({"fieldRef": {"fieldPath": "metadata.labels"}})), "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\""),
        (env(json!({"fieldRef": {"fieldPath": "spec.x"}})), "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x"),
        (env(json!({"fieldRef": {"fieldPath": "spec.x['a']"}})), "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x['a']\": error converting fieldPath: field label does not support subscript"),
        (env(json!({"fieldRef": {"fieldPath": "metadata.labels['a b']"}})), "spec.containers[0].env[0].valueFrom.fieldRef: Invalid value: \"a b\": name part must consist of"),
        (env(json!({"resourceFieldRef": {"resource": "limits.disk"}})), "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.disk\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\""),
        (env(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}})), "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported"),
        (env(json!({"secretKeyRef": {"name": "s"}})), "spec.containers[0].env[0].valueFrom.secretKeyRef.key: Required value"),
        (env(json!({"fileKeyRef": {"volumeName": "v", "path": "a", "key": "K"}})), "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: \"v\""),
        (with(json!({"envFrom": [{"configMapRef": {"name": "A"}}]})), "spec.containers[0].envFrom[0].configMapRef.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain"),
        (with(json!({"envFrom": [{}]})), "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"),
    ]);
}

#[test]
fn resources() {
    let asks = |r: Value| with(json!({"resources": r}));
    pods().takes(&[json!({"spec": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "3"}}, "overhead": {"cpu": "1"}}})]);
    pods().refuses(&[
        (asks(json!({"limits": {"pods": 1}})), "spec.containers[0].resources.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers"),
        (asks(json!({"limits": {"tea": 1}})), "spec.containers[0].resources.limits[tea]: Invalid value: \"tea\": must be a standard resource type or fully qualified"),
        (asks(json!({"limits": {"requests.a.b/c": 1}})), "spec.containers[0].resources.limits[requests.a.b/c]: Invalid value: \"requests.a.b/c\": doesn't follow extended resource name standard"),
        (asks(json!({"requests": {"a.b/c": 1}})), "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"),
        (asks(json!({"requests": {"a.b/c": 1}, "limits": {"a.b/c": 2}})), "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to a.b/c limit of 2"),
        (asks(json!({"limits": {"a.b/c": "1500m"}})), "spec.containers[0].resources.limits[a.b/c]: Invalid value: \"1500m\": must be an integer"),
        (asks(json!({"limits": {"cpu": "-1"}})), "spec.containers[0].resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"),
        (asks(json!({"limits": {"hugepages-2Mi": "2Mi"}})), "spec.containers[0].resources: Forbidden: HugePages require cpu or memory"),
        (asks(json!({"limits": {"cpu": "1", "hugepages-2Mi": "3Mi"}})), "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi"),
        (asks(json!({"claims": [{"name": "g"}]})), "spec.containers[0].resources.claims[0]: Not found: \"g\": must be one of the names in pod.spec.resourceClaims which is empty"),
        (json!({"spec": {"resourceClaims": [{"name": "g"}]}}), "spec.resourceClaims[0]: Invalid value: {\"name\":\"g\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
        (json!({"spec": {"resources": {"limits": {"a.b/c": 1}}}}), "spec.resources.limits[a.b/c]: Unsupported value: \"a.b/c\": supported values: \"cpu\", \"hugepages-\", \"memory\""),
        (laid(asks(json!({"requests": {"cpu": "3"}})), &json!({"spec": {"resources": {"requests": {"cpu": "2"}}}})), "spec.resources.requests[cpu]: Invalid value: \"2\": must be greater than or equal to aggregate container requests of 3"),
        (json!({"spec": {"overhead": {"tea": 1}}}), "spec.overhead.limits[tea]: Invalid value: \"tea\""),
    ]);
}

#[test]
fn the_spec() {
    let spec = |s: Value| json!({"spec": s});
    pods().takes(&[
        spec(json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": [".", "a_b.c."], "options": [{"name": "ndots"}]}})),
        spec(json!({"hostAliases": [{"ip": "1.1.1.1", "hostnames": ["a.b"]}], "readinessGates": [{"conditionType": "a.b/c"}]})),
        spec(json!({"imagePullSecrets": [{}], "schedulingGates": [{"name": "a.b/c"}], "os": {"name": "linux"}})),
    ]);
    pods().refuses(&[
        (spec(json!({"dnsPolicy": "None"})), "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        (spec(json!({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]}})), "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\"]: must not have more than 3 nameservers"),
        (spec(json!({"dnsConfig": {"searches": ["a b"]}})), "spec.dnsConfig.searches[0]: Invalid value: \"a b\": a lowercase RFC 1123 subdomain"),
        (spec(json!({"dnsConfig": {"options": [{"value": "x"}]}})), "spec.dnsConfig.options[0]: Required value: must not be empty"),
        (spec(json!({"hostAliases": [{"ip": "x"}]})), "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address"),
        (spec(json!({"readinessGates": [{"conditionType": "a b"}]})), "spec.readinessGates[0].conditionType: Invalid value: \"a b\""),
        (spec(json!({"schedulingGates": [{"name": "a"}, {"name": "a"}]})), "spec.schedulingGates[1]: Duplicate value: \"a\""),
        (spec(json!({"schedulingGates": [{"name": "a"}], "nodeName": "n"})), "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"),
        (spec(json!({"os": {"name": "beos"}})), "spec.os: Unsupported value: \"beos\": supported values: \"linux\", \"windows\""),
        (spec(json!({"os": {"name": "windows"}, "securityContext": {"runAsUser": 1}})), "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod"),
        (spec(json!({"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}})), "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"),
        (spec(json!({"securityContext": {"windowsOptions": {"hostProcess": true}}})), "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers"),
        (spec(json!({"hostUsers": false, "hostPID": true})), "spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false"),
        (spec(json!({"activeDeadlineSeconds": 0})), "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
        (json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "+1"}}}), "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer"),
        (json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}), "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set"),
    ]);
}

#[test]
fn security() {
    let pod = |s: Value| json!({"spec": {"securityContext": s}});
    let one = |s: Value| with(json!({"securityContext": s}));
    pods().takes(&[
        pod(json!({"sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "1 2"}, {"name": "kernel/shm_rmid_forced", "value": "1"}]})),
        pod(json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a/b"}, "appArmorProfile": {"type": "RuntimeDefault"}})),
        laid(one(json!({"procMount": "Unmasked"})), &json!({"spec": {"hostUsers": false}})),
    ]);
    pods().refuses(&[
        (pod(json!({"runAsUser": -1})), "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"),
        (pod(json!({"sysctls": [{"name": "a b", "value": "1"}]})), "spec.securityContext.sysctls[0].name: Invalid value: \"a b\": must have at most 253 characters and match regex"),
        (pod(json!({"sysctls": [{"name": "a"}, {"name": "a"}]})), "spec.securityContext.sysctls[1].name: Duplicate value: \"a\""),
        (laid(pod(json!({"sysctls": [{"name": "net.a"}]})), &json!({"spec": {"hostNetwork": true}})), "spec.securityContext.sysctls[0].name: Invalid value: \"net.a\": may not be specified when 'hostNetwork' is true"),
        (pod(json!({"seccompProfile": {}})), "spec.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set"),
        (pod(json!({"seccompProfile": {"type": "Localhost"}})), "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"),
        (pod(json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": " a"}})), "spec.securityContext.appArmorProfile.localhostProfile: Invalid value: \" a\": must not be padded with whitespace"),
        (pod(json!({"fsGroupChangePolicy": "x"})), "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"x\": supported values: \"Always\", \"OnRootMismatch\""),
        (pod(json!({"windowsOptions": {"runAsUserName": "a\\b\\c"}})), "spec.securityContext.windowsOptions.runAsUserName: Invalid value: \"a\\\\b\\\\c\": runAsUserName cannot contain more than one backslash"),
        (one(json!({"procMount": "Unmasked"})), "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`"),
        (one(json!({"allowPrivilegeEscalation": false, "privileged": true})), "spec.containers[0].securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"),
        (laid(json!({"spec": {"shareProcessNamespace": true, "hostPID": true}}), &pod(json!({}))), "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"),
    ]);
}

#[test]
fn scheduling() {
    let spec = |s: Value| json!({"spec": s});
    let node = |term: Value| json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}});
    let near = |term: Value| json!({"spec": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}});
    let spread = |c: Value| json!({"spec": {"topologySpreadConstraints": [laid(json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}), &c)]}});
    const NODE: &str = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]";
    const NEAR: &str = "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]";
    pods().takes(&[
        node(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]})),
        node(json!({})),
        near(json!({"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["a"], "mismatchLabelKeys": ["b"]})),
        spread(json!({"minDomains": 2, "labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["c"]})),
        spec(json!({"tolerations": [{"operator": "Exists"}, {"key": "a", "effect": "NoExecute", "tolerationSeconds": 5}]})),
    ]);
    pods().refuses(&[
        (spec(json!({"tolerations": [{"key": "a", "value": "b c"}]})), "spec.tolerations[0].operator: Invalid value: \"b c\": a valid label must be"),
        (spec(json!({"tolerations": [{"key": "a", "effect": "x"}]})), "spec.tolerations[0].effect: Unsupported value: \"x\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""),
        (node(json!({"matchFields": [{"key": "spec.x", "operator": "In", "values": ["n"]}]})), &format!("{NODE}.matchFields[0].key: Invalid value: \"spec.x\": not a valid field selector key")),
        (node(json!({"matchFields": [{"key": "metadata.name", "operator": "Exists"}]})), &format!("{NODE}.matchFields[0].operator: Invalid value: \"Exists\": not a valid selector operator")),
        (node(json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b c"]}]})), &format!("{NODE}.matchExpressions[0].values[0]: Invalid value: \"b c\": a valid label must be")),
        (near(json!({"topologyKey": ""})), &format!("{NEAR}.topologyKey: Required value: can not be empty")),
        (near(json!({"topologyKey": "z", "namespaces": ["A"]})), &format!("{NEAR}.namespace: Invalid value: \"A\"")),
        (near(json!({"topologyKey": "z", "matchLabelKeys": ["a"]})), &format!("{NEAR}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set")),
        (near(json!({"topologyKey": "z", "labelSelector": {}, "matchLabelKeys": ["a"], "mismatchLabelKeys": ["a"]})), &format!("{NEAR}.matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and mismatchLabelKeys")),
        (spread(json!({"maxSkew": 0})), "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"),
        (spread(json!({"whenUnsatisfiable": "ScheduleAnyway", "minDomains": 1})), "spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"),
        (spec(json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}, {"maxSkew": 2, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]})), "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, DoNotSchedule}\""),
    ]);
}

#[test]
fn changes() {
    let spec = |s: Value| json!({"spec": s});
    let fixed = "spec: Forbidden: pod updates may not change fields other than";
    let gates = json!([{"name": "g"}]);
    let affinity = |terms: Value| json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    pods().changes(
        None,
        &[
            (spec(json!({})), with(json!({"image": "b"})), ""),
            (spec(json!({})), with(json!({"image": "b "})), "spec.containers[0].image: Invalid value: \"b \": must not have leading"),
            (spec(json!({})), spec(json!({"activeDeadlineSeconds": 5})), ""),
            (spec(json!({"activeDeadlineSeconds": 5})), spec(json!({"activeDeadlineSeconds": 6})), "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"),
            (spec(json!({"activeDeadlineSeconds": 5})), spec(json!({"activeDeadlineSeconds": null})), "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"),
            (spec(json!({"tolerations": [{"key": "a"}]})), spec(json!({"tolerations": [{"key": "a"}, {"key": "b"}]})), ""),
            (spec(json!({"tolerations": [{"key": "a"}]})), spec(json!({"tolerations": [{"key": "b"}]})), "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"),
            (spec(json!({"terminationGracePeriodSeconds": -1})), spec(json!({"terminationGracePeriodSeconds": 1})), ""),
            (spec(json!({"terminationGracePeriodSeconds": -1})), spec(json!({"terminationGracePeriodSeconds": 2})), fixed),
            (spec(json!({})), json!({"spec": {"containers": [{"name": "c", "image": "a"}, {"name": "d", "image": "a"}]}}), "spec.containers: Forbidden: pod updates may not add or remove containers"),
            (spec(json!({})), spec(json!({"schedulingGates": gates})), "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'"),
            (spec(json!({"schedulingGates": gates})), spec(json!({"schedulingGates": null})), ""),
            (spec(json!({})), spec(json!({"nodeSelector": {"a": "b"}})), fixed),
            (spec(json!({"schedulingGates": gates})), spec(json!({"nodeSelector": {"a": "b"}})), ""),
            (spec(json!({"schedulingGates": gates, "nodeSelector": {"a": "b"}})), spec(json!({"nodeSelector": {"a": "c"}})), "spec.nodeSelector: Invalid value: {\"a\":\"c\"}: only additions to spec.nodeSelector are allowed"),
            (spec(json!({"schedulingGates": gates})), spec(json!({"affinity": affinity(json!([{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]))})), ""),
            (
                spec(json!({"schedulingGates": gates, "affinity": affinity(json!([{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]))})),
                spec(json!({"affinity": affinity(json!([{"matchExpressions": [{"key": "b", "operator": "Exists"}]}]))})),
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: Invalid value",
            ),
            (json!({}), json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}), "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation"),
        ],
    );
    let asks = |cpu: &str| with(json!({"resources": {"requests": {"cpu": cpu}}}));
    pods().changes(
        Some("resize"),
        &[
            (asks("1"), asks("2"), ""),
            (with(json!({})), asks("2"), "spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing"),
            (laid(asks("1"), &json!({"spec": {"os": {"name": "windows"}}})), asks("2"), "[]: Forbidden: windows pods cannot be resized"),
        ],
    );
    pods().changes(
        Some("ephemeralcontainers"),
        &[
            (json!({}), json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "a", "targetContainerName": "c"}]}}), ""),
            (
                json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "a"}]}}),
                json!({"spec": {"ephemeralContainers": []}}),
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed",
            ),
        ],
    );
}

#[test]
fn status() {
    let told = |s: Value| json!({"status": s});
    pods().changes(
        Some("status"),
        &[
            (json!({}), told(json!({"phase": "Running", "podIP": "1.1.1.1", "podIPs": [{"ip": "1.1.1.1"}, {"ip": "::1"}], "hostIP": "2.2.2.2", "hostIPs": [{"ip": "2.2.2.2"}]})), ""),
            (json!({}), told(json!({"podIPs": [{"ip": "x"}]})), "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address"),
            (json!({}), told(json!({"podIPs": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}]})), "status.podIPs: Invalid value: [{\"ip\":\"1.1.1.1\"},{\"ip\":\"1.1.1.2\"}]: may specify no more than one IP for each IP family"),
            (json!({}), told(json!({"hostIP": "1.1.1.1", "hostIPs": [{"ip": "1.1.1.2"}]})), "status.hostIPs[0].ip: Invalid value: \"1.1.1.2\": must be equal to `hostIP`"),
            (json!({}), told(json!({"qosClass": "Guaranteed"})), "status.qosClass: Invalid value: \"Guaranteed\": field is immutable"),
            (json!({}), told(json!({"conditions": [{"type": "a b"}]})), "metadata.conditions[0].Type: Invalid value: \"a b\""),
            (json!({}), told(json!({"resourceClaimStatuses": [{"name": "z"}]})), "status.resourceClaimStatuses[0].name: Invalid value: \"z\": must match the name of an entry"),
        ],
    );
    let mut old = pods().made(&json!({"spec": {"restartPolicy": "Never"}}));
    old["status"]["containerStatuses"] = json!([{"name": "c", "state": {"terminated": {"exitCode": 0}}}]);
    let mut new = old.clone();
    new["status"]["containerStatuses"][0]["state"] = json!({"running": {}});
    assert_eq!(
        texts(&validate_update("", "Pod", &new, &old, Some("status"))),
        ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]
    );
}

#[test]
fn templates_are_told_of_as_upstream_does() {
    let web = |change: fn(&mut Value)| texts(&validate_create("apps", "Deployment", true, &deployment(change)));
    assert_eq!(web(|d| d["spec"]["template"]["spec"]["containers"][0]["image"] = json!(" web")), Vec::<String>::new());
    let found = web(|d| d["spec"]["template"]["metadata"]["labels"]["a b"] = json!("c"));
    assert!(found[0].starts_with("spec.template.labels: Invalid value: \"a b\""), "{found:?}");
}
