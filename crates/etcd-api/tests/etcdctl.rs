//! etcd's own command line tool against our server, over mutual TLS.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use support::{Ours, Trust};

struct Etcdctl {
    arguments: Vec<String>,
    dir: tempfile::TempDir,
}

impl Etcdctl {
    fn new(ours: &Ours, trust: &Trust) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> String {
            let path: PathBuf = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let arguments = vec![
            format!("--endpoints=https://{}", ours.address),
            format!("--cacert={}", file("ca.crt", trust.authority.certificate_pem())),
            format!("--cert={}", file("client.crt", &trust.client.certificate_pem)),
            format!("--key={}", file("client.key", &trust.client.key_pem)),
            "--command-timeout=10s".to_owned(),
        ];
        Self { arguments, dir }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(&self.arguments).args(arguments).stdin(Stdio::null());
        command
    }

    /// What it says when it must not work.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(!output.status.success(), "etcdctl {arguments:?} worked");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Standard output and, when it fails, standard error behind it.
    fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "etcdctl {arguments:?}: {text}");
        text
    }
}

fn installed() -> bool {
    let found = Command::new("etcdctl").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("skipped: there is no etcdctl on this machine (package etcd-client)");
    }
    found
}

/// etcdctl 3.4 sends the URL as an authority when it asks one member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_are_taken_without_tls_too() {
    if !installed() {
        return;
    }
    let ours = Ours::start(|_| {}).await;
    let endpoints = format!("--endpoints=http://{}", ours.address);
    let etcdctl = Etcdctl { arguments: vec![endpoints, "--command-timeout=10s".to_owned()], dir: tempfile::tempdir().unwrap() };
    tokio::task::spawn_blocking(move || {
        assert!(etcdctl.run(&["endpoint", "status"], "").contains("true"));
        etcdctl.run(&["put", "a", "b"], "");
        etcdctl.run(&["endpoint", "hashkv"], "");
        let file = etcdctl.dir.path().join("snapshot");
        etcdctl.run(&["snapshot", "save", file.to_str().unwrap()], "");
    })
    .await
    .unwrap();
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tool_works_unchanged() {
    if !installed() {
        return;
    }
    let trust = Trust::new();
    let ours = Ours::start(|config| config.tls = Some(trust.required())).await;
    let etcdctl = Etcdctl::new(&ours, &trust);
    tokio::task::spawn_blocking(move || {
        keys(&etcdctl);
        leases(&etcdctl);
        watch(&etcdctl);
        turns(&etcdctl);
        operations(&etcdctl);
    })
    .await
    .unwrap();
    ours.stop().await;
}

fn keys(etcdctl: &Etcdctl) {
    assert_eq!(etcdctl.run(&["put", "k", "v"], ""), "OK\n");
    assert_eq!(etcdctl.run(&["get", "k"], ""), "k\nv\n");
    etcdctl.run(&["put", "k2", "v2"], "");
    assert_eq!(etcdctl.run(&["get", "--prefix", "--keys-only", "k"], ""), "k\n\nk2\n\n");
    assert_eq!(etcdctl.run(&["get", "--prefix", "--order=DESCEND", "--print-value-only", "k"], ""), "v2\nv\n");
    let txn = etcdctl.run(&["txn"], "value(\"k\") = \"v\"\n\nput k changed\nget k\n\nget k2\n\n");
    assert!(txn.starts_with("SUCCESS\n") && txn.contains("changed"), "{txn}");
    assert_eq!(etcdctl.run(&["del", "--prev-kv", "k2"], ""), "1\nk2\nv2\n");
    assert_eq!(etcdctl.run(&["get", "--rev=3", "k2"], ""), "k2\nv2\n");
    assert!(etcdctl.run(&["compaction", "4"], "").contains("compacted revision 4"));
}

fn leases(etcdctl: &Etcdctl) {
    let granted = etcdctl.run(&["lease", "grant", "500"], "");
    let id = granted.split_whitespace().nth(1).unwrap().to_owned();
    assert!(granted.contains("granted with TTL(500s)"), "{granted}");
    etcdctl.run(&["put", &format!("--lease={id}"), "leased", "x"], "");
    let left = etcdctl.run(&["lease", "timetolive", "--keys", &id], "");
    assert!(left.contains("granted with TTL(500s)") && left.contains("leased"), "{left}");
    assert!(etcdctl.run(&["lease", "keep-alive", "--once", &id], "").contains("keepalived with TTL(500)"));
    assert!(etcdctl.run(&["lease", "list"], "").contains(&id));
    etcdctl.run(&["lease", "revoke", &id], "");
    assert_eq!(etcdctl.run(&["get", "leased"], ""), "");
}

fn watch(etcdctl: &Etcdctl) {
    let mut watch = etcdctl.command(&["watch", "--rev=2", "--prefix", "w"]).stdout(Stdio::piped()).spawn().unwrap();
    etcdctl.run(&["put", "w/1", "seen"], "");
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.take(3).map(Result::unwrap).collect();
    watch.kill().unwrap();
    watch.wait().unwrap();
    // Revision 2 has been compacted by now: the tool says so instead, and the watch begins anew.
    if lines.first().is_some_and(|line| line == "PUT") {
        assert_eq!(lines, ["PUT", "w/1", "seen"]);
    }
    let mut watch = etcdctl.command(&["watch", "--prefix", "v", "--rev=5"]).stdout(Stdio::piped()).spawn().unwrap();
    etcdctl.run(&["put", "v/1", "seen"], "");
    etcdctl.run(&["del", "v/1"], "");
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.take(6).map(Result::unwrap).collect();
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(lines, ["PUT", "v/1", "seen", "DELETE", "v/1", ""]);
}

fn turns(etcdctl: &Etcdctl) {
    let held = etcdctl.run(&["lock", "mutex", "etcdctl", "version"], "");
    assert!(held.contains("etcdctl version"), "{held}");
    let mut holder = etcdctl.command(&["lock", "mutex"]).stdout(Stdio::piped()).spawn().unwrap();
    let key = BufReader::new(holder.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(key.starts_with("mutex/"), "{key}");
    let waiting = etcdctl.command(&["lock", "mutex", "etcdctl", "version"]).stdout(Stdio::piped()).spawn().unwrap();
    // The tool lets go when it is interrupted.
    interrupt(&mut holder);
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success());

    let mut leader = etcdctl.command(&["elect", "office", "proposal"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(leader.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("office/"));
    assert_eq!(lines.next().unwrap().unwrap(), "proposal");
    let mut listener = etcdctl.command(&["elect", "--listen", "office"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut heard = BufReader::new(listener.stdout.take().unwrap()).lines();
    assert!(heard.next().unwrap().unwrap().starts_with("office/"));
    assert_eq!(heard.next().unwrap().unwrap(), "proposal");
    listener.kill().unwrap();
    listener.wait().unwrap();
    interrupt(&mut leader);
}

fn interrupt(child: &mut std::process::Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    child.wait().unwrap();
}

fn operations(etcdctl: &Etcdctl) {
    let members = etcdctl.run(&["member", "list"], "");
    assert!(members.contains(", started, t, "), "{members}");
    let status = etcdctl.run(&["endpoint", "status", "--write-out=json"], "");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status[0]["Status"]["version"], tricorn_etcd_api::ETCD_VERSION);
    assert_eq!(status[0]["Status"]["leader"], status[0]["Status"]["header"]["member_id"]);
    assert!(etcdctl.run(&["endpoint", "health"], "").contains("is healthy"));
    assert!(etcdctl.run(&["endpoint", "hashkv"], "").contains(", "));
    assert_eq!(etcdctl.run(&["alarm", "list"], ""), "");
    assert!(etcdctl.run(&["defrag"], "").contains("Finished defragmenting"));
    let file = etcdctl.dir.path().join("snapshot.db");
    let saved = etcdctl.run(&["snapshot", "save", file.to_str().unwrap()], "");
    assert!(saved.contains("Snapshot saved"), "{saved}");
    assert!(std::fs::read(&file).unwrap().starts_with(b"TRICSNAP"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_made_and_held_to_their_roles() {
    if !installed() {
        return;
    }
    let ours = Ours::start(|_| {}).await;
    let plain = Etcdctl {
        arguments: vec![format!("--endpoints=http://{}", ours.address), "--command-timeout=10s".into()],
        dir: tempfile::tempdir().unwrap(),
    };
    tokio::task::spawn_blocking(move || users(&plain)).await.unwrap();
    ours.stop().await;
}

fn users(etcdctl: &Etcdctl) {
    assert_eq!(etcdctl.run(&["user", "add", "root:r"], ""), "User root created\n");
    assert_eq!(etcdctl.run(&["user", "add", "alice:a"], ""), "User alice created\n");
    assert_eq!(etcdctl.run(&["role", "add", "app"], ""), "Role app created\n");
    etcdctl.run(&["role", "grant-permission", "--prefix", "app", "readwrite", "app/"], "");
    etcdctl.run(&["role", "grant-permission", "app", "read", "motd"], "");
    etcdctl.run(&["user", "grant-role", "alice", "app"], "");
    etcdctl.run(&["put", "secret", "s"], "");
    // The tool gives root its role by itself, once it has been told that it is missing.
    assert!(etcdctl.run(&["auth", "enable"], "").starts_with("Authentication Enabled\n"));
    assert!(etcdctl.refused(&["get", "secret"]).contains("etcdserver: user name is empty"));
    assert!(etcdctl.refused(&["--user=alice:wrong", "get", "motd"]).contains("invalid user ID or password"));
    assert_eq!(etcdctl.run(&["--user=alice:a", "put", "app/1", "v"], ""), "OK\n");
    assert_eq!(etcdctl.run(&["--user=alice:a", "get", "--prefix", "app/"], ""), "app/1\nv\n");
    for denied in [
        &["get", "secret"][..],
        &["get", "--prefix", "a"],
        &["put", "motd", "x"],
        &["del", "--from-key", "app/"],
        &["user", "list"],
        &["role", "get", "root"],
        &["auth", "disable"],
    ] {
        let said = etcdctl.refused(&[&["--user=alice:a"], denied].concat());
        assert!(said.contains("etcdserver: permission denied"), "{denied:?}: {said}");
    }
    assert!(etcdctl.run(&["--user=alice:a", "user", "get", "alice"], "").contains("Roles: app"));
    assert!(etcdctl.run(&["--user=alice:a", "role", "get", "app"], "").contains("[app/, app0) (prefix app/)"));
    assert_eq!(etcdctl.run(&["--user=root:r", "get", "secret"], ""), "secret\ns\n");
    assert_eq!(etcdctl.run(&["--user=root:r", "user", "list"], ""), "alice\nroot\n");
    etcdctl.run(&["--user=root:r", "role", "revoke-permission", "--prefix", "app", "app/"], "");
    assert!(etcdctl.refused(&["--user=alice:a", "get", "app/1"]).contains("permission denied"));
    etcdctl.run(&["--user=root:r", "user", "delete", "alice"], "");
    assert!(etcdctl.refused(&["--user=alice:a", "get", "motd"]).contains("invalid user ID or password"));
    assert_eq!(etcdctl.run(&["--user=root:r", "auth", "disable"], ""), "Authentication Disabled\n");
    assert_eq!(etcdctl.run(&["get", "secret"], ""), "secret\ns\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_enters_without_a_certificate() {
    if !installed() {
        return;
    }
    let trust = Trust::new();
    let ours = Ours::start(|config| config.tls = Some(trust.required())).await;
    let mut etcdctl = Etcdctl::new(&ours, &trust);
    etcdctl.arguments.retain(|argument| !argument.starts_with("--cert=") && !argument.starts_with("--key="));
    etcdctl.arguments.push("--command-timeout=2s".into());
    let output = tokio::task::spawn_blocking(move || etcdctl.command(&["get", "k"]).output().unwrap()).await.unwrap();
    assert!(!output.status.success());
    ours.stop().await;
}
