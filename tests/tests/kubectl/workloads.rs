//! `rollout`, `scale`, `autoscale`, `expose`, `set image` and `wait`, on what runs.

use tricorn_e2e::until;

use crate::SOON;
use crate::client::Kubectl;

const STATUS: &str = "rollout status deployment/roll --timeout=60s";
const DONE: &[&str] = &["deployment \"roll\" successfully rolled out"];

pub async fn all(k: &Kubectl) {
    tokio::join!(deployment(k), sets(k));
}

async fn deployment(k: &Kubectl) {
    k.says("create deployment roll --image=tricorn.local/web:v1 --replicas=2 --port=8080", &["deployment.apps/roll created"]).await;
    k.says(STATUS, DONE).await;
    k.says("get deployment roll", &["NAME READY UP-TO-DATE AVAILABLE AGE roll 2/2 2 2"]).await;
    rolled(k).await;
    paused(k).await;
    scaled(k).await;
    exposed(k).await;
    k.says("delete deployment,service,hpa roll", &["\"roll\" deleted"]).await;
}

async fn rolled(k: &Kubectl) {
    k.each(&[
        ("annotate deployment roll kubernetes.io/change-cause=first", &["annotate"]),
        ("set image deployment/roll web=tricorn.local/web:v2", &["deployment.apps/roll image updated"]),
        ("annotate deployment roll kubernetes.io/change-cause=second --overwrite", &["annotate"]),
        ("rollout status deployment/roll --watch=false", &["roll"]),
        (STATUS, DONE),
    ])
    .await;
    k.until("rollout history deployment/roll", &["REVISION CHANGE-CAUSE 1 first 2 second"]).await;
    k.each(&[
        ("rollout history deployment/roll --revision=1", &["with revision #1", "Image: tricorn.local/web:v1"]),
        ("rollout history deployment/roll --revision=2", &["with revision #2", "Image: tricorn.local/web:v2"]),
        ("rollout undo deployment/roll --dry-run=server", &["(server dry run)"]),
        ("rollout undo deployment/roll", &["deployment.apps/roll rolled back"]),
        (STATUS, DONE),
        ("get deployment roll -o jsonpath={..image}", &["tricorn.local/web:v1"]),
        ("rollout history deployment/roll", &["2 second 3 first", "!1 first"]),
        ("rollout undo deployment/roll --to-revision=2", &["rolled back"]),
        (STATUS, DONE),
        ("get deployment roll -o jsonpath={..image}", &["tricorn.local/web:v2"]),
        ("rollout restart deployment/roll", &["deployment.apps/roll restarted"]),
        (STATUS, DONE),
        ("get deployment roll -o yaml", &["kubectl.kubernetes.io/restartedAt:"]),
        ("get replicasets -l app=roll -o wide", &["NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR", "tricorn.local/web:v1"]),
    ])
    .await;
    k.fails("rollout undo deployment/roll --to-revision=77", &["unable to find specified revision 77 in history"]).await;
}

async fn paused(k: &Kubectl) {
    let revision = r"get deployment roll -o jsonpath='{.metadata.annotations.deployment\.kubernetes\.io/revision}'";
    let before = k.says(revision, &[]).await;
    k.says("rollout pause deployment/roll", &["deployment.apps/roll paused"]).await;
    k.fails("rollout pause deployment/roll", &["is already paused"]).await;
    k.says("set image deployment/roll web=tricorn.local/web:v1", &["image updated"]).await;
    k.fails("rollout undo deployment/roll", &["paused"]).await;
    k.fails("rollout restart deployment/roll", &["can't restart paused deployment"]).await;
    k.until("get deployment roll -o jsonpath='{.status.observedGeneration} {.metadata.generation} {.status.conditions[?(@.type==\"Progressing\")].reason}'", &["DeploymentPaused"])
        .await;
    k.is(revision, &before).await;
    k.says("rollout resume deployment/roll", &["deployment.apps/roll resumed"]).await;
    k.fails("rollout resume deployment/roll", &["is not paused"]).await;
    k.says(STATUS, DONE).await;
    k.is("get deployment roll -o jsonpath={..image}", "tricorn.local/web:v1").await;
    assert_ne!(k.says(revision, &[]).await, before);
}

async fn scaled(k: &Kubectl) {
    k.says("scale deployment/roll --replicas=3 --current-replicas=2", &["deployment.apps/roll scaled"]).await;
    k.fails("scale deployment/roll --replicas=1 --current-replicas=2", &["xpected replicas to be 2, was 3"]).await;
    k.fails("scale deployment/roll --replicas=1 --resource-version=1", &["esource version to be 1"]).await;
    // Before 1.28 it was "no objects passed to scale".
    k.fails("scale deployment/nobody --replicas=1", &["rror"]).await;
    k.says(STATUS, DONE).await;
    k.says("scale deployment -l app=roll --replicas=1", &["deployment.apps/roll scaled"]).await;
    k.until("get deployment roll -o jsonpath='{.spec.replicas} {.status.replicas}'", &["1 1"]).await;
    if k.knows(23, "wait --for=jsonpath") {
        k.says("wait --for=jsonpath={.status.readyReplicas}=1 deployment/roll --timeout=60s", &["condition met"]).await;
    }
    // What it says of the target depends on the version; what it makes does not.
    k.says("autoscale deployment roll --min=2 --max=5 --cpu-percent=70", &["horizontalpodautoscaler.autoscaling/roll autoscaled"]).await;
    k.says("get hpa roll", &["Deployment/roll", "/70% 2 5"]).await;
    k.fails("autoscale deployment roll --max=5", &["\"roll\" already exists"]).await;
}

async fn exposed(k: &Kubectl) {
    k.each(&[
        ("expose deployment roll --port=80 --target-port=8080 --name=dry --dry-run=client -o yaml", &["kind: Service", "app: roll"]),
        ("expose deployment roll --port=80 --target-port=8080 --type=NodePort", &["service/roll exposed"]),
        ("get service roll", &["NodePort", "80:"]),
        ("expose service roll --port=81 --target-port=8080 --name=roll-again --labels=again=yes", &["service/roll-again exposed"]),
        ("get service -l again -o jsonpath='{.items[0].spec.ports[0].port} {.items[0].spec.selector}'", &[r#"81 {"app":"roll"}"#]),
        ("delete service roll-again", &["deleted"]),
    ])
    .await;
    k.fails("expose deployment roll --port=80", &["services \"roll\" already exists"]).await;
    k.until("get endpointslices -l kubernetes.io/service-name=roll", &["8080", "10.42."]).await;
}

/// StatefulSets and DaemonSets have histories too.
async fn sets(k: &Kubectl) {
    let set = |kind: &str, more: &str| {
        format!(
            "{{apiVersion: apps/v1, kind: {kind}, metadata: {{name: roll-set}}, spec: {{{more} selector: {{matchLabels: {{app: {kind}}}}}, template: \
             {{metadata: {{labels: {{app: {kind}}}}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: c, image: \
             'tricorn.local/busybox:1', command: [sleep, '3600']}}]}}}}}}}}"
        )
    };
    for (kind, more, done) in [
        ("StatefulSet", "replicas: 1, serviceName: roll-set,", "complete"),
        ("DaemonSet", "updateStrategy: {rollingUpdate: {maxUnavailable: 100%}},", "successfully rolled out"),
    ] {
        k.apply(&set(kind, more)).await;
        let it = format!("{kind}/roll-set");
        let status = format!("rollout status {it} --timeout=60s");
        k.says(&status, &[done]).await;
        k.says(&format!("set env {it} A=b"), &["env updated"]).await;
        k.says(&status, &[done]).await;
        until("both revisions are there", SOON, async || {
            let said = k.says(&format!("rollout history {it}"), &["REVISION CHANGE-CAUSE"]).await;
            if said.contains("\n2 ") { Ok(()) } else { Err(said) }
        })
        .await;
        k.says(&format!("rollout history {it} --revision=2"), &["tricorn.local/busybox:1", "A: b"]).await;
        k.says(&format!("rollout undo {it}"), &["rolled back"]).await;
        k.says(&status, &[done]).await;
        k.is(&format!("get {it} -o jsonpath={{..env}}"), "").await;
        k.says(&format!("rollout restart {it}"), &["restarted"]).await;
        k.says(&status, &[done]).await;
        k.fails(&format!("rollout pause {it}"), &["pausing is not supported"]).await;
    }
    k.says("scale statefulset roll-set --replicas=2", &["statefulset.apps/roll-set scaled"]).await;
    k.says("rollout status statefulset/roll-set --timeout=60s", &["complete"]).await;
    k.is("get pods -l app=StatefulSet -o name", "pod/roll-set-0\npod/roll-set-1").await;
    k.fails("scale daemonset roll-set --replicas=2", &["the server could not find the requested resource"]).await;
    k.says("get controllerrevisions -l app=DaemonSet", &["NAME CONTROLLER REVISION AGE roll-set-", "daemonset.apps/roll-set"]).await;
    k.says("delete daemonset,statefulset roll-set", &["\"roll-set\" deleted"]).await;
}
