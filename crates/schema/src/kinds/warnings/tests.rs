use super::warnings;
use serde_json::{Value, json};
use tricorn_meta::json::set;

/// The template of a Deployment with one change.
fn changed(path: &str, value: Value) -> Value {
    let template = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}});
    let mut object = json!({"metadata": {"name": "d"}, "spec": {"template": template}});
    set(&mut object, path, value);
    object
}

#[test]
fn templates_are_spoken_of_in_upstreams_words() {
    let spec = "spec.template.spec";
    let no_selector = "labelSelector: a null labelSelector results in matching no pod";
    for (field, value, expected) in [
        ("restartPolicy", json!("Always"), String::new()),
        (
            "nodeSelector",
            json!({"beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "x"}),
            format!("{spec}.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead"),
        ),
        (
            "affinity",
            json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchExpressions": [
                {"key": "failure-domain.beta.kubernetes.io/zone", "operator": "Exists"}]}}]}}),
            format!(
                "{spec}.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key: \
                 failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
            ),
        ),
        (
            "affinity",
            json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "x"}}]}}),
            format!("{spec}.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.{no_selector}"),
        ),
        ("topologySpreadConstraints", json!([{"topologyKey": "x"}]), format!("{spec}.topologySpreadConstraints[0].{no_selector}")),
        (
            "volumes",
            json!([{"name": "v", "gitRepo": {}}]),
            format!("{spec}.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"),
        ),
        ("volumes", json!([{"name": "v", "rbd": {}}]), format!("{spec}.volumes[0].rbd: deprecated in v1.28, non-functional in v1.31+")),
        ("hostAliases", json!([{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}]), format!("{spec}.hostAliases[1].ip: duplicate ip \"1.1.1.1\"")),
        (
            "imagePullSecrets",
            json!([{"name": "a"}, {"name": "a"}, {}]),
            format!("{spec}.imagePullSecrets[1].name: duplicate name \"a\"|{spec}.imagePullSecrets[2].name: invalid empty name \"\""),
        ),
        (
            "overhead",
            json!({"memory": "100m"}),
            format!("{spec}.overhead[memory]: fractional byte value \"100m\" is invalid, must be an integer"),
        ),
        (
            "terminationGracePeriodSeconds",
            json!(-1),
            format!("{spec}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"),
        ),
        (
            "dnsConfig",
            json!({"nameservers": ["FD00::1"]}),
            format!("{spec}.dnsConfig.nameservers[0]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")"),
        ),
    ] {
        let object = changed(&format!("{spec}.{field}"), value);
        assert_eq!(warnings("apps", "Deployment", &object, None).join("|"), expected, "{field}");
        // A change that leaves the spec alone says nothing anew.
        assert_eq!(warnings("apps", "Deployment", &object, Some(&object)), Vec::<String>::new(), "{field}");
    }
}

#[test]
fn containers_of_pods_are_spoken_of() {
    let port = |host: i64, ip: &str| json!({"containerPort": 80, "protocol": "TCP", "hostPort": host, "hostIP": ip});
    for (field, value, expected) in [
        ("env", json!([{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "B", "value": "3"}]), ""),
        (
            "env",
            json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
        ),
        (
            "resources",
            json!({"limits": {"memory": "0.5"}}),
            "spec.containers[0].resources.limits[memory]: fractional byte value \"500m\" is invalid, must be an integer",
        ),
        (
            "ports",
            json!([port(0, ""), port(0, "")]),
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        ),
        (
            "ports",
            json!([port(0, ""), port(8, "")]),
            "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
        ),
        (
            "ports",
            json!([port(8, ""), port(8, "1.1.1.1")]),
            "spec.containers[0].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]",
        ),
        (
            "ports",
            json!([port(0, "1.1.1.1")]),
            "spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:TCP HostIP:1.1.1.1}",
        ),
    ] {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
        pod["spec"]["containers"][0][field] = value;
        assert_eq!(warnings("", "Pod", &pod, None).join("|"), expected, "{field}");
        assert_eq!(warnings("", "Pod", &pod, Some(&json!({}))), Vec::<String>::new());
    }
    let notes = json!({"container.seccomp.security.alpha.kubernetes.io/c": "x", "scheduler.alpha.kubernetes.io/critical-pod": ""});
    let pod = json!({"metadata": {"name": "a.b", "annotations": notes}, "spec": {"containers": [{"name": "c"}]}});
    assert_eq!(
        warnings("", "Pod", &pod, None),
        [
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
            "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
            "metadata.annotations[container.seccomp.security.alpha.kubernetes.io/c]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
        ]
    );
}

#[test]
fn each_kind_is_spoken_of() {
    let noted = |key: &str| json!({"metadata": {"annotations": {key: "x"}}});
    for (group, kind, object, expected) in [
        (
            "",
            "ServiceAccount",
            noted("kubernetes.io/enforce-mountable-secrets"),
            "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets",
        ),
        (
            "networking.k8s.io",
            "Ingress",
            noted("kubernetes.io/ingress.class"),
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead",
        ),
        (
            "",
            "PersistentVolumeClaim",
            noted("volume.beta.kubernetes.io/storage-class"),
            "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead",
        ),
        (
            "",
            "PersistentVolume",
            json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle"}}),
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
        ),
        (
            "",
            "Service",
            json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "sessionAffinity": "ClientIP"}}),
            "spec.SessionAffinity is ignored for headless services",
        ),
        (
            "",
            "Service",
            json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "externalIPs": ["1.1.1.1"], "externalName": "x"}}),
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters|spec.externalName is ignored when spec.type is not \"ExternalName\"",
        ),
        (
            "",
            "Service",
            json!({"spec": {"trafficDistribution": "PreferClose"}}),
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
        ),
        ("", "Node", json!({"spec": {"externalID": "x"}}), "spec.externalID: this field is deprecated, and is unused by Kubernetes"),
        (
            "apps",
            "StatefulSet",
            json!({"spec": {"revisionHistoryLimit": -1}}),
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended",
        ),
        (
            "storage.k8s.io",
            "StorageClass",
            json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "beta.kubernetes.io/arch"}]}]}),
            "allowedTopologies[0].matchLabelExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        ),
        (
            "networking.k8s.io",
            "NetworkPolicy",
            json!({"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": "FD00::/8"}}]}]}}),
            "spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value \"FD00::/8\" should be in RFC 5952 canonical format (\"fd00::/8\")",
        ),
    ] {
        assert_eq!(warnings(group, kind, &object, None).join("|"), expected, "{kind}");
    }
    let cron = json!({"metadata": {"name": "c"}, "spec": {"schedule": "TZ=UTC * * * * *"}});
    assert!(warnings("batch", "CronJob", &cron, Some(&cron))[0].starts_with("cannot use TZ or CRON_TZ in spec.spec.schedule"));
}
