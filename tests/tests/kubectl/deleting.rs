//! `delete` in all its ways, and `wait`.

use crate::client::Kubectl;

pub async fn all(k: &Kubectl) {
    chosen(k).await;
    owners(k).await;
    pods(k).await;
}

/// Which objects go.
async fn chosen(k: &Kubectl) {
    for name in ["a", "b", "c", "d", "e", "f"] {
        let of = if name < "c" { "ab" } else { "rest" };
        k.apply(&format!("{{apiVersion: v1, kind: ReplicationController, metadata: {{name: gone-{name}, labels: {{of: {of}}}}}, spec: {{replicas: 0, selector: {{a: b}}, template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: x}}]}}}}}}}}")).await;
    }
    let left = "get replicationcontroller -l of -o name";
    k.file("f.yaml", "{apiVersion: v1, kind: ReplicationController, metadata: {name: gone-f}}");
    k.each(&[
        ("delete rc gone-a gone-b --dry-run=client", &["\"gone-a\" deleted (dry run)", "\"gone-b\" deleted (dry run)"]),
        ("delete rc gone-a --dry-run=server", &["\"gone-a\" deleted (server dry run)"]),
        ("delete rc -l of=ab", &["replicationcontroller \"gone-a\" deleted", "\"gone-b\" deleted", "!gone-c"]),
        ("delete rc --field-selector=metadata.name=gone-c -l of", &["\"gone-c\" deleted", "!gone-d"]),
        ("delete rc/gone-d -o name", &["replicationcontroller/gone-d"]),
        (left, &["replicationcontroller/gone-e", "replicationcontroller/gone-f", "!gone-d"]),
        ("delete rc gone-e --output=name", &["replicationcontroller/gone-e"]),
        ("delete -f {dir}/f.yaml --wait=false", &["\"gone-f\" deleted"]),
        ("delete -f {dir}/f.yaml --ignore-not-found", &["!gone-f"]),
        ("delete rc -l of", &["No resources found"]),
    ])
    .await;
    k.each_fails(&[
        ("delete rc gone-f", &["replicationcontrollers \"gone-f\" not found"]),
        ("delete rc", &["resource(s) were provided, but no name was specified"]),
        ("delete rc x --all", &["name cannot be provided when a selector is specified"]),
    ])
    .await;
    // Of a kind that only this theme has.
    for name in ["one", "two"] {
        k.apply(&format!(
            "{{apiVersion: v1, kind: PodTemplate, metadata: {{name: {name}}}, template: {{spec: {{containers: [{{name: c, image: x}}]}}}}}}"
        ))
        .await;
    }
    k.says("create configmap raw", &["created"]).await;
    k.says("delete --raw /api/v1/namespaces/{ns}/configmaps/raw", &["\"status\":\"Success\""]).await;
    k.says("delete podtemplates --all", &["podtemplate \"one\" deleted", "podtemplate \"two\" deleted"]).await;
    // A finalizer holds an object; whoever waits for its end sees it once it is taken off. (One who comes too late is told nothing.)
    k.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: held, finalizers: [example.com/hold]}}").await;
    k.fails("delete configmap held --timeout=1s", &["timed out waiting for the condition"]).await;
    k.says("get configmap held -o yaml", &["deletionTimestamp:"]).await;
    let waiting = k.says("wait --for=delete configmap/held --timeout=60s", &[]);
    let release = k.says("patch configmap held --type=merge -p '{\"metadata\":{\"finalizers\":null}}'", &["patched"]);
    tokio::join!(waiting, release);
    k.fails("get configmap held", &["NotFound"]).await;
}

/// A Deployment of one pod that ends at once.
pub fn sleeper(name: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, spec: {{selector: {{matchLabels: {{app: {name}}}}}, template: \
         {{metadata: {{labels: {{app: {name}}}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: \
         'tricorn.local/busybox:1', command: [sleep, '3600']}}]}}}}}}}}"
    )
}

/// What becomes of that which belongs to it.
async fn owners(k: &Kubectl) {
    let left = "get replicasets,pods -l app=owner -o name";
    k.apply(&sleeper("owner")).await;
    k.says("wait --for=condition=Available deployment/owner --timeout=60s", &["deployment.apps/owner condition met"]).await;
    k.says("delete deployment owner --cascade=orphan", &["\"owner\" deleted"]).await;
    let orphans = k.says(left, &["replicaset.apps/owner-", "pod/owner-"]).await;
    k.apply(&sleeper("owner")).await;
    k.says("wait --for=condition=Available deployment/owner --timeout=60s", &["condition met"]).await;
    k.is(left, &orphans).await;
    k.says("delete deployment owner --cascade=foreground --timeout=60s", &["deleted"]).await;
    k.is("get replicasets -l app=owner -o name", "").await;
    k.apply(&sleeper("owner")).await;
    k.says("wait --for=condition=Available deployment/owner --timeout=60s", &["condition met"]).await;
    k.says("delete deployment owner --cascade=background", &["deleted"]).await;
    k.until("get replicasets,pods -l app=owner -o name", &["!owner"]).await;
}

async fn pods(k: &Kubectl) {
    // Deaf to SIGTERM: without a word about grace they would take half a minute.
    for name in ["now", "forced", "awaited"] {
        k.says(&format!("run deaf-{name} --image=tricorn.local/busybox:1 --labels=app=deaf --command -- sleep 3600"), &["created"]).await;
    }
    k.says("wait --for=condition=Ready pod -l app=deaf --timeout=60s", &["pod/deaf-now condition met", "pod/deaf-awaited condition met"])
        .await;
    k.fails("wait --for=condition=Ready=false pod/deaf-now --timeout=1s", &["timed out waiting for the condition"]).await;
    k.fails("wait --for=condition=Ready pod/nobody --timeout=1s", &["pods \"nobody\" not found"]).await;
    if k.knows(23, "wait --for=jsonpath") {
        k.says("wait --for=jsonpath={.status.phase}=Running pod/deaf-now --timeout=60s", &["condition met"]).await;
        k.fails("wait --for=jsonpath={.status.phase}=Failed pod/deaf-now --timeout=1s", &["timed out waiting for the condition"]).await;
    }
    if k.knows(31, "wait --for=create") {
        let waiting = k.says("wait --for=create configmap/awaited --timeout=60s", &["configmap/awaited condition met"]);
        let making = k.says("create configmap awaited", &["created"]);
        tokio::join!(waiting, making);
        k.says("delete configmap awaited", &["deleted"]).await;
    }
    k.says("delete pod deaf-now --now --timeout=20s", &["pod \"deaf-now\" deleted"]).await;
    let forced = "delete pod deaf-forced --grace-period=0 --force";
    k.says(forced, &["mmediate deletion does not wait for confirmation", "pod \"deaf-forced\" force deleted"]).await;
    let waiting = k.says("wait --for=delete pod/deaf-awaited --timeout=60s", &[]);
    let deleting = k.says("delete pod -l app=deaf --grace-period=1 --wait=false", &["pod \"deaf-awaited\" deleted"]);
    tokio::join!(waiting, deleting);
    k.fails("get pod deaf-awaited", &["NotFound"]).await;
}
