//! Whatever is sent, the chain answers; and what it has admitted it admits again without a change.
#![allow(clippy::unwrap_used)]

mod world;

use proptest::prelude::*;
use serde_json::{Value, json};
use tricorn_admission::{Chain, Operation};
use tricorn_meta::UserInfo;
use world::{Ask, World, admit_with, pod};

/// JSON that is often nearly right.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "spec",
        "metadata",
        "containers",
        "initContainers",
        "volumes",
        "projected",
        "sources",
        "name",
        "resources",
        "requests",
        "limits",
        "cpu",
        "memory",
        "tolerations",
        "key",
        "securityContext",
        "capabilities",
        "add",
        "runAsNonRoot",
        "nodeName",
        "serviceAccountName",
        "priorityClassName",
        "runtimeClassName",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "ports",
        "hostPort",
        "overhead",
        "storage",
        "status",
        "phase",
        "target",
        "taints",
        "request",
        "signerName",
        "boundObjectRef",
        "pod-security.kubernetes.io/enforce",
        "kubernetes.io/config.mirror",
    ]);
    let text = prop::sample::select(vec![
        "",
        "a",
        "n1",
        "Pod",
        "v1",
        "1",
        "1Gi",
        "x y",
        "kubernetes.io/kube-apiserver-client",
        "Bound",
        "system-node-critical",
    ]);
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (-1..90i64).prop_map(Value::from), text.prop_map(Value::from)];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|kv| Value::Object(kv.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

const RESOURCES: &[(&str, &str, &str)] = &[
    ("", "pods", ""),
    ("", "pods", "status"),
    ("", "pods", "binding"),
    ("", "pods", "eviction"),
    ("", "nodes", ""),
    ("", "namespaces", ""),
    ("", "services", ""),
    ("", "persistentvolumeclaims", ""),
    ("", "persistentvolumeclaims", "status"),
    ("", "serviceaccounts", "token"),
    ("apps", "deployments", ""),
    ("certificates.k8s.io", "certificatesigningrequests", ""),
    ("certificates.k8s.io", "certificatesigningrequests", "approval"),
    ("coordination.k8s.io", "leases", ""),
    ("networking.k8s.io", "ingresses", ""),
    ("resource.k8s.io", "resourceslices", ""),
    ("scheduling.k8s.io", "priorityclasses", ""),
];

fn world_of(other: &Value) -> World {
    let world = World::new();
    let mut range = json!({"metadata": {"name": "l", "namespace": "a"}});
    range["spec"] = json!({"limits": [{"type": "Container", "default": {"cpu": "1"}, "min": {"memory": "1Mi"}}, other]});
    world.put("", "limitranges", range);
    world.put("", "namespaces", json!({"metadata": {"name": "a", "labels": {"pod-security.kubernetes.io/warn": "restricted"}}}));
    let status = json!({"hard": {"pods": "9", "requests.cpu": "5"}, "used": {"pods": "0", "requests.cpu": "0"}});
    world.put(
        "",
        "resourcequotas",
        json!({"metadata": {"name": "q", "namespace": "a", "resourceVersion": 1}, "spec": {"scopeSelector": other}, "status": status}),
    );
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_makes_the_chain_panic(new in any_json(), old in any_json(), at in 0..RESOURCES.len(), update in any::<bool>(), as_node in any::<bool>(), inside in any::<bool>()) {
        let (group, resource, subresource) = RESOURCES[at];
        let mut object = if inside { json!({"metadata": {}, "spec": new}) } else { new.clone() };
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".into(), "a".into());
        }
        let user = if as_node { UserInfo::new("system:node:n1", ["system:nodes"]) } else { UserInfo::new("me", [""; 0]) };
        let ask = Ask {
            operation: if update { Operation::Update } else { Operation::Create },
            subresource,
            old: update.then(|| old.clone()),
            user,
            ..Ask::create(group, resource, object)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _ = runtime.block_on(admit_with(&Chain::builtin(), &world_of(&old), ask));
    }

    #[test]
    fn mutation_is_done_after_once(limits in prop::option::of("[1-9]00m"), class in prop::option::of(Just("system-cluster-critical")), toleration in any_json()) {
        let mut wanted = pod("p");
        if let Some(limits) = limits {
            wanted["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": limits, "memory": "2Mi"}, "requests": {"memory": "2Mi", "cpu": "100m"}});
        }
        if let Some(class) = class {
            wanted["spec"]["priorityClassName"] = json!(class);
        }
        wanted["spec"]["tolerations"] = json!([toleration]);
        let world = world_of(&Value::Null);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let chain = Chain::builtin();
        if let Ok((once, _)) = runtime.block_on(admit_with(&chain, &world, Ask::create("", "pods", wanted))) {
            let (twice, _) = runtime.block_on(admit_with(&chain, &world, Ask::create("", "pods", once.clone()))).unwrap();
            prop_assert_eq!(twice, once);
        }
    }
}
