//! `tricorn etcd`: three members started with etcd's own flags, driven by etcdctl.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tricorn_e2e::{Members, binary, run, spawn, until, within};

const SOON: Duration = Duration::from_secs(60);

/// The first lines of a watch of all of a key's history.
async fn watched(group: &Members, member: usize, key: &str, lines: usize) -> Vec<String> {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", group.endpoint(member))).args(["watch", key, "--rev=1"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    while seen.len() < lines {
        seen.push(within("a watch tells what was", SOON, out.next_line()).await.unwrap().unwrap());
    }
    child.kill().await.unwrap();
    seen
}

#[tokio::test]
async fn etcdctl_drives_three_members() {
    let mut group = Members::start();
    for member in 0..3 {
        group.healthy(member).await;
    }
    let listed = group.etcdctl(0, &["member", "list"]).await.ok();
    assert_eq!(listed.lines().filter(|line| line.contains("started") && line.contains("http://")).count(), 3, "{listed}");

    for member in 0..3 {
        // What is put at one is read at each, at once.
        let (key, value) = (format!("/from/{member}"), format!("value {member}"));
        assert_eq!(group.etcdctl(member, &["put", &key, &value]).await.ok(), "OK\n");
        for reader in 0..3 {
            assert_eq!(group.etcdctl(reader, &["get", &key, "--print-value-only"]).await.ok(), format!("{value}\n"));
        }
        // A watch from the past begins with what was.
        assert_eq!(watched(&group, member, &key, 3).await, ["PUT", &key, &value]);
        // A lease takes its keys with it.
        let granted = group.etcdctl(member, &["lease", "grant", "600"]).await.ok();
        let lease = granted.split_whitespace().nth(1).unwrap().to_owned();
        group.etcdctl(member, &["put", "/leased", "x", &format!("--lease={lease}")]).await.ok();
        let left = group.etcdctl((member + 1) % 3, &["lease", "timetolive", &lease, "--keys"]).await.ok();
        assert!(left.contains("/leased") && left.contains("granted with TTL(600s)"), "{left}");
        group.etcdctl((member + 2) % 3, &["lease", "revoke", &lease]).await.ok();
        assert_eq!(group.etcdctl(member, &["get", "/leased"]).await.ok(), "");
        // A snapshot that etcdctl finds to be whole.
        let file = group.scratch(&format!("snapshot-{member}")).display().to_string();
        group.etcdctl(member, &["snapshot", "save", &file]).await.ok();
    }

    restored(&group).await;

    // The leader goes without a word; the others go on, and it comes back to what they wrote.
    let leader = group.leader().await;
    group.kill(leader).await;
    let other = (leader + 1) % 3;
    until("the others elect a leader", SOON, async || {
        let ran = group.etcdctl(other, &["put", "/after", "the kill"]).await;
        if ran.code == Some(0) { Ok(()) } else { Err(ran.err) }
    })
    .await;
    group.start_again(leader);
    group.healthy(leader).await;
    assert_eq!(group.etcdctl(leader, &["get", "/after", "--print-value-only"]).await.ok(), "the kill\n");
    let mut keys = Vec::new();
    for member in 0..3 {
        keys.push(group.etcdctl(member, &["get", "/", "--prefix", "--keys-only"]).await.ok());
    }
    assert_eq!(keys[0].split_whitespace().collect::<Vec<_>>(), ["/after", "/from/0", "/from/1", "/from/2"]);
    assert!(keys.iter().all(|listed| *listed == keys[0]), "{keys:?}");
}

/// A snapshot that etcdctl saved becomes a group of one, with flags of its own.
async fn restored(group: &Members) {
    let path = |name: &str| group.scratch(name).display().to_string();
    let (snapshot, data) = (path("snapshot-0"), path("restored"));
    let restore = ["snapshot", "restore", &snapshot, "--name", "solo", "--data-dir", &data];
    let said = run(binary(), &restore, &[]).await.ok();
    assert!(said.contains("restored revision"), "{said}");
    run(binary(), &restore, &[]).await.fails(1, &["is not empty"]);
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = held.local_addr().unwrap();
    drop(held);
    let line = format!(
        "etcd --name solo --data-dir {data} --listen-client-urls http://{client} --advertise-client-urls http://{client} --listen-peer-urls http://127.0.0.1:0"
    );
    let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let _solo = spawn(&arguments, &group.scratch("solo.log"));
    until("the restored member has what was saved", SOON, async || {
        let endpoint = format!("--endpoints={client}");
        let ran = run("etcdctl", &[&endpoint, "get", "/from/0", "--print-value-only"], &[("ETCDCTL_API", Path::new("3"))]).await;
        if ran.out == "value 0\n" { Ok(()) } else { Err(format!("{}{}", ran.out, ran.err)) }
    })
    .await;
}

#[tokio::test]
async fn the_last_of_three_goes_on_alone() {
    let mut group = Members::start();
    for member in 0..3 {
        group.healthy(member).await;
    }
    group.etcdctl(1, &["put", "/kept", "by all"]).await.ok();
    // Two are enough to acknowledge it; the one that is to go on alone has it once it answers a read.
    assert_eq!(group.etcdctl(2, &["get", "/kept", "--print-value-only"]).await.ok(), "by all\n");
    for member in 0..3 {
        group.kill(member).await;
    }
    group.flags(2).push("--force-new-cluster".into());
    group.start_again(2);
    group.healthy(2).await;
    assert_eq!(group.etcdctl(2, &["get", "/kept", "--print-value-only"]).await.ok(), "by all\n");
    let listed = group.etcdctl(2, &["member", "list"]).await.ok();
    assert!(listed.lines().count() == 1 && listed.contains("started, m2"), "{listed}");
    group.etcdctl(2, &["put", "/alone", "1"]).await.ok();
    // As it was before, from then on.
    group.kill(2).await;
    group.flags(2).pop();
    group.start_again(2);
    group.healthy(2).await;
    assert_eq!(
        group.etcdctl(2, &["get", "/", "--prefix", "--keys-only"]).await.ok().split_whitespace().collect::<Vec<_>>(),
        ["/alone", "/kept"]
    );
}

#[tokio::test]
async fn a_configuration_file_of_etcds_is_read_and_the_quota_changed_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let held: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let [client, peer] = [0, 1].map(|n| format!("http://{}", held[n].local_addr().unwrap()));
    drop(held);
    let text = format!(
        "name: solo\ndata-dir: {}\nlisten-client-urls: {client}\nadvertise-client-urls: {client}\nlisten-peer-urls: {peer}\n\
         initial-advertise-peer-urls: {peer}\ninitial-cluster: solo={peer}\nquota-backend-bytes: 1048576\n\
         auto-compaction-mode: periodic\nauto-compaction-retention: 1s\n",
        dir.path().join("data").display()
    );
    let file = dir.path().join("etcd.yaml");
    std::fs::write(&file, text).unwrap();
    // A flag beside the file does not count, as with etcd.
    let arguments = ["etcd", "--config-file", file.to_str().unwrap(), "--name", "other"].map(str::to_owned);
    let _solo = spawn(&arguments, &dir.path().join("log"));
    let endpoint = format!("--endpoints={client}");
    let etcdctl = async |arguments: &[&str]| {
        let all: Vec<&str> = [&[endpoint.as_str()], arguments].concat();
        run("etcdctl", &all, &[("ETCDCTL_API", Path::new("3"))]).await
    };
    until("it is healthy", SOON, async || {
        let ran = etcdctl(&["endpoint", "health"]).await;
        if ran.code == Some(0) { Ok(()) } else { Err(format!("{}{}", ran.err, std::fs::read_to_string(dir.path().join("log")).unwrap())) }
    })
    .await;
    let listed = etcdctl(&["member", "list"]).await.ok();
    assert!(listed.contains("started, solo"), "{listed}");
    // Until there is no room: the alarm is seen by etcdctl, and a larger quota takes it back.
    let value = "x".repeat(100_000);
    until("the quota is used up", SOON, async || {
        let ran = etcdctl(&["put", "/large", &value]).await;
        if ran.err.contains("mvcc: database space exceeded") { Ok(()) } else { Err(format!("{}{}", ran.out, ran.err)) }
    })
    .await;
    until("the alarm is on", SOON, async || {
        let listed = etcdctl(&["alarm", "list"]).await.ok();
        if listed.contains("alarm:NOSPACE") { Ok(()) } else { Err(listed) }
    })
    .await;
    let quota = format!("{client}/v3/maintenance/quota");
    let said = run("curl", &["-sS", "-d", r#"{"bytes":"1073741824"}"#, &quota], &[]).await.ok();
    assert!(said.contains(r#""bytes":"1073741824""#), "{said}");
    etcdctl(&["put", "/large", "small"]).await.ok();
    assert_eq!(etcdctl(&["alarm", "list"]).await.ok(), "");
    // What is older than a second goes by itself.
    until("the past has gone", SOON, async || {
        let ran = etcdctl(&["get", "/large", "--rev=2"]).await;
        if ran.err.contains("required revision has been compacted") { Ok(()) } else { Err(format!("{}{}", ran.out, ran.err)) }
    })
    .await;
}

#[tokio::test]
async fn wrong_flags_get_an_answer_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("d");
    let etcd = ["etcd", "--name", "b", "--data-dir", data.to_str().unwrap(), "--initial-cluster"];
    run(binary(), &[&etcd[..], &["a"]].concat(), &[]).await.fails(1, &["--initial-cluster a", "NAME=URL"]);
    let elsewhere = [&etcd[..], &["a=http://127.0.0.1:1"]].concat();
    run(binary(), &elsewhere, &[]).await.fails(1, &["couldn't find local name \"b\" in the initial cluster configuration", "--name"]);
    let secure = ["etcd", "--data-dir", data.to_str().unwrap(), "--listen-client-urls", "https://127.0.0.1:0"];
    run(binary(), &secure, &[]).await.fails(1, &["--listen-client-urls https://127.0.0.1:0", "--cert-file and --key-file"]);
    let aged = ["etcd", "--data-dir", data.to_str().unwrap(), "--auto-compaction-retention", "soon"];
    run(binary(), &aged, &[]).await.fails(1, &["--auto-compaction-retention soon", "5m"]);
    assert!(!data.exists(), "a directory was made before the flags were understood");
    let said = run(binary(), &["etcd", "--version"], &[]).await.ok();
    assert!(said.starts_with("etcd Version: 3."), "{said}");
}
