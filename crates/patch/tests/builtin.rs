//! Built-in kinds: what a cluster of today records, and what kubectl's patches do.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tricorn_patch::{Writer, apply, reset_fields, strategic_merge, track_update};
use tricorn_schema::{Node, Resource, catalog};

fn node(group: &str, version: &str, plural: &str) -> Node<'static> {
    catalog().resource(group, version, plural).and_then(Resource::schema).unwrap()
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "nginx", "namespace": "default", "labels": {"app": "nginx"}},
        "spec": {"progressDeadlineSeconds": 600, "replicas": 1, "revisionHistoryLimit": 10, "selector": {"matchLabels": {"app": "nginx"}},
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"},
            "template": {"metadata": {"labels": {"app": "nginx"}}, "spec": {
                "containers": [{"image": "nginx", "imagePullPolicy": "Always", "name": "nginx", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30}}},
        "status": {}})
}

#[test]
fn a_created_deployment_is_owned_as_upstream_has_it() {
    let mut new = deployment();
    let reset = reset_fields("deployments", "", true);
    let writer = Writer {
        manager: "kubectl-create",
        api_version: "apps/v1",
        time: "2026-01-01T00:00:00Z",
        subresource: "",
        builtin: true,
        reset: &reset,
    };
    track_update(node("apps", "v1", "deployments"), None, &mut new, &writer);
    let fields = &new["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(
        *fields,
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {}, "f:selector": {},
                "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
                "f:template": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {
                    "f:containers": {"k:{\"name\":\"nginx\"}": {".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
                        "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {}}},
                    "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {}, "f:terminationGracePeriodSeconds": {}}}}
        })
    );
}

#[test]
fn an_applied_service_is_owned_as_upstream_has_it() {
    let config = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"},
        "spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    let reset = reset_fields("services", "", true);
    let writer = Writer { manager: "me", api_version: "v1", time: "2026-01-01T00:00:00Z", subresource: "", builtin: true, reset: &reset };
    let service = node("", "v1", "services");
    let new = apply(service, None, &config, &writer, false).unwrap();
    assert_eq!(
        new["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:targetPort": {}}}, "f:selector": {}}})
    );
    // The server defaults the protocol; applying the same again finds the element all the same.
    let mut live = new.clone();
    live["spec"]["ports"][0]["protocol"] = json!("TCP");
    assert_eq!(apply(service, Some(&live), &config, &writer, false).unwrap(), live);
}

#[test]
fn kubectls_patches() {
    let pods = node("apps", "v1", "deployments");
    let mut live = deployment();
    // kubectl set image, kubectl rollout restart and an edit that takes an environment variable out again.
    let patches = [
        json!({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "nginx"}], "containers": [{"image": "nginx:2", "name": "nginx", "env": [{"name": "A", "value": "1"}]}]}}}}),
        json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "nginx", "$setElementOrder/env": [], "env": [{"name": "A", "$patch": "delete"}]}]}}}}),
        json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
    ];
    for patch in &patches {
        strategic_merge(pods, &mut live, patch).unwrap();
    }
    let template = &live["spec"]["template"];
    assert_eq!(template["spec"]["containers"][0]["image"], "nginx:2");
    assert_eq!(template["spec"]["containers"][0]["env"], json!([]));
    assert_eq!(template["spec"]["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"], "now");
    assert_eq!(live["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(live["metadata"], deployment()["metadata"]);
}

#[test]
fn finalizers_and_owners_merge() {
    let pods = node("", "v1", "pods");
    let mut pod = json!({"metadata": {"finalizers": ["a"], "ownerReferences": [{"uid": "1", "name": "x"}]}});
    let patch = json!({"metadata": {"finalizers": ["b"], "$deleteFromPrimitiveList/finalizers": ["a"], "ownerReferences": [{"uid": "2", "name": "y"}, {"$patch": "delete", "uid": "1"}]}});
    strategic_merge(pods, &mut pod, &patch).unwrap();
    assert_eq!(pod, json!({"metadata": {"finalizers": ["b"], "ownerReferences": [{"uid": "2", "name": "y"}]}}));
}

#[test]
fn conditions_of_a_status_merge_by_type() {
    let pods = node("", "v1", "pods");
    let mut pod = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}, {"type": "Initialized", "status": "True"}]}});
    strategic_merge(pods, &mut pod, &json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})).unwrap();
    assert_eq!(pod["status"]["conditions"], json!([{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]));
}

/// Whatever the kind, an object that is applied and then applied again does not change.
#[test]
fn every_kind_can_be_applied() {
    for resource in catalog().resources() {
        let Some(schema) = resource.schema() else { continue };
        let config = json!({"apiVersion": resource.api_version(), "kind": resource.kind, "metadata": {"name": "x", "labels": {"a": "b"}}});
        let reset = reset_fields(&resource.plural, "", resource.subresource("status").is_some());
        let api_version = resource.api_version();
        let writer = Writer {
            manager: "me",
            api_version: &api_version,
            time: "2026-01-01T00:00:00Z",
            subresource: "",
            builtin: true,
            reset: &reset,
        };
        let once = match apply(schema, None, &config, &writer, false) {
            Ok(once) => once,
            // Reviews and the like have no metadata to speak of.
            Err(refused) => panic!("{}: {refused}", resource.kind),
        };
        assert_eq!(apply(schema, Some(&once), &config, &writer, false).unwrap(), once, "{}", resource.kind);
    }
}
