use super::*;
use serde_json::json;

fn node(name: &str) -> UserInfo {
    UserInfo::new(format!("system:node:{name}"), ["system:nodes", "system:authenticated"])
}

fn pod() -> Value {
    json!({"metadata": {"namespace": "a", "name": "p"}, "spec": {"nodeName": "n1", "serviceAccountName": "sa",
        "imagePullSecrets": [{"name": "pull"}],
        "containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "cm-env"}}}], "envFrom": [{"secretRef": {"name": "s-env"}}]}],
        "volumes": [{"name": "v1", "secret": {"secretName": "s-vol"}}, {"name": "v2", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "v3", "projected": {"sources": [{"configMap": {"name": "cm-proj"}}]}}, {"name": "v4", "ephemeral": {}}]}})
}

fn volume() -> Value {
    json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "a", "name": "c"},
        "csi": {"nodeStageSecretRef": {"namespace": "s", "name": "stage"}}}})
}

#[test]
fn a_node_reads_what_its_pods_use() {
    let mut authorizer = NodeAuthorizer::new();
    authorizer.apply("Pod", &pod());
    authorizer.apply("PersistentVolume", &volume());
    let (one, two) = (node("n1"), node("n2"));
    let asks = |user, verb, resource, namespace, name| Attributes { namespace, name, ..Attributes::resource(user, verb, "", resource) };
    for (resource, namespace, name) in [
        ("secrets", "a", "pull"),
        ("secrets", "a", "s-env"),
        ("secrets", "a", "s-vol"),
        ("secrets", "s", "stage"),
        ("configmaps", "a", "cm-env"),
        ("configmaps", "a", "cm-proj"),
        ("persistentvolumeclaims", "a", "c"),
        ("persistentvolumeclaims", "a", "p-v4"),
        ("persistentvolumes", "", "pv"),
        ("pods", "a", "p"),
        ("serviceaccounts", "a", "sa"),
    ] {
        assert!(authorizer.authorize(&asks(&one, "get", resource, namespace, name)).allowed(), "{resource} {name}");
        let refused = authorizer.authorize(&asks(&two, "get", resource, namespace, name));
        assert_eq!(refused, no("no relationship found between node 'n2' and this object"), "{resource} {name}");
        assert!(!authorizer.authorize(&asks(&one, "get", resource, "other", "other")).allowed(), "{resource}");
    }
    let token = Attributes { subresource: "token", ..asks(&one, "create", "serviceaccounts", "a", "sa") };
    assert!(authorizer.authorize(&token).allowed());
    assert!(!authorizer.authorize(&Attributes { name: "default", ..token }).allowed());

    authorizer.remove("Pod", "a", "p");
    assert!(!authorizer.authorize(&asks(&one, "get", "secrets", "a", "s-vol")).allowed());
    assert!(!authorizer.authorize(&asks(&one, "get", "secrets", "s", "stage")).allowed());
    assert!(authorizer.graph.nodes.is_empty());
}

#[test]
fn references_are_counted() {
    let mut authorizer = NodeAuthorizer::new();
    let mut other = pod();
    other["metadata"]["name"] = json!("q");
    authorizer.apply("Pod", &pod());
    authorizer.apply("Pod", &other);
    authorizer.apply("Pod", &other);
    authorizer.remove("Pod", "a", "p");
    let user = node("n1");
    let request = Attributes { namespace: "a", name: "pull", ..Attributes::resource(&user, "get", "", "secrets") };
    assert!(authorizer.authorize(&request).allowed());
    authorizer.remove("Pod", "a", "q");
    assert!(!authorizer.authorize(&request).allowed());
}

#[test]
fn own_things_and_nothing_else() {
    let authorizer = NodeAuthorizer::new();
    let user = node("n1");
    let other = UserInfo::new("system:node:n1", ["system:authenticated"]);
    let lease =
        |verb, namespace, name| Attributes { namespace, name, ..Attributes::resource(&user, verb, "coordination.k8s.io", "leases") };
    let nodes = |verb, name, field_selector| Attributes { name, field_selector, ..Attributes::resource(&user, verb, "", "nodes") };
    let pods = |verb, field_selector| Attributes { field_selector, ..Attributes::resource(&user, verb, "", "pods") };
    let cases = [
        (lease("update", "kube-node-lease", "n1"), true),
        (lease("update", "kube-node-lease", "n2"), false),
        (lease("update", "default", "n1"), false),
        (nodes("get", "n1", ""), true),
        (nodes("get", "n2", ""), false),
        (nodes("list", "", ""), false),
        (nodes("watch", "", "metadata.name=n1"), true),
        (nodes("update", "n1", ""), true),
        (nodes("delete", "n1", ""), false),
        (pods("list", "spec.nodeName=n1"), true),
        (pods("list", "spec.nodeName=n2"), false),
        (pods("list", ""), false),
        (Attributes { namespace: "a", name: "p", subresource: "status", ..Attributes::resource(&user, "patch", "", "pods") }, true),
        (Attributes::resource(&user, "list", "", "services"), true),
        (Attributes::resource(&user, "list", "", "secrets"), false),
        (Attributes::resource(&user, "create", "apps", "deployments"), false),
        (Attributes::resource(&other, "list", "", "services"), false),
    ];
    for (request, want) in cases {
        assert_eq!(authorizer.authorize(&request).allowed(), want, "{request:?}");
    }
}
