//! `run`, `logs`, `debug`, `events`, `top`.

use crate::client::Kubectl;

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: talker, labels: {app: talker}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: first, image: 'tricorn.local/busybox:1', command: [sh, -c, 'echo one; echo two; echo three; sleep 3600']}
  - {name: second, image: 'tricorn.local/busybox:1', command: [sh, -c, 'n=0; while n=$((n+1)); do echo "tick $n"; sleep 0.5; done']}
---
apiVersion: v1
kind: Pod
metadata: {name: crasher}
spec:
  containers: [{name: c, image: 'tricorn.local/busybox:1', command: [sh, -c, 'echo "life of $(date +%s)"; exit 3']}]
"#;

pub async fn all(k: &Kubectl) {
    k.apply(PODS).await;
    tokio::join!(run(k), talker(k));
}

async fn talker(k: &Kubectl) {
    k.says("wait --for=condition=Ready pod/talker --timeout=60s", &["pod/talker condition met"]).await;
    k.says("get pod talker", &["NAME READY STATUS RESTARTS AGE talker 2/2 Running 0"]).await;
    k.says("get pod talker -o wide", &["IP NODE NOMINATED NODE READINESS GATES", "10.42.", " w"]).await;
    let described =
        ["Status: Running", "QoS Class: BestEffort", "Image: tricorn.local/busybox:1", "Ready True", "Started", "first:", "second:"];
    k.says("describe pod talker", &described).await;
    logs(k).await;
    told(k).await;
    if k.knows(23, "debug: it asks for ephemeral containers as they are served now") {
        debug(k).await;
    }
    for what in ["pods", "nodes", "pod talker --containers"] {
        k.fails(&format!("top {what}"), &["Metrics API not available"]).await;
    }
    k.says("delete pod talker crasher", &["pod \"talker\" deleted", "pod \"crasher\" deleted"]).await;
}

async fn logs(k: &Kubectl) {
    k.is("logs talker -c first", "one\ntwo\nthree").await;
    k.is("logs talker first --tail=2", "two\nthree").await;
    k.is("logs pod/talker -c first --limit-bytes=4", "one").await;
    k.is("logs talker -c first --since=1h", "one\ntwo\nthree").await;
    k.is("logs talker -c first --since-time=2100-01-01T00:00:00Z", "").await;
    k.each(&[
        ("logs talker", &["one two three", "!tick"]),
        ("logs talker --all-containers", &["one two three", "tick 1"]),
        ("logs -l app=talker -c first --tail=1", &["three", "!two"]),
        ("logs talker --all-containers --prefix --tail=1", &["[pod/talker/first] three", "[pod/talker/second] tick"]),
        ("logs talker -c first --timestamps", &["Z one 20", "Z two 20"]),
    ])
    .await;
    // What was said longer ago than that is not told.
    k.until("logs talker -c first --since=1s --timestamps", &["!one", "!three"]).await;
    let mut following = k.start("logs -f talker -c second --tail=1");
    let first = following.line("tick").await;
    assert_ne!(following.line("tick").await, first);
    let mut both = k.start("logs -f -l app=talker --all-containers --prefix --max-log-requests=2");
    both.line("[pod/talker/first] three").await;
    both.line("[pod/talker/second] tick").await;
    let before = k.until("logs crasher --previous", &["life of"]).await;
    assert_eq!(before.lines().count(), 1, "{before}");
    k.each_fails(&[
        ("logs talker -c third", &["container third is not valid for pod talker"]),
        ("logs talker -c first --previous", &["previous terminated container \"first\" in pod \"talker\" not found"]),
        ("logs nobody", &["pods \"nobody\" not found"]),
        ("logs -f -l app=talker --all-containers --max-log-requests=1", &["maximum allowed concurrency is 1"]),
    ])
    .await;
}

/// What happened to pods.
async fn told(k: &Kubectl) {
    let of = "get events --field-selector=involvedObject.name";
    k.until(&format!("{of}=talker"), &["LAST SEEN TYPE REASON OBJECT MESSAGE", "Normal Scheduled pod/talker", "Normal Started pod/talker"])
        .await;
    k.until(&format!("{of}=crasher,type=Warning"), &["Warning BackOff pod/crasher", "Back-off restarting failed container c"]).await;
    k.says(&format!("{of}=talker,reason=Scheduled -o jsonpath={{.items[0].message}}"), &["Successfully assigned {ns}/talker to w"]).await;
    k.says("get events --sort-by=.metadata.creationTimestamp -o wide", &["SUBOBJECT SOURCE", "spec.containers{first}", "kubelet, w"]).await;
    if k.knows(26, "events") {
        k.each(&[
            ("events --for=pod/talker", &["LAST SEEN TYPE REASON OBJECT MESSAGE", "Normal Started Pod/talker", "!crasher"]),
            ("events --types=Warning", &["Warning BackOff Pod/crasher", "!Normal"]),
            ("events --for=pod/talker -o json", &["List\"", "\"reason\": \"Scheduled\""]),
            ("events -A --no-headers", &["!LAST SEEN", "{ns}"]),
        ])
        .await;
        k.start("events --for=pod/crasher --watch").line("BackOff").await;
    }
}

async fn run(k: &Kubectl) {
    const IMAGE: &str = "--image=tricorn.local/busybox:1 --restart=Never";
    let alone = "--labels=app=alone,tier=run --env=A=b --port=80 --annotations=k=v";
    k.says(&format!("run alone {IMAGE} --dry-run=client -o yaml -- echo hello"), &["kind: Pod", "args: - echo - hello", "run: alone"])
        .await;
    k.says(&format!("run alone {IMAGE} {alone} --command -- sh -c 'echo got $A'"), &["pod/alone created"]).await;
    let fields = "{.metadata.labels} {.metadata.annotations.k} {.spec.containers[0].ports[0].containerPort} {.spec.restartPolicy}";
    k.is(&format!("get pod alone -o jsonpath='{fields}'"), r#"{"app":"alone","tier":"run"} v 80 Never"#).await;
    k.until("get pod alone", &["alone 0/1 Completed 0"]).await;
    k.is("logs alone", "got b").await;
    k.fails(&format!("run alone {IMAGE}"), &["pods \"alone\" already exists"]).await;
    k.says("delete pod alone", &["deleted"]).await;

    // With input, and gone when it has ended.
    let eaten =
        k.fed(&format!("run eater {IMAGE} --rm -i --command -- sh -c 'while read w; do echo \"ate $w\"; done'"), "bread\nsalt\n").await;
    k.judge(eaten, 0, &["ate bread ate salt", "pod \"eater\" deleted"]);
    let failed = k.run(&format!("run failing {IMAGE} --rm -i --command -- sh -c 'exit 5'")).await;
    k.judge(failed, 5, &["pod \"failing\" deleted"]);
    k.fails("get pod eater", &["NotFound"]).await;
    k.says(&format!("run shown {IMAGE} --attach --rm --command -- sh -c 'sleep 1; echo shown'"), &["shown"]).await;
    let said = k.on_terminal(&format!("run terminal {IMAGE} --rm -it --command -- sh -c \"sleep 1; tty\"")).await;
    k.judge(said, 0, &["/dev/"]);
    k.says("run served --image=tricorn.local/web:v1 --port=8080 --expose", &["service/served created", "pod/served created"]).await;
    k.is("get service served -o jsonpath='{.spec.ports[0].port} {.spec.selector.run}'", "8080 served").await;
    let overrides = r#"{"apiVersion":"v1","spec":{"terminationGracePeriodSeconds":0,"nodeName":"w2"}}"#;
    k.says(&format!("run placed {IMAGE} --overrides='{overrides}' --command -- sleep 3600"), &["created"]).await;
    k.is("get pod placed -o jsonpath='{.spec.nodeName} {.spec.terminationGracePeriodSeconds}'", "w2 0").await;
    k.says("delete pod/placed pod/served service/served --wait=false", &["\"placed\" deleted"]).await;
}

async fn debug(k: &Kubectl) {
    const IMAGE: &str = "--image=tricorn.local/busybox:1";
    // An ephemeral container sees the processes of its target.
    k.says(&format!("debug talker -c lens {IMAGE} --target=first -- sh -c 'ps; sleep 3600'"), &["Targeting container \"first\""]).await;
    k.until("logs talker -c lens", &["sleep 3600"]).await;
    k.says("describe pod talker", &["Ephemeral Containers:", "lens:"]).await;
    // Its input stays open: where that ends, attaching does, since the container may be attached to again.
    let mut debugging = k.start(&format!("debug talker {IMAGE} -i --quiet -- sh -c 'read w; echo \"read $w\"; sleep 1'"));
    debugging.say("hello\n").await;
    debugging.line("read hello").await;
    k.fails(&format!("debug talker -c first {IMAGE}"), &["first"]).await;

    // A copy with another image and one more container.
    let copy = "debug talker --copy-to=copied --share-processes --same-node --set-image=second=tricorn.local/web:v1 -c first -- sleep 3600";
    k.says(copy, &[]).await;
    k.says("wait --for=condition=Ready pod/copied --timeout=60s", &["met"]).await;
    let fields = "{.spec.shareProcessNamespace} {.spec.containers[*].image} {.spec.containers[0].command}";
    k.is(&format!("get pod copied -o jsonpath='{fields}'"), r#"true tricorn.local/busybox:1 tricorn.local/web:v1 ["sleep","3600"]"#).await;
    k.says("delete pod copied --now", &["deleted"]).await;

    // A pod on a node, with the node's files.
    let said = k.run(&format!("debug node/w1 {IMAGE} -- sh -c 'ls -d /host/etc'")).await;
    let said = format!("{}{}", said.out, said.err);
    let pod = said.split_whitespace().find(|word| word.starts_with("node-debugger-w1-")).unwrap_or_else(|| panic!("no pod in {said}"));
    k.until(&format!("logs {pod}"), &["/host/etc"]).await;
    k.is(&format!("get pod {pod} -o jsonpath='{{.spec.nodeName}} {{.spec.hostNetwork}} {{.spec.hostPID}}'"), "w1 true true").await;
    k.says(&format!("delete pod {pod}"), &["deleted"]).await;
    if k.knows(27, "debug --profile") {
        k.says(&format!("debug talker -c tight {IMAGE} --profile=restricted -- sleep 3600"), &[]).await;
        k.says("get pod talker -o yaml", &["name: tight", "runAsNonRoot: true", "drop: - ALL"]).await;
    }
}
