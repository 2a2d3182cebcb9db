//! `tricorn etcd`: three members started with etcd's own flags, driven by etcdctl.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tricorn_e2e::{Ran, binary, run, until, within};

const SOON: Duration = Duration::from_secs(30);

/// Three members on loopback; they go when it is dropped.
struct Group {
    dir: tempfile::TempDir,
    members: Vec<(Vec<String>, Child)>,
    endpoints: Vec<String>,
}

impl Group {
    fn start() -> Self {
        // Held until all are known, so that none is given twice.
        let held: Vec<_> = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let urls: Vec<_> = held.iter().map(|port| format!("http://{}", port.local_addr().unwrap())).collect();
        drop(held);
        let (clients, peers) = urls.split_at(3);
        let cluster = peers.iter().enumerate().map(|(n, peer)| format!("m{n}={peer}")).collect::<Vec<_>>().join(",");
        let dir = tempfile::tempdir().unwrap();
        let mut group = Self { members: Vec::new(), endpoints: clients.to_vec(), dir };
        for n in 0..3 {
            let data = group.dir.path().join(format!("m{n}")).display().to_string();
            // One dash or two, a value after a blank or after `=`: etcd takes all of it.
            let line = format!(
                "etcd -name m{n} --data-dir={data} --listen-client-urls {0} --advertise-client-urls {0} --listen-peer-urls={1} \
                 --initial-advertise-peer-urls {1} --initial-cluster {cluster} --initial-cluster-state new --initial-cluster-token t",
                clients[n], peers[n]
            );
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let child = spawn(&arguments, &group.log(n));
            group.members.push((arguments, child));
        }
        group
    }

    fn log(&self, member: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("m{member}.log"))
    }

    async fn kill(&mut self, member: usize) {
        self.members[member].1.kill().await.unwrap();
    }

    fn start_again(&mut self, member: usize) {
        self.members[member].1 = spawn(&self.members[member].0, &self.log(member));
    }

    async fn etcdctl(&self, member: usize, arguments: &[&str]) -> Ran {
        let endpoint = format!("--endpoints={}", self.endpoints[member]);
        let all: Vec<&str> = [&[endpoint.as_str()], arguments].concat();
        run("etcdctl", &all, &[("ETCDCTL_API", Path::new("3"))]).await
    }

    /// The first lines of a watch of all of a key's history.
    async fn watched(&self, member: usize, key: &str, lines: usize) -> Vec<String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.endpoints[member])).args(["watch", key, "--rev=1"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = Vec::new();
        while seen.len() < lines {
            seen.push(within("a watch tells what was", SOON, out.next_line()).await.unwrap().unwrap());
        }
        child.kill().await.unwrap();
        seen
    }

    async fn healthy(&self, member: usize) {
        until(&format!("member {member} is healthy"), SOON, async || {
            let ran = self.etcdctl(member, &["endpoint", "health"]).await;
            let log = || std::fs::read_to_string(self.log(member)).unwrap_or_default();
            if ran.code == Some(0) { Ok(()) } else { Err(format!("{}{}", ran.err, log())) }
        })
        .await;
    }

    /// The member that leads, as all see it.
    async fn leader(&self) -> usize {
        until("all agree on a leader", SOON, async || {
            let mut said = Vec::new();
            for member in 0..3 {
                let ran = self.etcdctl(member, &["endpoint", "status", "-w", "json"]).await;
                let status: Value = serde_json::from_str(&ran.out).unwrap_or_default();
                said.push((status[0]["Status"]["header"]["member_id"].clone(), status[0]["Status"]["leader"].clone()));
            }
            let leader = said.iter().position(|(member, leader)| member == leader && !member.is_null());
            let agreed = said.iter().all(|(_, leader)| *leader == said[0].1);
            leader.filter(|_| agreed).ok_or_else(|| format!("{said:?}"))
        })
        .await
    }
}

fn spawn(arguments: &[String], log: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    command.spawn().unwrap()
}

#[tokio::test]
async fn etcdctl_drives_three_members() {
    let mut group = Group::start();
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
        assert_eq!(group.watched(member, &key, 3).await, ["PUT", &key, &value]);
        // A lease takes its keys with it.
        let granted = group.etcdctl(member, &["lease", "grant", "600"]).await.ok();
        let lease = granted.split_whitespace().nth(1).unwrap().to_owned();
        group.etcdctl(member, &["put", "/leased", "x", &format!("--lease={lease}")]).await.ok();
        let left = group.etcdctl((member + 1) % 3, &["lease", "timetolive", &lease, "--keys"]).await.ok();
        assert!(left.contains("/leased") && left.contains("granted with TTL(600s)"), "{left}");
        group.etcdctl((member + 2) % 3, &["lease", "revoke", &lease]).await.ok();
        assert_eq!(group.etcdctl(member, &["get", "/leased"]).await.ok(), "");
        // A snapshot that etcdctl finds to be whole.
        let file = group.dir.path().join(format!("snapshot-{member}")).display().to_string();
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
async fn restored(group: &Group) {
    let path = |name: &str| group.dir.path().join(name).display().to_string();
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
    let _solo = spawn(&arguments, &group.dir.path().join("solo.log"));
    until("the restored member has what was saved", SOON, async || {
        let endpoint = format!("--endpoints={client}");
        let ran = run("etcdctl", &[&endpoint, "get", "/from/0", "--print-value-only"], &[("ETCDCTL_API", Path::new("3"))]).await;
        if ran.out == "value 0\n" { Ok(()) } else { Err(format!("{}{}", ran.out, ran.err)) }
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
    assert!(!data.exists(), "a directory was made before the flags were understood");
    let said = run(binary(), &["etcd", "--version"], &[]).await.ok();
    assert!(said.starts_with("etcd Version: 3."), "{said}");
}
