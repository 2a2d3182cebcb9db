//! What a decision costs in a cluster with many bindings and pods: `cargo run --release -p tricorn-authz --example authorizing`.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use serde_json::json;
use tricorn_authz::{Attributes, Authorizer, bootstrap_objects};
use tricorn_meta::UserInfo;

const NAMESPACES: usize = 1_000;
const PODS: usize = 20_000;

fn time(what: &str, times: u32, mut work: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..times {
        work();
    }
    println!("{what:50} {:8.3} us", start.elapsed().as_secs_f64() * 1e6 / f64::from(times));
}

fn main() {
    let mut authorizer = Authorizer::default();
    for object in bootstrap_objects() {
        authorizer.apply(object["kind"].as_str().unwrap_or_default(), &object);
    }
    for i in 0..NAMESPACES {
        let subjects = json!([{"kind": "ServiceAccount", "name": "default", "namespace": format!("ns{i}")}]);
        let binding = json!({"metadata": {"name": "b", "namespace": format!("ns{i}")}, "roleRef": {"kind": "ClusterRole", "name": "edit"}, "subjects": subjects});
        authorizer.apply("RoleBinding", &binding);
    }
    let pod = |i: usize| {
        json!({"metadata": {"name": format!("p{i}"), "namespace": format!("ns{}", i % NAMESPACES)},
            "spec": {"nodeName": format!("n{}", i % 500), "serviceAccountName": "default", "containers": [{"env": []}], "volumes": [{"configMap": {"name": "c"}}]}})
    };
    for i in 0..PODS {
        authorizer.apply("Pod", &pod(i));
    }
    let scheduler = UserInfo::new("system:kube-scheduler", ["system:authenticated"]);
    let account = UserInfo::service_account("ns7", "default");
    let node = UserInfo::new("system:node:n7", ["system:nodes", "system:authenticated"]);
    let ask = |request: Attributes<'_>| {
        black_box(authorizer.authorize(black_box(&request)));
    };
    time("scheduler binds a pod", 200_000, || {
        ask(Attributes { namespace: "a", subresource: "binding", ..Attributes::resource(&scheduler, "create", "", "pods") })
    });
    time("service account is refused", 200_000, || {
        ask(Attributes { namespace: "ns7", ..Attributes::resource(&account, "list", "", "secrets") })
    });
    time("node reads a config map", 200_000, || {
        ask(Attributes { namespace: "ns7", name: "c", ..Attributes::resource(&node, "get", "", "configmaps") })
    });
    time("node reports on a pod", 200_000, || {
        ask(Attributes { namespace: "ns7", name: "p7", subresource: "status", ..Attributes::resource(&node, "patch", "", "pods") })
    });
    let same = pod(7);
    time("a pod's status changes", 100_000, || authorizer.apply("Pod", black_box(&same)));
}
