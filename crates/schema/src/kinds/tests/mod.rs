#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

mod cluster;
mod extensions;
mod guards;
mod networks;
mod pods;
mod volumes;
mod workloads;

/// Lays a patch over an object, as a JSON merge patch does: null takes a field away.
fn laid(mut object: Value, patch: &Value) -> Value {
    fn lay(on: &mut Value, patch: &Value) {
        let Some(fields) = patch.as_object() else { return *on = patch.clone() };
        if !on.is_object() {
            *on = json!({});
        }
        for (key, value) in fields {
            if value.is_null() {
                on.as_object_mut().unwrap().remove(key);
            } else {
                lay(&mut on[key.as_str()], value);
            }
        }
    }
    lay(&mut object, patch);
    object
}

/// A kind, and an object of it that nothing is wrong with.
struct Of {
    group: &'static str,
    kind: &'static str,
    namespaced: bool,
    good: Value,
}

impl Of {
    /// Gives the object a name (and a namespace, where the kind has them).
    fn new(group: &'static str, kind: &'static str, namespaced: bool, good: Value) -> Self {
        let named =
            if namespaced { json!({"metadata": {"name": "x", "namespace": "default"}}) } else { json!({"metadata": {"name": "x"}}) };
        Self { group, kind, namespaced, good: laid(named, &good) }
    }

    fn made(&self, patch: &Value) -> Value {
        let mut object = laid(self.good.clone(), patch);
        crate::defaults::default(self.group, self.kind, &mut object);
        prepare_for_create(self.group, self.kind, &mut object);
        object
    }

    /// What is said of the object with a patch laid over it.
    fn created(&self, patch: &Value) -> Vec<String> {
        texts(&validate_create(self.group, self.kind, self.namespaced, &self.made(patch)))
    }

    /// What is said of a change from one to the other.
    fn changed(&self, from: &Value, to: &Value, subresource: Option<&str>) -> Vec<String> {
        let (old, mut new) = (self.made(from), laid(self.made(from), to));
        crate::defaults::default(self.group, self.kind, &mut new);
        prepare_for_update(self.group, self.kind, &mut new, &old, subresource);
        texts(&validate_update(self.group, self.kind, &new, &old, subresource))
    }

    /// All of these are fine.
    fn takes(&self, patches: &[Value]) {
        for patch in patches {
            assert_eq!(self.created(patch), Vec::<String>::new(), "{patch}");
        }
    }

    /// Each of these is refused with words that begin so.
    fn refuses(&self, rows: &[(Value, &str)]) {
        for (patch, expected) in rows {
            let found = self.created(patch);
            assert!(found.iter().any(|text| text.starts_with(expected)), "{patch}\nexpected: {expected}\n{found:#?}");
        }
    }

    /// Each change is refused with words that begin so; where there are none, it is fine.
    fn changes(&self, subresource: Option<&str>, rows: &[(Value, Value, &str)]) {
        for (from, to, expected) in rows {
            let found = self.changed(from, to, subresource);
            let fits = if expected.is_empty() { found.is_empty() } else { found.iter().any(|text| text.starts_with(expected)) };
            assert!(fits, "{from} -> {to}\nexpected: {expected}\n{found:#?}");
        }
    }
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "default"}, "spec": spec});
    crate::defaults::default("", "Pod", &mut pod);
    prepare_for_create("", "Pod", &mut pod);
    pod
}

fn deployment(change: impl FnOnce(&mut Value)) -> Value {
    let mut web = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}}}});
    change(&mut web);
    crate::defaults::default("apps", "Deployment", &mut web);
    web
}

#[test]
fn good_objects_pass() {
    assert_eq!(texts(&validate_create("", "Pod", true, &pod(json!({"containers": [{"name": "c", "image": "a"}]})))), Vec::<String>::new());
    assert_eq!(texts(&validate_create("apps", "Deployment", true, &deployment(|_| {}))), Vec::<String>::new());
}

#[test]
fn pods_are_refused_in_upstreams_words() {
    let cases = [
        (json!({"containers": []}), "spec.containers: Required value"),
        (
            json!({"containers": [{"name": "C", "image": "a"}]}),
            "spec.containers[0].name: Invalid value: \"C\": a lowercase RFC 1123 label must consist of",
        ),
        (json!({"containers": [{"name": "c"}]}), "spec.containers[0].image: Required value"),
        (
            json!({"containers": [{"name": "c", "image": "a"}, {"name": "c", "image": "a"}]}),
            "spec.containers[1].name: Duplicate value: \"c\"",
        ),
        (
            json!({"containers": [{"name": "c", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            json!({"containers": [{"name": "c", "image": "a", "ports": [{"containerPort": 70000}]}]}),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"containers": [{"name": "c", "image": "a"}], "restartPolicy": "Maybe"}),
            "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            json!({"containers": [{"name": "c", "image": "a", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}]}),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            json!({"containers": [{"name": "c", "image": "a", "livenessProbe": {}}]}),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            json!({"containers": [{"name": "c", "image": "a"}], "tolerations": [{"operator": "Equal", "value": "x"}]}),
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty",
        ),
        (
            json!({"containers": [{"name": "c", "image": "a"}], "volumes": [{"name": "v", "configMap": {}}]}),
            "spec.volumes[0].configMap.name: Required value",
        ),
    ];
    for (spec, expected) in cases {
        let found = texts(&validate_create("", "Pod", true, &pod(spec)));
        assert!(found.iter().any(|t| t.starts_with(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn workloads_are_refused_in_upstreams_words() {
    let cases: [(Value, &str); 4] = [
        (deployment(|d| d["spec"]["replicas"] = json!(-1)), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            deployment(|d| d["spec"]["selector"] = json!({"matchLabels": {"app": "x"}})),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
        ),
        (deployment(|d| drop(d["spec"].as_object_mut().unwrap().remove("selector"))), "spec.selector: Required value"),
        (
            deployment(|d| d["spec"]["template"]["spec"]["restartPolicy"] = json!("Never")),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
    ];
    for (object, expected) in cases {
        assert_eq!(texts(&validate_create("apps", "Deployment", true, &object)), [expected]);
    }
    let (old, new) =
        (deployment(|_| {}), deployment(|d| d["spec"]["selector"]["matchExpressions"] = json!([{"key": "app", "operator": "Exists"}])));
    let found = texts(&validate_update("apps", "Deployment", &new, &old, None));
    assert!(found[0].starts_with("spec.selector: Invalid value: {") && found[0].ends_with("field is immutable"), "{found:?}");
}

#[test]
fn of_a_running_pod_only_images_change() {
    let old = pod(json!({"containers": [{"name": "c", "image": "a"}]}));
    let mut new = old.clone();
    new["spec"]["containers"][0]["image"] = json!("b");
    assert!(validate_update("", "Pod", &new, &old, None).is_empty());
    new["spec"]["hostNetwork"] = json!(true);
    assert!(
        texts(&validate_update("", "Pod", &new, &old, None))[0]
            .starts_with("spec: Forbidden: pod updates may not change fields other than")
    );
}

#[test]
fn names_and_namespaces_are_judged_by_kind() {
    let cases = [
        ("", "ConfigMap", true, json!({"metadata": {"namespace": "a"}}), "metadata.name: Required value: name or generateName is required"),
        (
            "",
            "Service",
            true,
            json!({"metadata": {"name": "1a", "namespace": "a"}, "spec": {"ports": [{"port": 1}]}}),
            "metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of",
        ),
        (
            "",
            "Namespace",
            false,
            json!({"metadata": {"name": "a", "namespace": "b"}}),
            "metadata.namespace: Forbidden: not allowed on this type",
        ),
        (
            "",
            "ConfigMap",
            true,
            json!({"metadata": {"name": "a", "namespace": "a", "labels": {"a b": "c"}}}),
            "metadata.labels: Invalid value: \"a b\": name part must consist of",
        ),
    ];
    for (group, kind, namespaced, object, expected) in cases {
        let found = texts(&validate_create(group, kind, namespaced, &object));
        assert!(found.iter().any(|t| t.starts_with(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn generations_count_changes_of_what_is_wanted() {
    let mut old = deployment(|_| {});
    prepare_for_create("apps", "Deployment", &mut old);
    assert_eq!((&old["metadata"]["generation"], &old["status"]), (&json!(1), &json!({})));
    let mut new = old.clone();
    new["metadata"]["labels"] = json!({"a": "b"});
    new["status"] = json!({"replicas": 9});
    prepare_for_update("apps", "Deployment", &mut new, &old, None);
    assert_eq!((&new["metadata"]["generation"], &new["status"]), (&json!(1), &json!({})));
    new["spec"]["replicas"] = json!(5);
    prepare_for_update("apps", "Deployment", &mut new, &old, None);
    assert_eq!(new["metadata"]["generation"], json!(2));
}

#[test]
fn some_metadata_is_wanted_too() {
    let count = |group: &'static str, kind: &'static str, change: Value, part: Option<&str>| {
        let of = Of::new(group, kind, true, json!({"spec": {}, "addressType": "IPv4"}));
        let old = of.made(&json!({}));
        let mut new = laid(old.clone(), &change);
        prepare_for_update(group, kind, &mut new, &old, part);
        new["metadata"]["generation"].as_i64().unwrap()
    };
    let note = |key: &str| json!({"metadata": {"annotations": {key: "x"}}});
    assert_eq!(count("apps", "Deployment", note("a"), None), 2);
    assert_eq!(count("apps", "Deployment", note("a"), Some("status")), 1);
    assert_eq!(count("apps", "Deployment", note("deployment.kubernetes.io/revision"), None), 1);
    assert_eq!(count("apps", "ReplicaSet", note("a"), None), 1);
    assert_eq!(count("discovery.k8s.io", "EndpointSlice", json!({"metadata": {"labels": {"a": "b"}}}), None), 2);
    assert_eq!(count("discovery.k8s.io", "EndpointSlice", note("a"), None), 1);
}

#[test]
fn through_status_only_the_status_counts() {
    let old = deployment(|_| {});
    let mut new = deployment(|d| {
        d["spec"]["replicas"] = json!(9);
        d["metadata"]["labels"] = json!({"x": "y"});
    });
    new["status"] = json!({"replicas": 1});
    prepare_for_update("apps", "Deployment", &mut new, &old, Some("status"));
    assert_eq!((&new["spec"], &new["status"], new["metadata"].get("labels")), (&old["spec"], &json!({"replicas": 1}), None));
}

#[test]
fn secrets_are_written_in_plain_and_stored_encoded() {
    let mut secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}, "data": {"c": "ZA=="}});
    prepare_for_create("", "Secret", &mut secret);
    assert_eq!((secret.get("stringData"), &secret["data"]), (None, &json!({"c": "ZA==", "a": "Yg=="})));
}

#[test]
fn jobs_select_their_own_pods() {
    let mut job = json!({"metadata": {"name": "j", "namespace": "d", "uid": "u"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]}}}});
    crate::defaults::default("batch", "Job", &mut job);
    prepare_for_create("batch", "Job", &mut job);
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
    assert_eq!(texts(&validate_create("batch", "Job", true, &job)), Vec::<String>::new());
    let mut changed = job.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("b");
    assert!(texts(&validate_update("batch", "Job", &changed, &job, None))[0].ends_with("field is immutable"));
}

#[test]
fn schedules_are_read() {
    for (schedule, good) in [
        ("*/5 * * * *", true),
        ("@daily", true),
        ("0 0 * * mon-fri", true),
        ("* * * *", false),
        ("61 * * * *", false),
        ("@never", false),
        ("a * * * *", false),
    ] {
        let mut cron = json!({"metadata": {"name": "c", "namespace": "d"}, "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]}}}}}});
        crate::defaults::default("batch", "CronJob", &mut cron);
        let found = texts(&validate_create("batch", "CronJob", true, &cron));
        assert_eq!(found.is_empty(), good, "{schedule}: {found:?}");
    }
}

#[test]
fn a_services_address_stays() {
    let mut old = json!({"metadata": {"name": "s", "namespace": "d"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}});
    crate::defaults::default("", "Service", &mut old);
    prepare_for_create("", "Service", &mut old);
    assert_eq!(texts(&validate_create("", "Service", true, &old)), Vec::<String>::new());
    let mut new = json!({"metadata": {"name": "s", "namespace": "d"}, "spec": {"ports": [{"port": 81}]}});
    crate::defaults::default("", "Service", &mut new);
    prepare_for_update("", "Service", &mut new, &old, None);
    assert_eq!(new["spec"]["clusterIP"], "10.0.0.1");
    new["spec"]["clusterIP"] = json!("10.0.0.2");
    assert!(!validate_update("", "Service", &new, &old, None).is_empty());
}
