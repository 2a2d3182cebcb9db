#![allow(clippy::unwrap_used)]
use super::*;

fn now() -> Timestamp {
    Timestamp::parse("2026-01-01T01:00:00Z").unwrap()
}

fn row(group: &str, kind: &str, object: Value) -> Vec<Value> {
    let table = table(group, kind, &[&object], now());
    assert_eq!(table["columnDefinitions"].as_array().unwrap().len(), table["rows"][0]["cells"].as_array().unwrap().len());
    table["rows"][0]["cells"].as_array().unwrap().clone()
}

fn pod(spec: Value, status: Value) -> Vec<Value> {
    row("", "Pod", json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:55:00Z"}, "spec": spec, "status": status}))
}

#[test]
fn pods_say_how_they_are() {
    let one = json!({"containers": [{"name": "c"}], "nodeName": "n"});
    let running = json!({"phase": "Running", "podIPs": [{"ip": "10.42.0.5"}], "containerStatuses": [{"name": "c", "ready": true, "restartCount": 2,
        "state": {"running": {}}, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:58:00Z"}}}]});
    assert_eq!(pod(one.clone(), running), ["p", "1/1", "Running", "2 (2m ago)", "5m", "10.42.0.5", "n", "<none>", "<none>"]);
    let cases = [
        (json!({"phase": "Pending"}), "0/1", "Pending"),
        (
            json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}),
            "0/1",
            "ImagePullBackOff",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            "0/1",
            "CrashLoopBackOff",
        ),
        (json!({"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}]}), "0/1", "Completed"),
        (json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}), "0/1", "ExitCode:3"),
        (json!({"phase": "Failed", "reason": "Evicted"}), "0/1", "Evicted"),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            "0/1",
            "SchedulingGated",
        ),
    ];
    for (status, ready, word) in cases {
        let cells = pod(one.clone(), status.clone());
        assert_eq!((&cells[1], &cells[2]), (&json!(ready), &json!(word)), "{status}");
    }
}

#[test]
fn init_containers_come_first() {
    let spec = json!({"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}]});
    let done = json!({"name": "a", "state": {"terminated": {"exitCode": 0}}});
    let cases = [
        (json!([done, {"name": "b", "state": {"running": {}}}]), "Init:1/2"),
        (json!([{"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}]), "Init:0/2"),
        (json!([{"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]), "Init:CrashLoopBackOff"),
        (json!([{"name": "a", "state": {"terminated": {"exitCode": 2}}}]), "Init:ExitCode:2"),
    ];
    for (statuses, word) in cases {
        let status = json!({"phase": "Pending", "initContainerStatuses": statuses, "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}]});
        assert_eq!(pod(spec.clone(), status)[2], json!(word));
    }
}

#[test]
fn sidecars_count_as_containers() {
    let spec = json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "c"}]});
    let status = json!({"phase": "Running", "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}],
        "containerStatuses": [{"name": "c", "ready": true, "restartCount": 1, "state": {"running": {}}}]});
    assert_eq!(pod(spec, status)[1..4], [json!("2/2"), json!("Running"), json!("2")]);
}

#[test]
fn what_goes_away_says_so() {
    let object = json!({"metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:59:00Z"}, "spec": {"containers": [{}]}, "status": {"phase": "Running"}});
    assert_eq!(row("", "Pod", object)[2], "Terminating");
}

#[test]
fn other_kinds_print_as_upstream_does() {
    let meta = json!({"name": "x", "creationTimestamp": "2025-12-31T01:00:00Z"});
    let cases: [(&str, &str, Value, Vec<Value>); 8] = [
        (
            "apps",
            "Deployment",
            json!({"spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}, "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}}),
            vec![json!("x"), json!("2/3"), json!(3), json!(2), json!("24h"), json!("c"), json!("i"), json!("a=b")],
        ),
        (
            "",
            "Service",
            json!({"spec": {"type": "NodePort", "clusterIP": "10.43.0.1", "clusterIPs": ["10.43.0.1"], "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}], "selector": {"b": "2", "a": "1"}}}),
            vec![
                json!("x"),
                json!("NodePort"),
                json!("10.43.0.1"),
                json!("<none>"),
                json!("80:30080/TCP,53/UDP"),
                json!("24h"),
                json!("a=1,b=2"),
            ],
        ),
        (
            "",
            "Node",
            json!({"spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.2"}, "addresses": [{"type": "InternalIP", "address": "172.30.0.21"}]}}),
            vec![
                json!("x"),
                json!("Ready,SchedulingDisabled"),
                json!("<none>"),
                json!("24h"),
                json!("v1.36.2"),
                json!("172.30.0.21"),
                json!("<none>"),
                json!("<unknown>"),
                json!("<unknown>"),
                json!("<unknown>"),
            ],
        ),
        (
            "batch",
            "Job",
            json!({"spec": {"completions": 1, "template": {"spec": {"containers": []}}}, "status": {"succeeded": 1, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:05Z", "conditions": [{"type": "Complete", "status": "True"}]}}),
            vec![json!("x"), json!("Complete"), json!("1/1"), json!("5s"), json!("24h"), json!(""), json!(""), json!("<none>")],
        ),
        ("", "ConfigMap", json!({"data": {"a": "1"}, "binaryData": {"b": ""}}), vec![json!("x"), json!(2), json!("24h")]),
        (
            "discovery.k8s.io",
            "EndpointSlice",
            json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["1.1.1.1"]}, {"addresses": ["1.1.1.2"]}, {"addresses": ["1.1.1.3"]}, {"addresses": ["1.1.1.4"]}]}),
            vec![json!("x"), json!("IPv4"), json!("80"), json!("1.1.1.1,1.1.1.2,1.1.1.3 + 1 more..."), json!("24h")],
        ),
        ("", "Namespace", json!({"status": {"phase": "Active"}}), vec![json!("x"), json!("Active"), json!("24h")]),
        ("rbac.authorization.k8s.io", "Role", json!({}), vec![json!("x"), json!("2025-12-31T01:00:00Z")]),
    ];
    for (group, kind, mut object, expected) in cases {
        object["metadata"] = meta.clone();
        assert_eq!(row(group, kind, object), expected, "{kind}");
    }
}

#[test]
fn events_print_in_either_form() {
    let core = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Started", "message": "m\n", "count": 2, "involvedObject": {"kind": "Pod", "name": "p"},
        "source": {"component": "kubelet", "host": "n"}, "firstTimestamp": "2026-01-01T00:50:00Z", "lastTimestamp": "2026-01-01T00:59:30Z"});
    assert_eq!(row("", "Event", core), ["30s", "Normal", "Started", "pod/p", "", "kubelet, n", "m", "10m", "2", "e"]);
    let new = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Started", "note": "m", "regarding": {"kind": "Pod", "name": "p"}, "reportingController": "c", "eventTime": "2026-01-01T00:59:00.000000Z"});
    assert_eq!(row("events.k8s.io", "Event", new), ["60s", "Normal", "Started", "pod/p", "", "c", "m", "60s", "1", "e"]);
}

#[test]
fn every_column_is_described() {
    let mut missing = Vec::new();
    for resource in crate::catalog().resources() {
        let table = table(&resource.group, &resource.kind, &[], now());
        for column in table["columnDefinitions"].as_array().unwrap() {
            if column["description"].as_str().is_none_or(str::is_empty) {
                missing.push(format!("{} {}", resource.kind, column["name"]));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new(), "not in tables/columns");
    let scale = table("autoscaling", "Scale", &[], now());
    assert!(scale["columnDefinitions"].as_array().unwrap().iter().all(|column| column["description"] != ""), "{scale}");
}
