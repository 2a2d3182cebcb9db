//! The example of the README: a Deployment, a Service, a ConfigMap, and what people do with them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tricorn_e2e::{Lab, until, within};

const SOON: Duration = Duration::from_secs(60);

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
    lab.kubectl("rollout status deployment/web --timeout=60s").await.ok();
    lab.apply(PROBE).await.ok();
    lab.kubectl("wait --for=condition=Ready pod/probe --timeout=60s").await.ok();

    // Through the ClusterIP and the NodePort, from a pod and from other hosts.
    let address = lab.kubectl("get service web -o jsonpath={.spec.clusterIP}").await.ok();
    all_answer_a_pod(&lab, &format!("{address} 80"), 3).await;
    all_answer_a_pod(&lab, "172.30.0.21 30080", 3).await;
    all_answer_a_host(&lab, "w1", &format!("http://{address}"), 3).await;
    all_answer_a_host(&lab, "s1", "http://172.30.0.22:30080", 3).await;
    let said = lab.on("s2", "curl -s -m 2 http://172.30.0.21:30080/").await.ok();
    assert!(said.contains("hello from a ConfigMap"), "{said}");

    scale_roll_undo(&lab).await;
    look(&lab).await;
    watched(&lab).await;
    forwarded(&lab).await;

    lab.kubectl_args(&["delete", "-f", example.to_str().unwrap(), "--timeout=60s"]).await.ok();
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
    lab.kubectl("rollout status deployment/web --timeout=60s").await.ok();
    let ready = lab.kubectl("get deployment web -o jsonpath={.status.readyReplicas}").await.ok();
    assert_eq!(ready, "6");
    let (going, failed, served) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let load = async {
        let mut last = String::new();
        while going.load(Ordering::Relaxed) {
            let ran = lab.on("s3", "curl -sS -m 3 http://172.30.0.21:30080/version").await;
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
        lab.kubectl("rollout status deployment/web --timeout=90s").await.ok();
        going.store(false, Ordering::Relaxed);
    };
    let (last, ()) = tokio::join!(load, roll);
    let (failed, served) = (failed.load(Ordering::Relaxed), served.load(Ordering::Relaxed));
    assert!(served > 0, "no request was made during the roll");
    assert_eq!(failed, 0, "of {served} requests during the roll, {failed} failed, the last with {last}");
    assert_eq!(lab.on("s3", "curl -s -m 3 http://172.30.0.21:30080/version").await.ok().trim(), "v2");
    let history = lab.kubectl("rollout history deployment/web").await.ok();
    assert!(history.contains('2'), "{history}");
    lab.kubectl("rollout undo deployment/web").await.ok();
    lab.kubectl("rollout status deployment/web --timeout=90s").await.ok();
    until("version 1 answers again", SOON, async || {
        let said = lab.on("s3", "curl -s -m 3 http://172.30.0.21:30080/version").await.out;
        if said.trim() == "v1" { Ok(()) } else { Err(said) }
    })
    .await;
    until("the pods of version 2 are gone", SOON, async || {
        let images = lab.kubectl("get pods -l app=web -o jsonpath={.items[*].spec.containers[*].image}").await.ok();
        if images.contains("v2") { Err(images) } else { Ok(()) }
    })
    .await;
}

/// describe, logs, exec, cp, explain, get -o wide.
async fn look(lab: &Lab) {
    let pod = lab.kubectl("get pods -l app=web -o jsonpath={.items[0].metadata.name}").await.ok();
    let described = lab.kubectl(&format!("describe pod {pod}")).await.ok();
    for word in ["tricorn.local/web:v1", "Scheduled", "Started", "config", "Readiness"] {
        assert!(described.contains(word), "describe does not say {word}:\n{described}");
    }
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
    let following = lab.kubectl("get configmap -w --request-timeout=8s -o name");
    let making = async {
        until("a watched object shows up", SOON, async || {
            lab.kubectl("delete configmap seen --ignore-not-found").await.ok();
            lab.kubectl("create configmap seen --from-literal=a=b").await.ok();
            Ok::<_, String>(())
        })
        .await;
        lab.kubectl("delete configmap seen").await.ok();
    };
    let (followed, ()) = tokio::join!(following, making);
    let seen = followed.out.lines().filter(|line| *line == "configmap/seen").count();
    assert!(seen >= 2, "creation and deletion should both be shown: {followed:?}");
}

/// A port of a pod's, through kubectl and through kube-rs.
async fn forwarded(lab: &Lab) {
    let pod = lab.kubectl("get pods -l app=web -o jsonpath={.items[0].metadata.name}").await.ok();
    let pods: Api<Pod> = Api::namespaced(lab.client().await, "default");
    let mut forwarder = pods.portforward(&pod, &[8080]).await.unwrap();
    let mut stream = forwarder.take_stream(8080).unwrap();
    assert_eq!(asked_for_its_name(&mut stream).await, pod);
    forwarder.abort();

    let mut kubectl = tokio::process::Command::new("kubectl")
        .args(["port-forward", &format!("pod/{pod}"), ":8080", "--address", "127.0.0.1"])
        .env("KUBECONFIG", lab.cluster.kubeconfig())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(kubectl.stdout.take().unwrap()).lines();
    // Forwarding from 127.0.0.1:12345 -> 8080
    let first = within("kubectl forwards a port", SOON, lines.next_line()).await.unwrap().unwrap();
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
