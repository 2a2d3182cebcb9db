//! `tricorn up`, `status`, `down` and wrong input, as a new user meets them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tricorn_e2e::{Ran, binary, lone, run, run_within, spawn, until, within};
use tricorn_testbed::is_root;

const UP: Duration = Duration::from_secs(180);
const HEALTHY: Duration = Duration::from_secs(30);
const NOBODY: u32 = 65534;

async fn tricorn(arguments: &[&str]) -> Ran {
    run_within(UP, binary(), arguments, &[]).await
}

/// The status of a cluster that has come up, once `ask` says that it is healthy: a server that is busy may be taken for silent.
async fn healthy(ask: impl AsyncFn() -> Ran) -> Value {
    until("the cluster is healthy", HEALTHY, async || {
        let said = ask().await.ok();
        let status: Value = serde_json::from_str(&said).unwrap();
        if status["healthy"] == true { Ok(status) } else { Err(said) }
    })
    .await
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a cluster could leave behind on the machine: namespaces, mounts, control groups and processes that name it.
fn leftovers(dir: &Path) -> Vec<String> {
    let name = dir.to_str().unwrap();
    let mut found: Vec<String> = Vec::new();
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        found.push(format!("namespace {}", entry.file_name().to_string_lossy()));
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(name)).map(|line| format!("mount {line}")));
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        // A test runner may carry the path too; what is looked for runs tricorn or containerd.
        if line.contains(name) && (line.contains("tricorn server") || line.contains("tricorn agent") || line.contains("containerd")) {
            found.push(format!("process {line}"));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_brings_a_cluster_up_and_another_takes_it_down() {
    if !is_root() {
        eprintln!("skipped: hosts in network namespaces need root");
        return;
    }
    let temporary = tempfile::Builder::new().prefix("tricorn-").tempdir_in("/tmp").unwrap();
    let dir = temporary.path().join("d");
    let (data, port) = (dir.to_str().unwrap().to_owned(), free_port().to_string());
    let before = leftovers(&dir);
    let said = tricorn(&["up", "--detach", "--data-dir", &data, "--api-port", &port]).await.ok();
    assert!(said.contains("kubectl get nodes"), "what to type next is not in:\n{said}");

    let status = healthy(async || tricorn(&["status", "-o", "json", "--data-dir", &data]).await).await;
    assert!(["s1", "s2", "s3"].contains(&status["leader"].as_str().unwrap()), "{status}");
    let names: Vec<_> = status["hosts"].as_array().unwrap().iter().map(|host| host["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["s1", "s2", "s3", "w1", "w2"]);
    let human = tricorn(&["status", "--data-dir", &data]).await.ok();
    assert!(human.contains("healthy") && human.contains("leader"), "{human}");

    let kubeconfig = dir.join("kubeconfig");
    assert_eq!(std::fs::metadata(&kubeconfig).unwrap().permissions().mode() & 0o077, 0, "others can read the kubeconfig");
    let nodes = run("kubectl", &["get", "nodes"], &[("KUBECONFIG", &kubeconfig)]).await.ok();
    for node in ["w1", "w2"] {
        let line = nodes.lines().find(|line| line.starts_with(node)).unwrap_or_else(|| panic!("no {node} in\n{nodes}"));
        assert_eq!(line.split_whitespace().nth(1), Some("Ready"), "{nodes}");
        assert!(line.contains("v1.36.2+tricorn"), "{nodes}");
    }
    let members = run(binary(), &["member", "list", "-o", "json"], &[("KUBECONFIG", &kubeconfig)]).await.ok();
    let members: Value = serde_json::from_str(&members).unwrap();
    assert_eq!(members.as_array().unwrap().len(), 3);
    assert!(members.as_array().unwrap().iter().all(|member| member["learner"] == false), "{members}");

    // A second one on the same directory, and another cluster on the same port.
    tricorn(&["up", "--data-dir", &data, "--api-port", &port]).await.fails(1, &["already running", "tricorn down"]);
    let other = temporary.path().join("other");
    let other = other.to_str().unwrap();
    tricorn(&["up", "--data-dir", other, "--api-port", &port]).await.fails(1, &["taken by another program", "--api-port"]);
    tricorn(&["host", "kill", "s9", "--data-dir", &data]).await.fails(1, &["no host is called s9", "s1"]);

    tricorn(&["down", "--data-dir", &data]).await.ok();
    assert_eq!(leftovers(&dir), before);
    // Its data stays, and is refused to a cluster of another shape.
    tricorn(&["up", "--servers", "1", "--data-dir", &data, "--api-port", &port]).await.fails(1, &["holds a cluster of 3 servers"]);

    // Its hosts' directories are refused to another cluster.
    let token = |role: &str| format!("TC1{}::{role}:secret", "ab".repeat(32));
    let [server, worker] = ["s2", "w1"].map(|host| dir.join(host).display().to_string());
    // Nothing else on the machine may be in the way.
    let [etcd, peer] = [free_port(), free_port()].map(|port| port.to_string());
    let ports = ["--api-port", &port, "--etcd-port", &etcd, "--peer-port", &peer];
    let join = [&["--join", "https://127.0.0.1:1", "--bind-address", "127.0.0.1"][..], &ports[..]].concat();
    let others = ["server", "--name", "s2", "--data-dir", &server, "--token", &token("server")];
    tricorn(&[&others[..], &join[..]].concat()).await.fails(1, &["belongs to another cluster"]);
    let others = ["agent", "--name", "w1", "--data-dir", &worker, "--server", "https://127.0.0.1:1", "--token", &token("agent")];
    tricorn(&others).await.fails(1, &["belongs to another cluster"]);

    // It comes up again with what it had.
    tricorn(&["up", "--detach", "--data-dir", &data, "--api-port", &port]).await.ok();
    run("kubectl", &["get", "configmap", "kube-root-ca.crt"], &[("KUBECONFIG", &kubeconfig)]).await.ok();
    tricorn(&["down", "--purge", "--data-dir", &data]).await.ok();
    assert_eq!(leftovers(&dir), before);
    assert!(!dir.exists());
    tricorn(&["status", "--data-dir", &data]).await.fails(1, &["no cluster in", "tricorn up"]);
}

/// Somebody who is not root gets three servers on loopback, and is told why there are no workers.
#[tokio::test(flavor = "multi_thread")]
async fn without_root_there_are_three_servers() {
    if !is_root() {
        eprintln!("skipped: it takes root to become somebody else");
        return;
    }
    let ports = [6443, 2379, 2380].iter().flat_map(|port| (1..=3).map(move |host| ([127, 0, 0, host], *port)));
    if let Some(error) = ports.map(|(host, port)| TcpListener::bind((std::net::Ipv4Addr::from(host), port)).err()).find_map(|error| error) {
        eprintln!("skipped: a port that servers on loopback use is taken ({error})");
        return;
    }
    // Where nobody can read: the build's own directory may be hidden from others.
    let temporary = tempfile::Builder::new().prefix("tricorn-").tempdir_in("/tmp").unwrap();
    let program = temporary.path().join("tricorn");
    std::fs::copy(binary(), &program).unwrap();
    let home = temporary.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let data = home.join("d").display().to_string();
    let nobody = async |arguments: &[&str]| {
        let (program, id) = (program.to_str().unwrap(), NOBODY.to_string());
        let become_nobody = ["--reuid", &id, "--regid", &id, "--clear-groups", program];
        run_within(UP, "setpriv", &[&become_nobody[..], arguments].concat(), &[("HOME", home.as_path())]).await
    };
    let up = nobody(&["up", "--detach", "--data-dir", &data]).await;
    let said = format!("{}{}", up.out, up.err);
    assert_eq!(up.code, Some(0), "{said}");
    assert!(said.contains("root"), "why there are no workers is not in\n{said}");
    let status = healthy(async || nobody(&["status", "-o", "json", "--data-dir", &data]).await).await;
    assert_eq!(status["hosts"].as_array().unwrap().len(), 3, "{status}");
    let kubeconfig = home.join("d/kubeconfig");
    run("kubectl", &["create", "configmap", "here"], &[("KUBECONFIG", &kubeconfig)]).await.ok();
    // A worker cannot be run by anyone but root, and says so.
    nobody(&["agent", "--name", "w", "--server", "https://127.0.0.1:6443", "--data-dir", &format!("{data}/w")]).await.fails(1, &["root"]);
    nobody(&["down", "--purge", "--data-dir", &data]).await.ok();
    // Namespaces may be another test's: without root there are none.
    let left: Vec<_> = leftovers(&home).into_iter().filter(|what| !what.starts_with("namespace")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn wrong_usage_gets_an_answer_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("d");
    let data = data.to_str().unwrap();
    tricorn(&["sever"]).await.fails(2, &["server"]);
    tricorn(&["up", "--servers", "many"]).await.fails(2, &["--servers"]);
    // Ports of its own: another test may have servers on the usual ones just now.
    let [api, etcd, peer] = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let server = ["server", "--name", "a", "--data-dir", data, "--api-port", &api, "--etcd-port", &etcd, "--peer-port", &peer];
    tricorn(&server).await.fails(1, &["is empty", "--cluster-init", "--join"]);
    let joining = [&server[..], &["--join", "https://127.0.0.1:1"]].concat();
    tricorn(&joining).await.fails(1, &["no join token", "token create"]);
    let join = [&joining[..], &["--token"]].concat();
    tricorn(&[&join[..], &["K10"]].concat()).await.fails(1, &["TC1"]);
    let token = format!("TC1{}::agent:secret", "ab".repeat(32));
    tricorn(&[&join[..], &[&token]].concat()).await.fails(1, &["for workers", "--role server"]);
    let token = format!("TC1{}::server:secret", "ab".repeat(32));
    tricorn(&[&join[..], &[&token]].concat()).await.fails(1, &["join the cluster", "127.0.0.1:1"]);
    if is_root() {
        let agent = ["agent", "--name", "w", "--data-dir", data, "--containerd", "/nowhere/containerd"];
        tricorn(&agent).await.fails(1, &["/nowhere/containerd", "--containerd"]);
        tricorn(&["agent", "--name", "w", "--data-dir", data, "--node-taint", "a:Never"]).await.fails(1, &["NoSchedule"]);
    }
    let config = dir.path().join("config.yaml");
    std::fs::write(&config, "data-dri: /x\n").unwrap();
    run(binary(), &["status"], &[("TRICORN_CONFIG", config.as_path())]).await.fails(2, &["data-dri", "config.yaml"]);
    tricorn(&["history", "pod/x"]).await.fails(1, &["not implemented"]);
    let version: Value = serde_json::from_str(&tricorn(&["version", "-o", "json"]).await.ok()).unwrap();
    assert!(version["kubernetes"].as_str().unwrap().starts_with("v1.36.2+tricorn"));
    assert!(tricorn(&["completion", "bash"]).await.ok().contains("tricorn"));
}

/// A server whose port is taken, whose directory is another's, or was written by a newer version.
#[tokio::test]
async fn a_server_refuses_what_is_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (a, data) = ([free_port(), free_port()].map(|port| port.to_string()), dir.path().join("d"));
    let data = data.to_str().unwrap();
    let server = ["server", "--name", "a", "--data-dir", data, "--bind-address", "127.0.0.1", "--cluster-init"];
    let ports = |api: &str| ["--api-port", api, "--etcd-port", &a[0], "--peer-port", &a[1]].map(str::to_owned).to_vec();
    let with = |api: &str| server.iter().map(ToString::to_string).chain(ports(api)).collect::<Vec<_>>();
    run(binary(), &with(&port), &[]).await.fails(1, &["taken by another program", "--api-port"]);
    let json = r#"{"format":1,"version":"0.1.0","name":"b","cluster_id":"1","founder":true,"settings":{"cluster_cidr":"10.42.0.0/16","service_cidr":"10.43.0.0/16","cluster_dns":"10.43.0.10","cluster_domain":"cluster.local"}}"#;
    std::fs::write(dir.path().join("d/server.json"), json).unwrap();
    let free = free_port().to_string();
    run(binary(), &with(&free), &[]).await.fails(1, &["is that of server b", "--name b"]);
    std::fs::write(dir.path().join("d/server.json"), json.replace(r#""format":1"#, r#""format":99"#)).unwrap();
    run(binary(), &with(&free), &[]).await.fails(1, &["newer than this one"]);
    std::fs::write(dir.path().join("d/server.json"), "{").unwrap();
    run(binary(), &with(&free), &[]).await.fails(1, &["damaged"]);
}

/// A server that is asked to end does so without a crash: what still held the store when the process ended used to abort it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_asked_to_end_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("d/kubeconfig");
    let (arguments, _) = lone::arguments(&dir.path().join("d"));
    for round in 0..6 {
        let mut server = spawn(&arguments, &dir.path().join("log"));
        until("the server is ready", UP, async || {
            let ran = run("kubectl", &["get", "--raw", "/readyz"], &[("KUBECONFIG", &kubeconfig)]).await;
            if ran.code == Some(0) { Ok(()) } else { Err(ran.err) }
        })
        .await;
        run("kill", &["-TERM", &server.id().unwrap().to_string()], &[]).await.ok();
        let ended = within("the server ends", UP, server.wait()).await.unwrap();
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(ended.success(), "round {round}: {ended}\n{log}");
    }
}
