//! What a worker does with pods, what the controllers do with what owns them, and who may do what.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tricorn_e2e::{Lab, Ran, run, until};

const SOON: Duration = Duration::from_secs(60);
const MANIFEST: &str = include_str!("../manifests/pods.yaml");
const PROBED: &str = include_str!("../manifests/probed.yaml");
const OWNER: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: owner}
spec:
  selector: {matchLabels: {app: owner}}
  template:
    metadata: {labels: {app: owner}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: 'tricorn.local/busybox:1', command: [sleep, '3600']}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_runs_whatever_a_pod_asks_for() {
    let start = |config: &mut tricorn_testbed::ClusterConfig| (config.servers, config.workers) = (1, 1);
    let Some(lab) = Lab::start(start).await else { return };
    let watch = lab.watch_over();
    let host = lab.scratch("host");
    lab.apply(&MANIFEST.replace("HOST_PATH", host.to_str().unwrap())).await.ok();
    many(&lab, &host).await;
    crashes(&lab).await;
    probes(&lab).await;
    endings(&lab, &host).await;
    excuses(&lab).await;
    jobs(&lab).await;
    owners(&lab).await;
    accounts(&lab).await;
    nodes(&lab).await;
    drop(watch);
    lab.down().await;
}

/// Waits until `path` (a JSON pointer) of an object is as `right` says, and returns the object.
async fn until_object(lab: &Lab, what: &str, right: impl Fn(&Value) -> bool) -> Value {
    until(what, SOON, async || {
        let object: Value = serde_json::from_str(&lab.kubectl(&format!("get {what} -o json")).await.out).unwrap_or_default();
        if right(&object) { Ok(object) } else { Err(format!("{:#}", object["status"])) }
    })
    .await
}

async fn ready(lab: &Lab, pod: &str) {
    lab.kubectl(&format!("wait --for=condition=Ready pod/{pod} --timeout=120s")).await.ok();
}

/// The status of one container of a pod.
fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let all = ["containerStatuses", "initContainerStatuses"].map(|list| pod["status"][list].as_array());
    all.into_iter().flatten().flatten().find(|status| status["name"] == name).unwrap_or(&Value::Null)
}

async fn many(lab: &Lab, host: &Path) {
    ready(lab, "many").await;
    let shell = async |script: &str| lab.kubectl_args(&["exec", "many", "-c", "one", "--", "sh", "-c", script]).await.ok();
    assert_eq!(shell("cat /shared/order").await, "first\nsecond\n");
    let environment = shell("env").await;
    let address = lab.kubectl("get pod many -o jsonpath={.status.podIP}").await.ok();
    let address = format!("ADDRESS={address}");
    let wanted = ["GREETING=hello", "POD=many", &address, "NODE=w1", "WORD=sesame", "MEMORY=33554432", "COLOUR=green", "S_word=sesame"];
    for line in wanted.into_iter().chain(["HOSTNAME=many", "KUBERNETES_SERVICE_HOST=10.43.0.1", "KUBERNETES_SERVICE_PORT=443"]) {
        assert!(environment.lines().any(|have| have == line), "no {line} in\n{environment}");
    }
    // A reference to a variable that is set later stays as it is written.
    assert!(environment.contains("COMPOSED=hello from $(POD)"), "{environment}");
    assert_eq!(shell("cat /secret/word; stat -Lc ' %a' /secret/word").await, "sesame 400\n");
    assert_eq!(shell("cat /config/deep/file").await, "from a ConfigMap");
    assert!(shell("cat /all/labels").await.contains("app=\"many\""));
    assert!(shell("cat /all/ca.crt").await.contains("BEGIN CERTIFICATE"));
    let token = shell("cat /all/token").await;
    assert_eq!(token.split('.').count(), 3, "not a JWT: {token}");
    assert_eq!(shell("cat /var/run/secrets/kubernetes.io/serviceaccount/namespace").await, "default");
    // What one container writes, the other and the host can read.
    shell("echo shared > /shared/word; echo out > /host/word").await;
    assert_eq!(lab.kubectl("exec many -c two -- cat /shared/word").await.ok(), "shared\n");
    assert_eq!(std::fs::read_to_string(host.join("word")).unwrap(), "out\n");
    assert!(shell("touch /config/x 2>&1 || true").await.contains("Read-only"));
    for name in ["one", "two"] {
        // A container runs before it has said anything.
        let said = format!("started {name}\n");
        assert_eq!(lab.until_says(&format!("logs many -c {name}"), &[&said]).await, said);
    }
    lab.kubectl("logs many -c three").await.fails(1, &["three"]);
    // A terminal of one's own.
    let line = format!("kubectl --kubeconfig {} exec -it many -c one -- tty", lab.cluster.kubeconfig().display());
    let said = run("script", &["-qec", &line, "/dev/null"], &[]).await.ok();
    assert!(said.contains("/dev/pts/"), "{said}");
}

async fn crashes(lab: &Lab) {
    let pod = until_object(lab, "pod crash", |pod| {
        let status = container(pod, "c");
        status["restartCount"].as_i64() >= Some(1) && status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    })
    .await;
    let status = container(&pod, "c");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3, "{status}");
    assert!(status["state"]["waiting"]["message"].as_str().unwrap().starts_with("back-off "), "{status}");
    assert_eq!(lab.kubectl("logs crash --previous").await.ok(), "about to fail\n");
    // It may run again just now.
    lab.until_says("get pod crash", &["CrashLoopBackOff"]).await;
    lab.until_says("describe pod crash", &["Back-off restarting failed container"]).await;
    lab.kubectl("delete pod crash").await.ok();
}

async fn probes(lab: &Lab) {
    lab.apply(PROBED).await.ok();
    // Its HTTP probe fails until there is a page.
    until_object(lab, "pod probed", |pod| container(pod, "http")["started"] == true && container(pod, "http")["ready"] == false).await;
    lab.until_says("describe pod probed", &["Readiness probe failed: HTTP probe failed with statuscode: 404"]).await;
    lab.kubectl("exec probed -c http -- touch /www/ready").await.ok();
    ready(lab, "probed").await;
    lab.kubectl("exec probed -c exec -- touch /tmp/dead").await.ok();
    let pod = until_object(lab, "pod probed", |pod| container(pod, "exec")["restartCount"] == 1).await;
    assert_eq!(container(&pod, "http")["restartCount"], 0, "{pod}");
    lab.until_says("describe pod probed", &["Liveness probe failed", "failed liveness probe, will be restarted"]).await;
    lab.kubectl("exec probed -c http -- rm /www/ready").await.ok();
    until_object(lab, "pod probed", |pod| container(pod, "http")["ready"] == false).await;
}

async fn endings(lab: &Lab, host: &Path) {
    ready(lab, "polite").await;
    lab.kubectl("delete pod polite").await.ok();
    assert_eq!(std::fs::read_to_string(host.join("polite")).unwrap(), "hook\nterm\n");
    let pod = until_object(lab, "pod sidecar", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!(container(&pod, "work")["state"]["terminated"]["reason"], "Completed", "{pod}");
    assert!(container(&pod, "side")["state"]["terminated"].is_object(), "{pod}");
}

/// Pods that cannot start say why.
async fn excuses(lab: &Lab) {
    let reason = |pod: &Value| container(pod, "c")["state"]["waiting"]["reason"].as_str().unwrap_or_default().to_owned();
    until_object(lab, "pod unknown-image", |pod| ["ErrImagePull", "ImagePullBackOff"].contains(&reason(pod).as_str())).await;
    // The remedy is named.
    lab.until_says("describe pod unknown-image", &["tricorn image import"]).await;
    let pod = until_object(lab, "pod unknown-config", |pod| reason(pod) == "CreateContainerConfigError").await;
    let message = container(&pod, "c")["state"]["waiting"]["message"].as_str().unwrap();
    assert_eq!(message, "configmap \"nowhere\" not found");
    // It starts once what it needs is there.
    lab.kubectl("create configmap nowhere --from-literal=A=b").await.ok();
    until_object(lab, "pod unknown-config", |pod| reason(pod) != "CreateContainerConfigError").await;
}

async fn jobs(lab: &Lab) {
    lab.kubectl("wait --for=condition=Complete job/works --timeout=120s").await.ok();
    let job = until_object(lab, "job works", |job| job["status"]["succeeded"] == 3).await;
    assert!(job["status"]["completionTime"].is_string(), "{job}");
    lab.kubectl("wait --for=condition=Failed job/fails --timeout=120s").await.ok();
    let job = until_object(lab, "job fails", |job| job["status"]["failed"] == 1).await;
    let conditions = job["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["type"] == "Failed" && c["reason"] == "BackoffLimitExceeded"), "{job}");
    lab.kubectl("delete job works fails").await.ok();
    until("the jobs' pods are collected", SOON, async || {
        let left = lab.kubectl("get pods -l batch.kubernetes.io/job-name -o name").await.ok();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

/// Deleting what owns, in every way, and a namespace with all in it.
async fn owners(lab: &Lab) {
    let (delete, left) = ("delete deployment owner", "get replicasets,pods -l app=owner -o name");
    lab.apply(OWNER).await.ok();
    lab.kubectl("wait --for=condition=Available deployment/owner --timeout=120s").await.ok();
    lab.kubectl(&format!("{delete} --cascade=orphan")).await.ok();
    let orphans = lab.kubectl(left).await.ok();
    assert_eq!(orphans.lines().count(), 2, "a ReplicaSet and its pod should be left: {orphans}");
    let references = lab.kubectl("get replicasets -l app=owner -o jsonpath={.items[*].metadata.ownerReferences}").await.ok();
    assert_eq!(references, "");
    // A new owner takes them in, and goes only after them.
    lab.apply(OWNER).await.ok();
    lab.kubectl("wait --for=condition=Available deployment/owner --timeout=120s").await.ok();
    assert_eq!(lab.kubectl(left).await.ok(), orphans);
    lab.kubectl(&format!("{delete} --cascade=foreground --timeout=120s")).await.ok();
    assert_eq!(lab.kubectl("get replicasets -l app=owner -o name").await.ok(), "");

    lab.kubectl("create namespace full").await.ok();
    lab.apply(&OWNER.replace("name: owner}", "name: owner, namespace: full}")).await.ok();
    lab.kubectl("-n full wait --for=condition=Available deployment/owner --timeout=120s").await.ok();
    lab.kubectl("delete namespace full --timeout=120s").await.ok();
    let left = lab.kubectl("get deployments,replicasets,pods,configmaps,serviceaccounts -n full -o name").await.ok();
    assert_eq!(left, "");
}

/// kubectl with these credentials and nothing else.
async fn kubectl_as(lab: &Lab, credentials: &[&str], line: &str) -> Ran {
    let ca = lab.cluster.dir().join("pki/ca.crt").display().to_string();
    let server = format!("https://{}", lab.cluster.api());
    let empty = lab.scratch("empty.kubeconfig");
    std::fs::write(&empty, "").unwrap();
    let before = ["--server", &server, "--certificate-authority", &ca].into_iter().chain(credentials.iter().copied());
    let arguments: Vec<&str> = before.chain(line.split_whitespace()).collect();
    run("kubectl", &arguments, &[("KUBECONFIG", empty.as_path())]).await
}

async fn with_token(lab: &Lab, token: &str, line: &str) -> Ran {
    kubectl_as(lab, &["--token", token], line).await
}

/// A pod's token enters, and may do what a RoleBinding says.
async fn accounts(lab: &Lab) {
    let path = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let token = lab.kubectl(&format!("exec many -c one -- cat {path}")).await.ok();
    let refused = "User \"system:serviceaccount:default:default\" cannot list resource \"pods\"";
    with_token(lab, &token, "get pods").await.fails(1, &["Forbidden", refused]);
    lab.kubectl("create rolebinding viewers --clusterrole=view --serviceaccount=default:default").await.ok();
    until("the binding is heeded", SOON, async || {
        let ran = with_token(lab, &token, "get pods -o name").await;
        if ran.code == Some(0) { Ok(()) } else { Err(ran.err) }
    })
    .await;
    with_token(lab, &token, "get secrets").await.fails(1, &["Forbidden", "secrets"]);
    with_token(lab, &token, "get pods -n kube-system").await.fails(1, &["Forbidden"]);
    with_token(lab, &token, "create configmap x").await.fails(1, &["forbidden"]);
    assert!(with_token(lab, &token, "auth can-i list pods").await.ok().contains("yes"));
    with_token(lab, &token, "auth can-i delete nodes").await.fails(1, &["no"]);
    // One that was made for somebody else does not enter.
    let foreign = lab.kubectl("exec many -c one -- cat /all/token").await.ok();
    with_token(lab, &foreign, "get pods").await.fails(1, &["nauthorized"]);
    let fresh = lab.kubectl("create token default --duration=10m").await.ok();
    with_token(lab, fresh.trim(), "get pods -o name").await.ok();
    let spoilt = format!("{}x", fresh.trim());
    with_token(lab, &spoilt, "get pods").await.fails(1, &["nauthorized"]);
}

/// A node's credentials reach what its pods need and nothing else.
async fn nodes(lab: &Lab) {
    let pki = lab.cluster.dir().join("w1/pki");
    let file = |name: &str| pki.join(name).display().to_string();
    let (certificate, key) = (file("node.crt"), file("node.key"));
    let as_node = async |line: &str| kubectl_as(lab, &["--client-certificate", &certificate, "--client-key", &key], line).await;
    lab.kubectl("create secret generic private --from-literal=a=b").await.ok();
    as_node("get secret secrets -o name").await.ok();
    as_node("get secret private").await.fails(1, &["Forbidden", "no relationship found between node 'w1' and this object"]);
    as_node("get secrets").await.fails(1, &["Forbidden"]);
    as_node("get node w1 -o name").await.ok();
    as_node("label node w1 node-restriction.kubernetes.io/x=y").await.fails(1, &["Forbidden"]);
    as_node("create configmap x").await.fails(1, &["forbidden"]);
    as_node("delete node w1").await.fails(1, &["Forbidden"]);
}
