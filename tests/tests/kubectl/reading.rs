//! `get`: all its outputs and selections, and what it follows.

use serde_json::Value;

use crate::client::{Kubectl, Words};

const MAPS: &str = "
{apiVersion: v1, kind: ConfigMap, metadata: {name: read-a, labels: {read: one}}, data: {order: c, word: hello}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: read-b, labels: {read: one, also: here}}, data: {order: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: read-c, labels: {read: two}}, data: {order: a}}
";

/// Which objects a selection names, in order.
const SELECTED: &[(&str, &[&str])] = &[
    ("-l read=one", &["read-a", "read-b"]),
    ("-l read!=one,read", &["read-c"]),
    ("-l 'read in (one,two),!also'", &["read-a", "read-c"]),
    ("-l 'read notin (two),read'", &["read-a", "read-b"]),
    ("-l read --field-selector=metadata.name=read-b", &["read-b"]),
    ("-l read --field-selector=metadata.name!=read-b,metadata.namespace={ns}", &["read-a", "read-c"]),
    ("-l read --sort-by=.data.order", &["read-c", "read-b", "read-a"]),
    ("-l read --sort-by={.metadata.creationTimestamp}", &["read-a", "read-b", "read-c"]),
    ("-l read --chunk-size=1", &["read-a", "read-b", "read-c"]),
    ("-l read=three", &[]),
    ("read-c read-a", &["read-c", "read-a"]),
    ("read-c nowhere --ignore-not-found", &["read-c"]),
    ("-f {dir}/maps.yaml", &["read-a", "read-b", "read-c"]),
];

/// How objects are printed.
const PRINTED: &[(&str, &str)] = &[
    ("read-a -o name", "configmap/read-a"),
    ("read-a -o jsonpath={.data.word}", "hello"),
    ("read-a -o 'jsonpath={.metadata.name}{\"\\n\"}{.data}'", "read-a\n{\"order\":\"c\",\"word\":\"hello\"}"),
    ("-l read -o jsonpath={.items[*].data.order}", "c b a"),
    ("-l read -o 'jsonpath={range .items[?(@.data.order!=\"b\")]}{.metadata.name};{end}'", "read-a;read-c;"),
    ("-l read -o jsonpath-file={dir}/in.jsonpath", "c b a"),
    ("-l read -o 'go-template={{range .items}}{{.metadata.name}}={{.data.order}} {{end}}'", "read-a=c read-b=b read-c=a"),
    ("-l read -o go-template-file={dir}/in.template", "3"),
    ("-l read -o custom-columns=N:.metadata.name,W:.data.word", "N        W\nread-a   hello\nread-b   <none>\nread-c   <none>"),
    ("-l read=two --no-headers -o custom-columns=N:.metadata.name,O:.data.order", "read-c   a"),
    ("-l read=two -o custom-columns-file={dir}/in.columns", "NAME     ORDER\nread-c   a"),
];

const TABLES: &[(&str, Words<'_>)] = &[
    ("get configmap -l read", &["NAME DATA AGE read-a 2", "read-b 1", "read-c 1"]),
    ("get cm -l read --no-headers", &["!NAME", "read-a 2"]),
    ("get configmaps.v1. read-a --show-labels", &["NAME DATA AGE LABELS read-a 2", "read=one"]),
    ("get configmap -l read -L read,also", &["NAME DATA AGE READ ALSO read-a 2", "one read-b", "one here read-c", "two"]),
    ("get configmap -l read --show-kind", &["configmap/read-a"]),
    (
        "get configmap -A --field-selector=metadata.name=kube-root-ca.crt",
        &["NAMESPACE NAME DATA AGE", "default kube-root-ca.crt 1", "kube-system"],
    ),
    ("get configmap,secret -l read=three", &["No resources found in {ns} namespace."]),
    (
        "get configmap read-a -o yaml",
        &["apiVersion: v1 data: order: c word: hello kind: ConfigMap metadata:", "resourceVersion: \"", "uid: "],
    ),
    ("get configmap -l read -o yaml", &["apiVersion: v1 items: - apiVersion: v1", "kind: List"]),
    ("get configmap read-a -o wide --server-print=false", &["NAME AGE read-a"]),
    ("get --raw /api/v1/namespaces/{ns}/configmaps/read-a", &["\"kind\":\"ConfigMap\"", "\"word\":\"hello\""]),
    ("get --raw /healthz", &["ok"]),
    ("get --raw /readyz?verbose", &["[+]ping ok", "readyz check passed"]),
    ("get --raw /version", &["\"gitVersion\":"]),
    ("get --raw /metrics", &["apiserver_request_total"]),
    ("get --raw /openapi/v3", &["\"apis/apps/v1\""]),
    ("get --raw '/apis/apps/v1/deployments?limit=1'", &["\"kind\":\"DeploymentList\""]),
];

const REFUSED: &[(&str, Words<'_>)] = &[
    ("get configmap nowhere", &["Error from server (NotFound): configmaps \"nowhere\" not found"]),
    ("get nonsense", &["the server doesn't have a resource type \"nonsense\""]),
    ("get configmap --field-selector=data.word=hello", &["field label not supported: data.word"]),
    ("get configmap -l 'read in one'", &["unable to parse requirement"]),
    ("get --raw /nonsense", &["the server could not find the requested resource"]),
    ("get configmap read-a -o jsonpath={.data", &["unclosed action"]),
];

pub async fn all(k: &Kubectl) {
    k.file("maps.yaml", MAPS);
    k.file("in.jsonpath", "{.items[*].data.order}");
    k.file("in.template", "{{len .items}}");
    k.file("in.columns", "NAME           ORDER\nmetadata.name  data.order\n");
    k.apply(MAPS).await;
    for (selection, wanted) in SELECTED {
        let names: Vec<String> = wanted.iter().map(|name| format!("configmap/{name}")).collect();
        k.is(&format!("get configmap {selection} -o name").replace("configmap -f", "-f"), &names.join("\n")).await;
    }
    for (line, wanted) in PRINTED {
        k.is(&format!("get configmap {line}"), wanted).await;
    }
    k.each(TABLES).await;
    k.each_fails(REFUSED).await;
    let list: Value = serde_json::from_str(&k.says("get configmap -l read -o json", &[]).await).unwrap();
    assert_eq!((list["kind"].as_str(), list["items"][2]["data"]["order"].as_str()), (Some("List"), Some("a")), "{list:#}");
    if k.knows(21, "get --show-managed-fields") {
        k.says("get configmap read-a -o yaml", &["!managedFields:"]).await;
        k.says("get configmap read-a -o yaml --show-managed-fields", &["managedFields:", "f:word: {}", "manager: kubectl"]).await;
    }
    if k.knows(24, "get --subresource") {
        k.says("create deployment read --image=x --replicas=0", &["created"]).await;
        k.says("get deployment read --subresource=scale", &["NAME DESIRED AVAILABLE AGE read 0 0"]).await;
        k.says("get deployment read --subresource=status -o yaml", &["kind: Deployment"]).await;
        k.says("delete deployment read", &["deployment.apps \"read\" deleted"]).await;
    }
    followed(k).await;
    k.says("delete -f {dir}/maps.yaml", &["configmap \"read-c\" deleted"]).await;
}

/// What is watched is shown while it happens.
async fn followed(k: &Kubectl) {
    let mut all = k.start("get configmap -l followed -w --output-watch-events");
    let mut one = k.start("get configmap read-a -w -o 'jsonpath={.data.word}{\"\\n\"}'");
    let mut only = k.start("get configmap -l read --watch-only -o name");
    one.line("hello").await;
    k.says("create configmap followed", &["created"]).await;
    k.says("label configmap followed followed=yes", &["labeled"]).await;
    let mut changed = "ADDED followed 0";
    for (line, event) in [
        ("patch configmap followed -p '{\"data\":{\"a\":\"b\"}}'", "MODIFIED followed 1"),
        ("label configmap followed followed-", "DELETED followed 1"),
    ] {
        all.line(changed).await;
        k.says(line, &["configmap/followed"]).await;
        changed = event;
    }
    all.line(changed).await;
    // It may not watch yet, so the object is changed until it is seen to change.
    let mut count = 0;
    let change = async {
        loop {
            count += 1;
            k.says(&format!("patch configmap read-a -p '{{\"data\":{{\"word\":\"new{count}\"}}}}'"), &["configmap/read-a patched"]).await;
        }
    };
    tokio::select! {
        () = change => {}
        _ = async { (only.line("configmap/read-a").await, one.line("new").await) } => {}
    }
    k.says("delete configmap followed", &["deleted"]).await;
}
