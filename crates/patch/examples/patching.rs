//! What ownership costs for a typical pod, in microseconds a write: `cargo run --release -p tricorn-patch --example patching`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use serde_json::{Value, json};
use std::time::Instant;
use tricorn_patch::{Writer, apply, reset_fields, strategic_merge, track_update};

fn time(what: &str, n: u32, mut f: impl FnMut()) {
    f();
    let t = Instant::now();
    for _ in 0..n {
        f();
    }
    println!("{what:40} {:8.2} us", t.elapsed().as_secs_f64() * 1e6 / f64::from(n));
}

fn main() {
    let node = tricorn_schema::catalog().resource("", "v1", "pods").and_then(tricorn_schema::Resource::schema).unwrap();
    let container = |n: &str| {
        json!({"name": n, "image": "registry.k8s.io/pause:3.10", "imagePullPolicy": "IfNotPresent", "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 443, "protocol": "TCP"}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
        "livenessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "securityContext": {"privileged": false},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "kube-api-access-abcde", "mountPath": "/var/run/secrets", "readOnly": true}]})
    };
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "uid": "x", "labels": {"app": "a", "tier": "b", "pod-template-hash": "x"}, "annotations": {"a": "b"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true, "blockOwnerDeletion": true}]},
        "spec": {"containers": [container("a"), container("b")], "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always", "schedulerName": "default-scheduler", "securityContext": {},
            "terminationGracePeriodSeconds": 30, "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c", "defaultMode": 420}}],
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]}, "status": {"phase": "Pending", "qosClass": "Burstable"}});
    let main = reset_fields("pods", "", true);
    let status = reset_fields("pods", "status", true);
    let w = Writer {
        manager: "kube-controller-manager",
        api_version: "v1",
        time: "2026-01-01T00:00:00Z",
        subresource: "",
        builtin: true,
        reset: &main,
    };
    let ws = Writer { manager: "kubelet", subresource: "status", reset: &status, time: "2026-01-01T00:00:05Z", ..w };
    let mut live = pod.clone();
    track_update(node, None, &mut live, &w);
    let running = |o: &mut Value| {
        o["status"] = json!({"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIP": "1.1.1.1", "startTime": "x",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "x", "lastProbeTime": null}, {"type": "Initialized", "status": "True", "lastTransitionTime": "x"}],
        "containerStatuses": [{"name": "a", "ready": true, "restartCount": 0, "image": "i", "imageID": "x", "state": {"running": {"startedAt": "x"}}}], "qosClass": "Burstable"})
    };
    let mut second = live.clone();
    running(&mut second);
    track_update(node, Some(&live), &mut second, &ws);
    time("clone pod", 20000, || {
        std::hint::black_box(pod.clone());
    });
    time("clone pod with entries", 20000, || {
        std::hint::black_box(second.clone());
    });
    time("clone + track create", 20000, || {
        let mut o = pod.clone();
        track_update(node, None, &mut o, &w);
    });
    time("clone + track no change", 20000, || {
        let mut o = second.clone();
        track_update(node, Some(&second), &mut o, &w);
    });
    time("clone + track no change, none sent", 20000, || {
        let mut o = second.clone();
        o["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
        track_update(node, Some(&second), &mut o, &w);
    });
    time("clone + first status", 20000, || {
        let mut o = live.clone();
        running(&mut o);
        track_update(node, Some(&live), &mut o, &ws);
    });
    time("clone + one status field", 20000, || {
        let mut o = second.clone();
        o["status"]["phase"] = json!("Failed");
        track_update(node, Some(&second), &mut o, &ws);
    });
    let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "labels": {"x": "y"}}, "spec": {"containers": [container("a")]}});
    let wa = Writer { manager: "me", ..w };
    let done = apply(node, Some(&second), &config, &wa, true).unwrap();
    time("apply create", 5000, || {
        std::hint::black_box(apply(node, None, &config, &wa, true).unwrap());
    });
    time("apply forced first", 5000, || {
        std::hint::black_box(apply(node, Some(&second), &config, &wa, true).unwrap());
    });
    time("apply again", 5000, || {
        std::hint::black_box(apply(node, Some(&done), &config, &wa, true).unwrap());
    });
    let patch =
        json!({"spec": {"containers": [{"name": "a", "image": "new"}], "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}});
    time("clone + strategic", 20000, || {
        let mut o = second.clone();
        strategic_merge(node, &mut o, &patch).unwrap();
    });
}
