#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use serde_json::{Value, json};

fn cluster(nodes: Value, pods: Value) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes.as_array().unwrap() {
        let mut node = node.clone();
        let name = node["metadata"]["name"].as_str().unwrap().to_owned();
        node["metadata"]["labels"]["kubernetes.io/hostname"] = json!(name);
        if node["status"].is_null() {
            node["status"] = json!({"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}});
        }
        cluster.set_node(Arc::new(serde_json::from_value(node).unwrap()));
    }
    for pod in pods.as_array().unwrap() {
        let node = pod["spec"]["nodeName"].as_str().unwrap().to_owned();
        cluster.place(Arc::new(info(pod.clone())), &node);
    }
    Arc::make_mut(&mut cluster.namespaces).insert("default".into(), [("team".to_owned(), "a".to_owned())].into());
    cluster
}

fn info(mut pod: Value) -> PodInfo {
    pod["metadata"]["namespace"] = json!("default");
    if pod["spec"]["containers"].is_null() {
        pod["spec"]["containers"] = json!([{"name": "a"}]);
    }
    PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap()))
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {}}})
}

fn zoned(name: &str, zone: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"zone": zone}}})
}

fn placed(pod: Value, cluster: &Cluster) -> Result<String, String> {
    place(&info(pod), cluster, None, Chance::default()).map_err(|no_fit| no_fit.error.to_string())
}

fn asking(cpu: &str) -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}}}]}})
}

#[test]
fn reasons_name_what_is_missing() {
    let mut tainted = node("w1");
    tainted["spec"] = json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]});
    let mut cordoned = node("w2");
    cordoned["spec"] = json!({"unschedulable": true});
    let full = json!({"metadata": {"name": "w3", "labels": {}}, "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "0"}}});
    let cluster = cluster(json!([tainted, cordoned, full]), json!([]));
    assert_eq!(
        placed(asking("2"), &cluster).unwrap_err(),
        "0/3 nodes are available: 1 Insufficient cpu, 1 Too many pods, 1 node(s) had untolerated taint \
         {node.kubernetes.io/not-ready: }, 1 node(s) were unschedulable."
    );
    assert_eq!(placed(asking("1"), &Cluster::default()).unwrap_err(), "no nodes available to schedule pods");
}

#[test]
fn the_emptier_node_wins() {
    let busy = json!({"metadata": {"name": "b"}, "spec": {"nodeName": "w1",
        "containers": [{"name": "a", "resources": {"requests": {"cpu": "2", "memory": "4Gi"}}}]}});
    let cluster = cluster(json!([node("w1"), node("w2")]), json!([busy]));
    assert_eq!(placed(asking("1"), &cluster).unwrap(), "w2");
    assert_eq!(placed(asking("3"), &cluster).unwrap(), "w2");
    let error = placed(asking("5"), &cluster).unwrap_err();
    assert_eq!(error, "0/2 nodes are available: 2 Insufficient cpu.");
}

#[test]
fn selectors_and_tolerations_open_and_close_nodes() {
    let mut special = json!({"metadata": {"name": "w1", "labels": {"disk": "ssd"}}});
    special["spec"] = json!({"taints": [{"key": "only", "value": "ssd", "effect": "NoSchedule"}]});
    let cluster = cluster(json!([special, node("w2")]), json!([]));
    assert_eq!(placed(asking("1"), &cluster).unwrap(), "w2");
    let mut picky = asking("1");
    picky["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    assert_eq!(
        placed(picky.clone(), &cluster).unwrap_err(),
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {only: ssd}."
    );
    picky["spec"]["tolerations"] = json!([{"key": "only", "operator": "Exists"}]);
    assert_eq!(placed(picky, &cluster).unwrap(), "w1");
}

#[test]
fn host_ports_clash_only_where_they_overlap() {
    let with_port = |name: &str, ip: &str| {
        json!({"metadata": {"name": name}, "spec": {"nodeName": "w1", "containers": [
        {"name": "a", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": ip, "protocol": "TCP"}]}]}})
    };
    let cluster = cluster(json!([node("w1")]), json!([with_port("b", "10.0.0.1")]));
    let mut pod = with_port("p", "10.0.0.2");
    pod["spec"]["nodeName"] = Value::Null;
    assert_eq!(placed(pod, &cluster).unwrap(), "w1");
    let mut pod = with_port("p", "");
    pod["spec"]["nodeName"] = Value::Null;
    assert_eq!(
        placed(pod, &cluster).unwrap_err(),
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    );
}

fn web(name: &str, node: Option<&str>) -> Value {
    let mut pod = json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {}});
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    pod
}

#[test]
fn hard_spread_keeps_zones_even() {
    let nodes = json!([zoned("a1", "a"), zoned("a2", "a"), zoned("b1", "b"), node("nowhere")]);
    let cluster = cluster(nodes, json!([web("x", Some("a1")), web("y", Some("a2")), web("z", Some("b1"))]));
    let mut pod = web("p", None);
    pod["spec"]["topologySpreadConstraints"] = json!([{"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}}]);
    assert_eq!(placed(pod.clone(), &cluster).unwrap(), "b1");
    let mut full = cluster.clone();
    let mut cordoned = zoned("b1", "b");
    cordoned["spec"] = json!({"unschedulable": true});
    full.set_node(Arc::new(serde_json::from_value(cordoned).unwrap()));
    assert_eq!(
        placed(pod, &full).unwrap_err(),
        "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), \
         1 node(s) were unschedulable, 2 node(s) didn't match pod topology spread constraints."
    );
}

#[test]
fn siblings_are_spread_by_default() {
    let cluster = cluster(json!([node("w1"), node("w2")]), json!([web("x", Some("w1"))]));
    let selector: Selector = [("app", "web")].into_iter().collect();
    for tie in 0..4 {
        let chosen = place(&info(web("p", None)), &cluster, Some(&selector), Chance { start: 0, tie }).unwrap();
        assert_eq!(chosen, "w2");
    }
}

#[test]
fn affinity_brings_together_and_anti_affinity_keeps_apart() {
    let nodes = json!([zoned("a1", "a"), zoned("b1", "b")]);
    let cluster = cluster(nodes, json!([web("x", Some("b1"))]));
    let term = json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}]);
    let with = |kind: &str, name: &str| {
        let mut pod = web(name, None);
        pod["spec"]["affinity"] = json!({kind: {"requiredDuringSchedulingIgnoredDuringExecution": term}});
        pod
    };
    assert_eq!(placed(with("podAffinity", "p"), &cluster).unwrap(), "b1");
    assert_eq!(placed(with("podAntiAffinity", "p"), &cluster).unwrap(), "a1");
    let mut both = cluster.clone();
    both.place(Arc::new(info(with("podAntiAffinity", "first"))), "a1");
    assert_eq!(
        placed(with("podAntiAffinity", "p"), &both).unwrap_err(),
        "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."
    );
    assert_eq!(
        placed(web("plain", None), &{
            let mut only = both.clone();
            only.remove_node("b1");
            only
        })
        .unwrap_err(),
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    );
}

#[test]
fn the_first_of_a_group_may_start_it() {
    let cluster = cluster(json!([zoned("a1", "a"), node("nowhere")]), json!([]));
    let mut pod = web("p", None);
    pod["spec"]["affinity"] = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}]}});
    assert_eq!(placed(pod.clone(), &cluster).unwrap(), "a1");
    pod["metadata"]["labels"]["app"] = json!("other");
    assert_eq!(placed(pod, &cluster).unwrap_err(), "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.");
}

#[test]
fn namespaces_are_selected_by_label() {
    let cluster = cluster(json!([node("w1"), node("w2")]), json!([web("x", Some("w1"))]));
    for (team, expected) in [("a", "w1"), ("b", "none")] {
        let mut pod = json!({"metadata": {"name": "p", "labels": {}}, "spec": {}});
        pod["spec"]["affinity"] = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}},
             "namespaceSelector": {"matchLabels": {"team": team}}}]}});
        assert_eq!(placed(pod, &cluster).unwrap_or("none".into()), expected);
    }
}

#[test]
fn removing_a_pod_gives_back_what_it_took() {
    let pod = json!({"metadata": {"name": "b"}, "spec": {"nodeName": "w1",
        "containers": [{"name": "a", "ports": [{"containerPort": 1, "hostPort": 1}], "resources": {"requests": {"cpu": "3"}}}]}});
    let mut cluster = cluster(json!([node("w1")]), json!([pod]));
    assert!(placed(asking("2"), &cluster).is_err());
    assert!(cluster.remove_pod(&tricorn_client::Key::new("default", "b")));
    assert_eq!(placed(asking("4"), &cluster).unwrap(), "w1");
    let info = cluster.nodes().next().unwrap();
    assert!(info.ports.is_empty() && info.pods.is_empty());
    assert_eq!(info.requested.milli_cpu, 0);
}
