//! The default chain on a small cluster: what a pod comes out as, and who is refused with which words.
#![allow(clippy::unwrap_used)]

mod world;

use serde_json::{Value, json};
use tricorn_admission::{Chain, Operation};
use tricorn_meta::UserInfo;
use world::{Ask, World, admit, pod};

fn refused(world: &World, ask: Ask<'_>) -> String {
    admit(world, ask).unwrap_err().message().to_owned()
}

fn node(name: &str) -> UserInfo {
    UserInfo::new(format!("system:node:{name}"), ["system:nodes", "system:authenticated"])
}

#[test]
fn the_order_is_upstreams() {
    let order = [
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "NodeRestriction",
        "TaintNodesByCondition",
        "PodSecurity",
        "Priority",
        "DefaultTolerationSeconds",
        "DefaultStorageClass",
        "StorageObjectInUseProtection",
        "PersistentVolumeClaimResize",
        "RuntimeClass",
        "CertificateApproval",
        "CertificateSigning",
        "CertificateSubjectRestriction",
        "DefaultIngressClass",
        "PodTopologyLabels",
        "ResourceQuota",
    ];
    assert_eq!(Chain::builtin().names(), order);
    assert!(!Chain::builtin().without(&["PodSecurity"]).names().contains(&"PodSecurity"));
}

#[test]
fn a_plain_pod_comes_out_complete() {
    let (pod, warnings) = admit(&World::new(), Ask::create("", "pods", pod("p"))).unwrap();
    assert!(warnings.is_empty());
    let spec = &pod["spec"];
    assert_eq!(
        (&spec["serviceAccountName"], &spec["serviceAccount"], &spec["priority"]),
        (&json!("default"), &json!("default"), &json!(0))
    );
    assert_eq!(spec["preemptionPolicy"], "PreemptLowerPriority");
    let volume = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-") && volume.len() == "kube-api-access-".len() + 5, "{volume}");
    assert_eq!(spec["volumes"][0]["projected"]["sources"][0], json!({"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}));
    assert_eq!(
        spec["containers"][0]["volumeMounts"],
        json!([{"name": volume, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}])
    );
    let tolerated: Vec<&Value> = spec["tolerations"].as_array().unwrap().iter().map(|t| &t["key"]).collect();
    assert_eq!(tolerated, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
    let (again, _) = admit(&World::new(), Ask::create("", "pods", pod.clone())).unwrap();
    assert_eq!(again, pod, "admission changes nothing the second time");
}

#[test]
fn automount_can_be_switched_off_by_account_and_back_on_by_pod() {
    let world = World::new();
    world.put("", "serviceaccounts", json!({"metadata": {"name": "default", "namespace": "a"}, "automountServiceAccountToken": false, "imagePullSecrets": [{"name": "s"}]}));
    let (bare, _) = admit(&world, Ask::create("", "pods", pod("p"))).unwrap();
    assert!(bare["spec"].get("volumes").is_none());
    assert_eq!(bare["spec"]["imagePullSecrets"], json!([{"name": "s"}]));
    let mut wanting = pod("p");
    wanting["spec"]["automountServiceAccountToken"] = json!(true);
    assert!(admit(&world, Ask::create("", "pods", wanting)).unwrap().0["spec"].get("volumes").is_some());
}

#[test]
fn namespaces_come_and_go() {
    let world = World::new();
    let mut elsewhere = pod("p");
    elsewhere["metadata"]["namespace"] = json!("b");
    assert_eq!(refused(&world, Ask::create("", "pods", elsewhere)), "namespaces \"b\" not found");
    world.put("", "namespaces", json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}}));
    let status = admit(&world, Ask::create("", "pods", pod("p"))).unwrap_err();
    assert_eq!(status.message(), "pods \"p\" is forbidden: unable to create new content in namespace a because it is being terminated");
    assert_eq!(status.details().unwrap().causes[0].reason, "NamespaceTerminating");
    let delete = |name| Ask { operation: Operation::Delete, new: None, ..Ask::create("", "namespaces", json!({})) }.named(name);
    assert_eq!(refused(&world, delete("kube-system")), "namespaces \"kube-system\" is forbidden: this namespace may not be deleted");
    assert!(admit(&world, delete("a")).is_ok());
}

#[test]
fn an_account_must_exist() {
    let mut missing = pod("p");
    missing["spec"]["serviceAccountName"] = json!("x");
    assert_eq!(
        refused(&World::new(), Ask::create("", "pods", missing)),
        "pods \"p\" is forbidden: error looking up service account a/x: serviceaccount \"x\" not found"
    );
}

#[test]
fn limits_are_set_and_held() {
    let world = World::new();
    world.put(
        "",
        "limitranges",
        json!({"metadata": {"name": "l", "namespace": "a"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}]}}),
    );
    let (done, _) = admit(&world, Ask::create("", "pods", pod("p"))).unwrap();
    assert_eq!(done["spec"]["containers"][0]["resources"], json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}));
    assert_eq!(
        done["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let mut large = pod("p");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}, "requests": {"cpu": "2"}});
    assert_eq!(
        refused(&world, Ask::create("", "pods", large)),
        "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
    );
}

#[test]
fn pod_security_by_namespace_label() {
    let world = World::new();
    let mut privileged = pod("p");
    privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    assert!(admit(&world, Ask::create("", "pods", privileged.clone())).is_ok());
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"});
    world.put("", "namespaces", json!({"metadata": {"name": "a", "labels": labels}}));
    assert_eq!(
        refused(&world, Ask::create("", "pods", privileged)),
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set securityContext.privileged=true)"
    );
    let (_, warnings) = admit(&world, Ask::create("", "pods", pod("p"))).unwrap();
    assert!(warnings[0].starts_with("would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false"), "{warnings:?}");
    let deployment =
        json!({"metadata": {"namespace": "a", "name": "d"}, "spec": {"template": {"spec": {"hostNetwork": true, "containers": []}}}});
    let (_, warnings) = admit(&world, Ask::create("apps", "deployments", deployment)).unwrap();
    assert!(warnings[0].contains("host namespaces (hostNetwork=true)"));
}

#[test]
fn priorities_are_resolved() {
    let world = World::new();
    let with = |class: &str| {
        let mut pod = pod("p");
        pod["spec"]["priorityClassName"] = json!(class);
        Ask::create("", "pods", pod)
    };
    assert_eq!(admit(&world, with("system-node-critical")).unwrap().0["spec"]["priority"], 2_000_001_000);
    assert_eq!(refused(&world, with("x")), "pods \"p\" is forbidden: no PriorityClass with name x was found");
    let class = json!({"metadata": {"name": "high"}, "value": 7, "globalDefault": true, "preemptionPolicy": "Never"});
    world.put("scheduling.k8s.io", "priorityclasses", class);
    let (done, _) = admit(&world, Ask::create("", "pods", pod("p"))).unwrap();
    assert_eq!(
        (&done["spec"]["priorityClassName"], &done["spec"]["priority"], &done["spec"]["preemptionPolicy"]),
        (&json!("high"), &json!(7), &json!("Never"))
    );
    let mut sent = pod("p");
    sent["spec"]["priority"] = json!(9);
    assert!(
        refused(&world, Ask::create("", "pods", sent))
            .contains("the integer value of priority (9) must not be provided in pod spec; priority admission controller computed 7")
    );
    let second = json!({"metadata": {"name": "other"}, "value": 1, "globalDefault": true});
    assert!(
        refused(&world, Ask::create("scheduling.k8s.io", "priorityclasses", second))
            .contains("PriorityClass high is already marked as default")
    );
}

#[test]
fn storage_defaults_and_protection() {
    let world = World::new();
    let class = |name: &str, created: &str, expand: bool| json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "allowVolumeExpansion": expand});
    world.put("storage.k8s.io", "storageclasses", class("old", "2020-01-01T00:00:00Z", false));
    world.put("storage.k8s.io", "storageclasses", class("new", "2024-01-01T00:00:00Z", true));
    let claim = json!({"metadata": {"namespace": "a", "name": "c"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}});
    let (done, _) = admit(&world, Ask::create("", "persistentvolumeclaims", claim)).unwrap();
    assert_eq!(
        (&done["spec"]["storageClassName"], &done["metadata"]["finalizers"]),
        (&json!("new"), &json!(["kubernetes.io/pvc-protection"]))
    );
    let mut larger = done.clone();
    larger["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    let resize = |old: &Value, new: &Value| Ask::update("", "persistentvolumeclaims", "", old.clone(), new.clone());
    assert!(refused(&world, resize(&done, &larger)).ends_with("Only bound persistent volume claims can be expanded"));
    let mut bound = done.clone();
    bound["status"] = json!({"phase": "Bound"});
    assert!(admit(&world, resize(&bound, &larger)).is_ok());
    larger["spec"]["storageClassName"] = json!("old");
    assert!(refused(&world, resize(&bound, &larger)).contains("only dynamically provisioned pvc can be resized"));
}

#[test]
fn quotas_are_charged_and_held() {
    let world = World::new();
    let hard = json!({"pods": "2", "requests.cpu": "1"});
    world.put(
        "",
        "resourcequotas",
        json!({"metadata": {"name": "q", "namespace": "a", "resourceVersion": 1}, "spec": {"hard": hard},
        "status": {"hard": hard, "used": {"pods": "0", "requests.cpu": "0"}}}),
    );
    assert_eq!(
        refused(&world, Ask::create("", "pods", pod("p"))),
        "pods \"p\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
    let sized = |name: &str, cpu: &str| {
        let mut pod = pod(name);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
        Ask::create("", "pods", pod)
    };
    admit(&world, sized("p1", "600m")).unwrap();
    let used = world.read("", "resourcequotas", "a", "q").unwrap()["status"]["used"].clone();
    assert_eq!(used, json!({"pods": "1", "requests.cpu": "600m"}));
    assert_eq!(
        refused(&world, sized("p2", "600m")),
        "pods \"p2\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    admit(&world, sized("p3", "100m")).unwrap();
    assert!(refused(&world, sized("p4", "1m")).contains("exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"));
}

#[test]
fn nodes_keep_to_themselves() {
    let world = World::new();
    let running =
        json!({"metadata": {"namespace": "a", "name": "p", "uid": "u"}, "spec": {"nodeName": "n1", "serviceAccountName": "default"}});
    world.put("", "pods", running.clone());
    let mut status = running.clone();
    status["status"] = json!({"phase": "Running"});
    let report = || Ask::update("", "pods", "status", running.clone(), status.clone());
    assert!(admit(&world, report().by(node("n1"))).is_ok());
    assert!(
        refused(&world, report().by(node("n2")))
            .contains("node \"n2\" can only update pod status for pods with spec.nodeName set to itself")
    );

    let own = json!({"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}}});
    let (made, _) = admit(&world, Ask::create("", "nodes", own.clone()).by(node("n1"))).unwrap();
    assert_eq!(made["spec"]["taints"], json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]));
    assert!(
        refused(&world, Ask::create("", "nodes", own.clone()).by(node("n2"))).contains("node \"n2\" is not allowed to modify node \"n1\"")
    );
    let mut labelled = own.clone();
    labelled["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = json!("");
    assert!(
        refused(&world, Ask::create("", "nodes", labelled).by(node("n1")))
            .contains("is not allowed to modify labels: node-role.kubernetes.io/control-plane")
    );
    let mut untainted = made.clone();
    untainted["spec"]["taints"] = json!([]);
    assert!(
        refused(&world, Ask::update("", "nodes", "", made, untainted).by(node("n1")))
            .contains("node \"n1\" is not allowed to modify taints")
    );

    let token = |uid: &str| json!({"metadata": {"namespace": "a"}, "spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}}});
    let ask =
        |object: Value, by: &str| Ask { subresource: "token", ..Ask::create("", "serviceaccounts", object) }.named("default").by(node(by));
    assert!(admit(&world, ask(token("u"), "n1")).is_ok());
    assert!(refused(&world, ask(token("u"), "n2")).contains("node requested token bound to a pod scheduled on a different node"));
    assert!(refused(&world, ask(token("v"), "n1")).contains("does not match the UID in record"));
    assert!(refused(&world, ask(json!({"metadata": {"namespace": "a"}}), "n1")).contains("node requested token not bound to a pod"));

    let mirror = json!({"metadata": {"namespace": "a", "name": "m", "annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"nodeName": "n1", "containers": []}});
    assert!(admit(&world, Ask::create("", "pods", mirror).by(node("n1"))).is_ok());
    assert!(refused(&world, Ask::create("", "pods", pod("x")).by(node("n1"))).contains("can only create mirror pods"));
}

#[test]
fn certificates_need_permission_for_the_signer() {
    let mut world = World::new();
    let csr = json!({"metadata": {"name": "c"}, "spec": {"signerName": "example.com/s"}});
    let ask = || Ask::update("certificates.k8s.io", "certificatesigningrequests", "approval", csr.clone(), csr.clone());
    assert!(refused(&world, ask()).contains("user not permitted to approve requests with signerName \"example.com/s\""));
    let rules =
        json!([{"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["example.com/*"], "verbs": ["approve"]}]);
    world.authorizer.apply("ClusterRole", &json!({"metadata": {"name": "r"}, "rules": rules}));
    let binding =
        json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "me"}]});
    world.authorizer.apply("ClusterRoleBinding", &binding);
    assert!(admit(&world, ask()).is_ok());
    let mut signed = csr.clone();
    signed["status"] = json!({"certificate": "eA=="});
    let sign = Ask::update("certificates.k8s.io", "certificatesigningrequests", "status", csr.clone(), signed);
    assert!(refused(&world, sign).contains("user not permitted to sign requests with signerName"));
}

#[test]
fn no_superusers_by_certificate() {
    use base64::Engine;
    let request = |organization: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let encoded = base64::engine::general_purpose::STANDARD.encode(pem);
        let csr = json!({"metadata": {"name": "c"}, "spec": {"signerName": "kubernetes.io/kube-apiserver-client", "request": encoded}});
        Ask::create("certificates.k8s.io", "certificatesigningrequests", csr)
    };
    assert!(admit(&World::new(), request("devs")).is_ok());
    assert!(
        refused(&World::new(), request("system:masters"))
            .contains("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed")
    );
}

#[test]
fn runtime_classes_bring_overhead_and_place() {
    let world = World::new();
    let mut wanting = pod("p");
    wanting["spec"]["runtimeClassName"] = json!("vm");
    assert!(refused(&world, Ask::create("", "pods", wanting.clone())).contains("pod rejected: RuntimeClass \"vm\" not found"));
    let class =
        json!({"metadata": {"name": "vm"}, "overhead": {"podFixed": {"cpu": "250m"}}, "scheduling": {"nodeSelector": {"vm": "yes"}}});
    world.put("node.k8s.io", "runtimeclasses", class);
    let (done, _) = admit(&world, Ask::create("", "pods", wanting)).unwrap();
    assert_eq!((&done["spec"]["overhead"], &done["spec"]["nodeSelector"]), (&json!({"cpu": "250m"}), &json!({"vm": "yes"})));
}

#[test]
fn a_binding_carries_the_nodes_topology() {
    let world = World::new();
    world.put("", "nodes", json!({"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z", "other": "x"}}}));
    let binding = json!({"metadata": {"namespace": "a", "name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    let (done, _) = admit(&world, Ask { subresource: "binding", ..Ask::create("", "pods", binding) }).unwrap();
    assert_eq!(done["metadata"]["labels"], json!({"topology.kubernetes.io/zone": "z"}));
}

#[test]
fn a_quota_is_never_overdrawn_however_many_ask_at_once() {
    use std::sync::Arc;
    let world = Arc::new(World::new());
    let status = json!({"hard": {"pods": "5"}, "used": {"pods": "0"}});
    world.put(
        "",
        "resourcequotas",
        json!({"metadata": {"name": "q", "namespace": "a", "resourceVersion": 1}, "spec": {"hard": {"pods": "5"}}, "status": status}),
    );
    let chain = Arc::new(Chain::builtin());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let admitted = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..20 {
            let (world, chain) = (Arc::clone(&world), Arc::clone(&chain));
            tasks.spawn(async move { world::admit_with(&chain, &world, Ask::create("", "pods", pod(&format!("p{i}")))).await.is_ok() });
        }
        tasks.join_all().await.into_iter().filter(|ok| *ok).count()
    });
    assert_eq!(admitted, 5);
    assert_eq!(world.read("", "resourcequotas", "a", "q").unwrap()["status"]["used"]["pods"], "5");
}
