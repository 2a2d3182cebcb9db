//! The example of the README: a Deployment, a Service, a ConfigMap, and what people do with them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tricorn_e2e::{Lab, Ran, until, within};

const SOON: Duration = Duration::from_secs(60);
/// A request that is not answered by then has failed, however slow the machine is.
const ANSWER_SECONDS: u8 = 10;

/// A pod that stays, to look at the cluster from inside.
const PROBE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: probe, labels: {app: probe}}
spec:
  nodeName: w2
  terminationGracePeriodSeconds: 0
  containers: [{name: probe, image: 'tricorn.local/busybox:1', command: [sleep, '3600']}]
";

/// Asks `address` (HOST PORT) from the pod `probe` until every one of `replicas` has answered. With nc: Debian's static busybox has a
/// wget that ends in a segmentation fault.
async fn all_answer_a_pod(lab: &Lab, address: &str, replicas: usize) {
    let mut seen = BTreeSet::new();
    until(&format!("{replicas} replicas answer a pod at {address}"), SOON, async || {
        let ask = format!("printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {address} | tail -n 1");
        let script = format!("for i in 1 2 3 4 5 6 7 8; do {ask}; done");
        let ran = lab.kubectl_args(&["exec", "probe", "--", "sh", "-c", &script]).await;
        seen.extend(ran.out.lines().map(str::to_owned));
        if seen.len() == replicas { Ok(()) } else { Err(format!("so far {seen:?} {}", ran.err)) }
    })
    .await;
}

/// Asks `url` from a host until every one of `replicas` has answered.
async fn all_answer_a_host(lab: &Lab, host: &str, url: &str, replicas: usize) {
    let mut seen = BTreeSet::new();
    until(&format!("{replicas} replicas answer {host} at {url}"), SOON, async || {
        let ran = lab.on(host, &format!("curl -s -m 2 {url}/hostname")).await;
        seen.extend(ran.out.lines().map(str::to_owned));
        if seen.len() == replicas { Ok(()) } else { Err(format!("so far {seen:?} {}", ran.err)) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_run_a_web_server() {
    let Some(lab) = Lab::start(|_| {}).await else { return };
    let watch = lab.watch_over();
    let example = Lab::repository().join("deploy/examples/web.yaml");
    lab.kubectl_args(&["apply", "-f", example.to_str().unwrap()]).await.ok();
    lab.kubectl("rollout status deployment/web --timeout=120s").await.ok();
    lab.apply(PROBE).await.ok();
    lab.kubectl("wait --for=condition=Ready pod/probe --timeout=120s").await.ok();

    // Through the ClusterIP and the NodePort, from a pod and from other hosts.
    let address = lab.kubectl("get service web -o jsonpath={.spec.clusterIP}").await.ok();
    all_answer_a_pod(&lab, &format!("{address} 80"), 3).await;
    all_answer_a_pod(&lab, "172.30.0.21 30080", 3).await;
    all_answer_a_host(&lab, "w1", &format!("http://{address}"), 3).await;
    all_answer_a_host(&lab, "s1", "http://172.30.0.22:30080", 3).await;
    let said = lab.on("s2", &format!("curl -s -m {ANSWER_SECONDS} http://172.30.0.21:30080/")).await.ok();
    assert!(said.contains("hello from a ConfigMap"), "{said}");

    scale_roll_undo(&lab).await;
    look(&lab).await;
    watched(&lab).await;
    forwarded(&lab).await;

    lab.kubectl_args(&["delete", "-f", example.to_str().unwrap(), "--timeout=120s"]).await.ok();
    until("all pods of web are gone", SOON, async || {
        let left = lab.kubectl("get pods -l app=web -o name").await.ok();
        if left.trim().is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    drop(watch);
    lab.down().await;
}

/// Six replicas, another version without one failed request, and back.
async fn scale_roll_undo(lab: &Lab) {
    lab.kubectl("scale deployment/web --replicas=6").await.ok();
    lab.kubectl("rollout status deployment/web --timeout=120s").await.ok();
    let ready = lab.kubectl("get deployment web -o jsonpath={.status.readyReplicas}").await.ok();
    assert_eq!(ready, "6");
    let (going, failed, served) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let load = async {
        let mut last = String::new();
        while going.load(Ordering::Relaxed) {
            let ran = asked_for_the_version(lab).await;
            let good = ran.code == Some(0) && ran.out.starts_with('v');
            if good { &served } else { &failed }.fetch_add(1, Ordering::Relaxed);
            if !good {
                last = format!("{ran:?}");
            }
        }
        last
    };
    let roll = async {
        lab.kubectl("set image deployment/web web=tricorn.local/web:v2").await.ok();
        lab.kubectl("rollout status deployment/web --timeout=240s").await.ok();
        going.store(false, Ordering::Relaxed);
    };
    let (last, ()) = tokio::join!(load, roll);
    let (failed, served) = (failed.load(Ordering::Relaxed), served.load(Ordering::Relaxed));
    assert!(served > 0, "no request was made during the roll");
    assert_eq!(failed, 0, "of {served} requests during the roll, {failed} failed, the last with {last}");
    answers(lab, "v2").await;
    let history = lab.kubectl("rollout history deployment/web").await.ok();
    assert!(history.contains('2'), "{history}");
    lab.kubectl("rollout undo deployment/web").await.ok();
    lab.kubectl("rollout status deployment/web --timeout=240s").await.ok();
    answers(lab, "v1").await;
    until("six pods of version 1 are left", SOON, async || {
        let images = lab.kubectl("get pods -l app=web -o jsonpath={.items[*].spec.containers[*].image}").await.ok();
        if images.split_whitespace().eq(["tricorn.local/web:v1"; 6]) { Ok(()) } else { Err(images) }
    })
    .await;
}

async fn asked_for_the_version(lab: &Lab) -> Ran {
    lab.on("s3", &format!("curl -sS -m {ANSWER_SECONDS} http://172.30.0.21:30080/version")).await
}

/// Waits until the version that was rolled to answers: pods that end serve until all rules know that they do.
async fn answers(lab: &Lab, version: &str) {
    until(&format!("{version} answers"), SOON, async || {
        let ran = asked_for_the_version(lab).await;
        if ran.out.trim() == version { Ok(()) } else { Err(format!("{ran:?}")) }
    })
    .await;
}

/// describe, logs, exec, cp, explain, get -o wide.
async fn look(lab: &Lab) {
    let pod = lab.kubectl("get pods -l app=web -o jsonpath={.items[0].metadata.name}").await.ok();
    lab.until_says(&format!("describe pod {pod}"), &["tricorn.local/web:v1", "Scheduled", "Started", "config", "Readiness"]).await;
    lab.kubectl("describe deployment web").await.ok();
    let described = lab.kubectl("describe node w1").await.ok();
    assert!(described.contains("Allocatable") && described.contains("172.30.0.21"), "{described}");

    let wide = lab.kubectl("get pods -o wide").await.ok();
    let head = wide.lines().next().unwrap_or_default();
    for column in ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"] {
        assert!(head.contains(column), "get -o wide has no {column}:\n{wide}");
    }
    assert!(wide.contains("1/1") && wide.contains("Running") && wide.contains("10.42."), "{wide}");
    let all = lab.kubectl("get all").await.ok();
    assert!(all.contains("deployment.apps/web") && all.contains("service/web"), "{all}");

    lab.kubectl(&format!("exec {pod} -- sh -c true")).await.ok();
    assert_eq!(lab.kubectl(&format!("exec {pod} -- cat /config/greeting")).await.ok().trim(), "hello from a ConfigMap");
    let failing = lab.kubectl_args(&["exec", &pod, "--", "sh", "-c", "exit 7"]).await;
    assert_eq!(failing.code, Some(7), "{failing:?}");
    let from = lab.scratch("to-the-pod");
    std::fs::write(&from, "carried\n").unwrap();
    lab.kubectl(&format!("cp {} {pod}:/tmp/carried", from.display())).await.ok();
    assert_eq!(lab.kubectl(&format!("exec {pod} -- cat /tmp/carried")).await.ok().trim(), "carried");
    let back = lab.scratch("from-the-pod");
    lab.kubectl(&format!("cp {pod}:/tmp/carried {}", back.display())).await.ok();
    assert_eq!(std::fs::read_to_string(back).unwrap(), "carried\n");

    let explained = lab.kubectl("explain deployment.spec.strategy.rollingUpdate").await.ok();
    assert!(explained.contains("maxSurge"), "{explained}");
    lab.apply(TALKER).await.ok();
    // Following ends when the container does, and has every line.
    let logs = until("the talker's log can be followed", SOON, async || {
        let ran = lab.kubectl("logs -f talker").await;
        if ran.code == Some(0) && !ran.out.is_empty() { Ok(ran.out) } else { Err(ran.err) }
    })
    .await;
    assert_eq!(logs.lines().collect::<Vec<_>>(), (1..=20).map(|n| format!("line {n}")).collect::<Vec<_>>());
    assert_eq!(lab.kubectl("logs talker --tail=1").await.ok().trim(), "line 20");
    until("the talker has succeeded", SOON, async || {
        let phase = lab.kubectl("get pod talker -o jsonpath={.status.phase}").await.ok();
        if phase == "Succeeded" { Ok(()) } else { Err(phase) }
    })
    .await;
}

const TALKER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  restartPolicy: Never
  containers:
  - name: talker
    image: tricorn.local/busybox:1
    command: [sh, -c, 'for i in $(seq 1 20); do echo line $i; sleep 0.1; done']
";

/// `get -w` shows what happens while it happens.
async fn watched(lab: &Lab) {
    let (mut kubectl, mut lines) = followed(lab, &["get", "configmap", "-w", "-o", "name"]);
    let mut shown = async |object: &str| while told(&mut lines, "kubectl shows what it watches").await != object {};
    // What was there before comes first: from then on nothing is missed.
    shown("configmap/web").await;
    lab.kubectl("create configmap seen --from-literal=a=b").await.ok();
    shown("configmap/seen").await;
    lab.kubectl("delete configmap seen").await.ok();
    shown("configmap/seen").await;
    kubectl.kill().await.unwrap();
}

/// kubectl while it runs, and what it says; it ends with the test.
fn followed(lab: &Lab, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = Command::new("kubectl");
    command.args(arguments).env("KUBECONFIG", lab.cluster.kubeconfig()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut kubectl = command.spawn().unwrap();
    let lines = BufReader::new(kubectl.stdout.take().unwrap()).lines();
    (kubectl, lines)
}

/// The next line.
async fn told(lines: &mut Lines<BufReader<ChildStdout>>, what: &str) -> String {
    within(what, SOON, lines.next_line()).await.unwrap().unwrap()
}

/// A port of a pod's, through kubectl and through kube-rs.
async fn forwarded(lab: &Lab) {
    let pod = lab.kubectl("get pods -l app=web -o jsonpath={.items[0].metadata.name}").await.ok();
    let pods: Api<Pod> = Api::namespaced(lab.client().await, "default");
    let mut forwarder = pods.portforward(&pod, &[8080]).await.unwrap();
    let mut stream = forwarder.take_stream(8080).unwrap();
    assert_eq!(asked_for_its_name(&mut stream).await, pod);
    forwarder.abort();

    let (mut kubectl, mut lines) = followed(lab, &["port-forward", &format!("pod/{pod}"), ":8080", "--address", "127.0.0.1"]);
    // Forwarding from 127.0.0.1:12345 -> 8080
    let first = told(&mut lines, "kubectl forwards a port").await;
    let address = first.split(' ').nth(2).unwrap();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(asked_for_its_name(&mut stream).await, pod);
    }
    kubectl.kill().await.unwrap();
}

async fn asked_for_its_name(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET /hostname HTTP/1.0\r\n\r\n").await.unwrap();
    let mut said = String::new();
    within("the pod answers", SOON, stream.read_to_string(&mut said)).await.unwrap();
    said.lines().last().unwrap_or_default().to_owned()
}
