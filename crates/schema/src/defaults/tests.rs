#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

#[test]
fn a_deployment_is_filled_in() {
    let mut web = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"serviceAccountName": "sa", "containers": [{"name": "c", "image": "registry:5000/web", "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80}}}], "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}]}}}});
    default("apps", "Deployment", &mut web);
    assert_eq!(
        web["spec"],
        json!({"selector": {"matchLabels": {"a": "b"}}, "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
                "serviceAccountName": "sa", "serviceAccount": "sa", "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                "schedulerName": "default-scheduler", "securityContext": {},
                "containers": [{"name": "c", "image": "registry:5000/web", "imagePullPolicy": "Always", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {},
                    "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}}]}}})
    );
}

#[test]
fn a_pods_requests_follow_its_limits() {
    let mut pod = json!({"spec": {"containers": [{"name": "c", "image": "a:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}}]}});
    default("", "Pod", &mut pod);
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], json!({"cpu": "500m", "memory": "1Gi"}));
    assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
    assert_eq!(pod["spec"]["enableServiceLinks"], true);
}

#[test]
fn services_depend_on_their_type() {
    let mut service = json!({"spec": {"type": "NodePort", "ports": [{"port": 80}], "sessionAffinity": "ClientIP"}});
    default("", "Service", &mut service);
    assert_eq!(
        service["spec"],
        json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}], "sessionAffinity": "ClientIP",
            "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}})
    );
}

#[test]
fn jobs_count_once_unless_told() {
    for (given, completions, parallelism) in [
        (json!({}), json!(1), json!(1)),
        (json!({"parallelism": 3}), Value::Null, json!(3)),
        (json!({"completions": 2}), json!(2), json!(1)),
    ] {
        let mut job = json!({"metadata": {}, "spec": given});
        default("batch", "Job", &mut job);
        assert_eq!((&job["spec"]["completions"], &job["spec"]["parallelism"]), (&completions, &parallelism));
    }
}

fn pod_spec() -> impl Strategy<Value = Value> {
    let image = prop::sample::select(vec!["a", "a:1", "r:5/a", "a@sha256:0", "a:latest"]);
    let volume = prop::sample::select(vec![
        json!({"name": "v"}),
        json!({"name": "v", "configMap": {"name": "c"}}),
        json!({"name": "v", "hostPath": {"path": "/"}}),
        json!({"name": "v", "projected": {"sources": [{"serviceAccountToken": {}}]}}),
    ]);
    (image, volume, any::<bool>(), any::<bool>()).prop_map(|(image, volume, host, limits)| {
        let resources = if limits { json!({"limits": {"cpu": 1}}) } else { json!({}) };
        json!({"hostNetwork": host, "volumes": [volume], "containers": [{"name": "c", "image": image, "ports": [{"containerPort": 1}], "resources": resources}]})
    })
}

proptest! {
    #[test]
    fn doing_it_twice_changes_nothing(spec in pod_spec(), shape in prop::sample::select(vec![("", "Pod"), ("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet"), ("batch", "Job"), ("batch", "CronJob"), ("", "ReplicationController")])) {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
        let mut object = match shape.1 {
            "Pod" => template,
            "CronJob" => json!({"metadata": {}, "spec": {"jobTemplate": {"spec": {"template": template}}}}),
            _ => json!({"metadata": {}, "spec": {"template": template}}),
        };
        default(shape.0, shape.1, &mut object);
        let once = object.clone();
        default(shape.0, shape.1, &mut object);
        prop_assert_eq!(object, once);
    }
}
