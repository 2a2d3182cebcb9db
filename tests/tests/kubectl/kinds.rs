//! `get` and `describe` of every built-in kind that people look at, and of a kind of their own; `explain`.

use crate::client::{Kubectl, Words};

const OBJECTS: &str = include_str!("kinds.yaml");
const WIDGET: &str = "{apiVersion: {ns}.example.com/v1, kind: Widget, metadata: {name: shown}, spec: {size: 3}}";

/// An object, what `get` says of it, what `describe` does, and since which version kubectl can describe it as it is served now.
const SHOWN: &[(u32, &str, Words<'_>, Words<'_>)] = &[
    (
        20,
        "node w1",
        &["NAME STATUS ROLES AGE VERSION w1 Ready"],
        &["Roles:", "Allocatable:", "MemoryPressure False", "Non-terminated Pods:"],
    ),
    (
        20,
        "namespace {ns}",
        &["NAME STATUS AGE {ns} Active"],
        &["Status: Active", "Resource Quotas", "Resource Limits", "PersistentVolumeClaim storage 1Ki"],
    ),
    (20, "configmap shown", &["NAME DATA AGE shown 1"], &["Data ==== word: ---- hello"]),
    (20, "secret shown", &["NAME TYPE DATA AGE shown Opaque 1"], &["Type: Opaque", "word: 6 bytes", "!sesame"]),
    (20, "serviceaccount shown", &["NAME SECRETS AGE shown 0"], &["Name: shown", "Image pull secrets: <none>"]),
    (
        20,
        "service shown",
        &["NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE shown ClusterIP 10.43.", "<none> 80/TCP"],
        &["Selector: app=shown", "Port: http 80/TCP TargetPort: 8080/TCP", "Session Affinity: None"],
    ),
    (20, "replicationcontroller shown", &["NAME DESIRED CURRENT READY AGE shown 0 0 0"], &["Replicas: 0 current / 0 desired"]),
    (20, "limitrange shown", &["NAME CREATED AT shown 20"], &["PersistentVolumeClaim storage 1Ki"]),
    (20, "resourcequota shown", &["NAME", "AGE", "shown", "secrets: "], &["Resource Used Hard", "secrets ", " 100"]),
    (
        20,
        "persistentvolumeclaim shown",
        &["NAME STATUS VOLUME CAPACITY ACCESS MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE shown Pending {ns}-slow"],
        &["StorageClass: {ns}-slow", "Status: Pending", "Used By: <none>"],
    ),
    (
        20,
        "persistentvolume {ns}-disk",
        &["NAME CAPACITY ACCESS MODES RECLAIM POLICY STATUS CLAIM STORAGECLASS", "{ns}-disk 1Gi RWO Retain"],
        &["StorageClass: {ns}-other", "Capacity: 1Gi", "Type: HostPath", "Path: /nowhere"],
    ),
    (
        20,
        "storageclass {ns}-slow",
        &[
            "NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE {ns}-slow example.com/nobody Delete WaitForFirstConsumer",
        ],
        &["IsDefaultClass: No", "Provisioner: example.com/nobody", "ReclaimPolicy: Delete"],
    ),
    (
        20,
        "ingressclass {ns}-web",
        &["NAME CONTROLLER PARAMETERS AGE {ns}-web example.com/nobody <none>"],
        &["Controller: example.com/nobody"],
    ),
    (
        20,
        "ingress shown",
        &["NAME CLASS HOSTS ADDRESS PORTS AGE shown {ns}-web a.example 80"],
        &["Host Path Backends", "a.example /path shown:80"],
    ),
    (
        20,
        "networkpolicy shown",
        &["NAME POD-SELECTOR AGE shown app=shown"],
        &["PodSelector: app=shown", "To Port: 80/TCP", "Policy Types: Ingress"],
    ),
    (
        20,
        "deployment shown",
        &["NAME READY UP-TO-DATE AVAILABLE AGE shown 0/0 0 0"],
        &["StrategyType: RollingUpdate", "A: b", "cpu: 100m", "0 desired | 0 updated | 0 total", "NewReplicaSet: shown-"],
    ),
    (20, "replicaset -l app=shown-deployment", &["NAME DESIRED CURRENT READY AGE shown-", "0 0 0"], &["Controlled By: Deployment/shown"]),
    (20, "statefulset shown", &["NAME READY AGE shown 0/0"], &["Replicas: 0 desired | 0 total", "Update Strategy: RollingUpdate"]),
    (
        20,
        "daemonset shown",
        &["NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE shown 0 0 0 0 0 nowhere=here"],
        &["Node-Selector: nowhere=here", "Desired Number of Nodes Scheduled: 0"],
    ),
    (20, "job shown", &["NAME STATUS COMPLETIONS DURATION AGE shown Suspended 0/3"], &["Parallelism: 1", "Completions: 3"]),
    (
        21,
        "cronjob shown",
        &["NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE shown 0 0 1 1 * <none> True 0 <none>"],
        &["Schedule: 0 0 1 1 *", "Concurrency Policy: Allow", "Suspend: True"],
    ),
    (
        20,
        "horizontalpodautoscaler shown",
        &["NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE shown Deployment/shown", "<unknown>/80% 1 3 0"],
        &["Reference: Deployment/shown", "Min replicas: 1", "Max replicas: 3", "<unknown> / 80%"],
    ),
    (
        21,
        "poddisruptionbudget shown",
        &["NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE shown 1 N/A 0"],
        &["Min available: 1", "Selector: app=shown"],
    ),
    (20, "role shown", &["NAME CREATED AT shown 20"], &["Resources Non-Resource URLs Resource Names Verbs", "pods/log [] [] [get list]"]),
    (20, "rolebinding shown", &["NAME ROLE AGE shown Role/shown"], &["Kind: Role Name: shown", "User ann"]),
    (20, "clusterrole view", &["NAME CREATED AT view 20"], &["configmaps [] [] [get list watch]", "!secrets [] []"]),
    (20, "clusterrolebinding cluster-admin", &["NAME ROLE AGE cluster-admin ClusterRole/cluster-admin"], &["Group system:masters"]),
    (
        20,
        "priorityclass system-node-critical",
        &["NAME VALUE GLOBAL-DEFAULT AGE", "system-node-critical 2000001000 false"],
        &["Value: 2000001000", "GlobalDefault: false"],
    ),
    (20, "lease shown", &["NAME HOLDER AGE shown ann"], &["Holder Identity: ann"]),
    (
        20,
        "customresourcedefinition widgets.{ns}.example.com",
        &["NAME CREATED AT widgets.{ns}.example.com 20"],
        &["Kind: Widget", "Type: Established"],
    ),
    (20, "wd shown", &["NAME SIZE shown 3"], &["Kind: Widget", "Size: 3"]),
];

pub async fn all(k: &Kubectl) {
    k.apply(OBJECTS).await;
    k.says("wait --for=condition=Established crd/widgets.{ns}.example.com --timeout=60s", &["condition met"]).await;
    k.apply(WIDGET).await;
    k.until("get replicasets -l app=shown-deployment", &["shown-"]).await;
    k.until("get resourcequota shown", &["/100"]).await;
    k.until("get endpointslices -l kubernetes.io/service-name=shown", &["NAME ADDRESSTYPE PORTS ENDPOINTS AGE shown-", "IPv4"]).await;
    for (since, object, shown, described) in SHOWN {
        k.says(&format!("get {object}"), shown).await;
        if k.knows(*since, &format!("describe {object}")) {
            k.says(&format!("describe {object}"), described).await;
        }
    }
    if k.knows(21, "describe endpointslice") {
        k.says("describe endpointslice -l kubernetes.io/service-name=shown", &["AddressType: IPv4", "Endpoints: <none>"]).await;
    }
    k.file("kinds.yaml", OBJECTS);
    k.each(&[
        ("describe configmap sho", &["Name: shown"]),
        ("describe -f {dir}/kinds.yaml --show-events=false", &["Name: shown"]),
        ("get deployment,service,configmap shown", &["deployment.apps/shown", "service/shown", "configmap/shown"]),
        ("get all -l app=nobody", &["No resources found"]),
        ("get all", &["service/shown", "deployment.apps/shown", "job.batch/shown", "statefulset.apps/shown", "!configmap/shown"]),
        ("get deployment shown -o wide", &["CONTAINERS IMAGES SELECTOR", "c x app=shown-deployment"]),
        ("get service shown -o wide", &["SELECTOR", "app=shown"]),
        ("get node w1 -o wide", &["INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME", "containerd://"]),
        ("get rolebinding shown -o wide", &["USERS GROUPS SERVICEACCOUNTS", "ann"]),
    ])
    .await;
    k.fails("describe configmap nowhere", &["configmaps \"nowhere\" not found"]).await;
    explain(k).await;
    let gone = k
        .says("delete -f {dir}/kinds.yaml --timeout=60s", &["persistentvolume \"{ns}-disk\" deleted", "storageclass.storage.k8s.io"])
        .await;
    assert_eq!(gone.lines().count(), OBJECTS.matches("apiVersion: ").count() - 1, "{gone}");
}

async fn explain(k: &Kubectl) {
    k.each(&[
        ("explain pods", &["KIND: Pod VERSION: v1", "Pod is a collection of containers", "spec <"]),
        ("explain pod.spec.containers.imagePullPolicy", &["FIELD", "imagePullPolicy", "<string>", "One of Always, Never, IfNotPresent"]),
        ("explain deployments --recursive", &["rollingUpdate <", "maxSurge <", "nodeSelector <map[string]string>"]),
        ("explain deployment.spec.strategy.rollingUpdate", &["maxUnavailable", "!template"]),
        ("explain hpa --api-version=autoscaling/v1 --recursive", &["VERSION:", "v1", "targetCPUUtilizationPercentage <integer>"]),
        ("explain hpa.spec", &["metrics", "behavior", "!targetCPUUtilizationPercentage"]),
        ("explain crd.spec.versions.schema", &["openAPIV3Schema"]),
    ])
    .await;
    // The past is slow to be forgotten: the schema of a new kind is published a moment after it can be used.
    k.until("explain widgets.spec", &["KIND: Widget", "What is wanted of a widget.", "size <integer>", "How large it is to be."]).await;
    k.each_fails(&[
        ("explain nonsense", &["nonsense"]),
        ("explain pod.spec.nonsense", &["field \"nonsense\" does not exist"]),
        ("explain pods --api-version=apps/v1", &["pods"]),
    ])
    .await;
    if k.knows(27, "explain --output") {
        k.says("explain pod.status.phase --output=plaintext-openapiv2", &["phase", "<string>"]).await;
    }
}
