//! `exec`, `attach`, `cp`, `port-forward`, `proxy`.

use tricorn_e2e::run;

use crate::client::Kubectl;

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: site, labels: {app: site}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: web, image: 'tricorn.local/web:v1', ports: [{containerPort: 8080, name: http}]}
  - {name: side, image: 'tricorn.local/busybox:1', command: [sh, -c, 'n=0; while n=$((n+1)); do echo "tick $n"; sleep 0.5; done']}
---
apiVersion: v1
kind: Pod
metadata: {name: echoer}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: tricorn.local/busybox:1
    stdin: true
    stdinOnce: true
    command: [sh, -c, 'while read w; do echo "heard $w"; done; echo over']
"#;

pub async fn all(k: &Kubectl) {
    k.apply(PODS).await;
    k.says("expose pod site --port=80 --target-port=http", &["service/site exposed"]).await;
    k.says("wait --for=condition=Ready pod/site pod/echoer --timeout=60s", &["pod/site condition met"]).await;
    exec(k).await;
    attach(k).await;
    copy(k).await;
    forward(k).await;
    proxy(k).await;
    k.says("delete pod/site pod/echoer service/site", &["pod \"site\" deleted", "service \"site\" deleted"]).await;
}

async fn exec(k: &Kubectl) {
    k.is("exec site -- hostname", "site").await;
    k.is("exec pod/site -c side -- sh -c 'echo one; echo two'", "one\ntwo").await;
    k.is("exec service/site -c web -- hostname", "site").await;
    k.judge(k.run("exec site -c side -- sh -c 'echo to-err >&2; exit 7'").await, 7, &["to-err", "command terminated with exit code 7"]);
    let long = "a line of some length\n".repeat(20_000);
    let back = k.fed("exec -i site -c side -- cat", &long).await.ok();
    assert!(back == long, "{} bytes went in, {} came back", long.len(), back.len());
    k.judge(k.on_terminal("exec -it site -c side -- sh -c 'tty; stty size'").await, 0, &["/dev/pts/"]);
    k.says("exec site -c web -- sh -c 'echo $VERSION'", &["v1"]).await;
    k.each_fails(&[
        ("exec site -c nobody -- true", &["nobody"]),
        ("exec nobody -- true", &["pods \"nobody\" not found"]),
        ("exec site -c side", &["you must specify at least one command for the container"]),
    ])
    .await;
    let absent = k.run("exec site -c side -- no-such-program").await;
    assert!(absent.code != Some(0) && absent.err.contains("no-such-program"), "{absent:?}");
}

async fn attach(k: &Kubectl) {
    let mut attached = k.start("attach site -c side");
    let first = attached.line("tick").await;
    assert_ne!(attached.line("tick").await, first);
    k.judge(k.fed("attach -i echoer", "bread\nsalt\n").await, 0, &["heard bread heard salt over"]);
    k.until("get pod echoer", &["Completed"]).await;
    k.fails("attach echoer", &["cannot attach a container in a completed pod"]).await;
    k.fails("attach nobody", &["pods \"nobody\" not found"]).await;
}

async fn copy(k: &Kubectl) {
    k.file("out/file", "carried\n");
    k.file("out/deep/er", "deeper\n");
    k.says("cp {dir}/out/file site:/tmp/carried -c side", &[]).await;
    k.is("exec site -c side -- cat /tmp/carried", "carried").await;
    k.says("cp {ns}/site:tmp/carried {dir}/back -c side", &[]).await;
    assert_eq!(k.read("back"), "carried\n");
    k.says("cp {dir}/out site:/tmp/folder -c side", &[]).await;
    k.is("exec site -c side -- cat /tmp/folder/deep/er /tmp/folder/file", "deeper\ncarried").await;
    k.says("exec site -c side -- sh -c 'echo changed > /tmp/folder/file'", &[]).await;
    k.says("cp site:tmp/folder {dir}/folder -c side", &[]).await;
    assert_eq!((k.read("folder/file"), k.read("folder/deep/er")), ("changed\n".to_owned(), "deeper\n".to_owned()));
    k.fails("cp {dir}/nowhere site:/tmp/x -c side", &["doesn't exist"]).await;
    k.says("exec site -c side -- test ! -e /tmp/x", &[]).await;
}

async fn curl(url: &str) -> String {
    run("curl", &["-sS", "--max-time", "20", url], &[]).await.ok()
}

async fn forward(k: &Kubectl) {
    for (target, ports) in [("pod/site", ":8080"), ("service/site", ":80"), ("site", ":http")] {
        let mut forwarding = k.start(&format!("port-forward {target} {ports} --address=127.0.0.1"));
        // Forwarding from 127.0.0.1:12345 -> 8080
        let said = forwarding.line("Forwarding from 127.0.0.1:").await;
        let address = said.split(' ').nth(2).unwrap();
        for _ in 0..2 {
            assert_eq!(curl(&format!("http://{address}/hostname")).await.trim(), "site", "through {target}");
        }
    }
    k.fails("port-forward service/site :81", &["does not have a service port 81"]).await;
    k.fails("port-forward nobody :80", &["pods \"nobody\" not found"]).await;
}

async fn proxy(k: &Kubectl) {
    k.file("www/page", "a page\n");
    let mut proxying = k.start("proxy --port=0 --www={dir}/www --www-prefix=/files/ --reject-paths=^/version");
    // Starting to serve on 127.0.0.1:12345
    let said = proxying.line("Starting to serve on 127.0.0.1:").await;
    let ask = async |path: &str| curl(&format!("http://{}{path}", said.split(' ').next_back().unwrap())).await;
    let space = format!("/api/v1/namespaces/{}", k.namespace());
    assert!(ask(&format!("{space}/pods/site")).await.contains("\"name\":\"site\""));
    assert_eq!(ask("/files/page").await, "a page\n");
    assert!(ask("/version").await.contains("Forbidden"));
    assert!(ask(&format!("{space}/services/site:81/proxy/")).await.contains("no service port 81 found for service \\\"site\\\""));
    k.says("get --raw /api/v1/nodes/w1/proxy/healthz", &["ok"]).await;
}
