//! Real hosts with a stand-in for the `tricorn` binary: what happens to processes, links and leftovers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tricorn_testbed::{Cluster, ClusterConfig, Error, Silent, StateFile, clean, is_root};

/// Behaves as far as the test bed can see like a server that never gets ready, and starts a process that outlives its
/// parent, as a containerd shim does.
const STAND_IN: &str = "#!/bin/sh\n(setsid sleep 600 &)\nexec sleep 600\n";

fn stand_in(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("stand-in");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn config(dir: &Path, script: &str) -> ClusterConfig {
    let mut config = ClusterConfig::new(dir.join("data"), stand_in(dir, script));
    config.servers = 2;
    config.workers = 0;
    config.api_port = 0;
    config.deadline = Duration::from_secs(3);
    config
}

fn namespaces(id: &str) -> Vec<String> {
    let Ok(dir) = std::fs::read_dir("/run/netns") else { return Vec::new() };
    dir.map(|e| e.unwrap().file_name().into_string().unwrap()).filter(|n| n.contains(id)).collect()
}

macro_rules! need_root {
    () => {
        if !is_root() {
            eprintln!("skipped: hosts in network namespaces need root");
            return;
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    need_root!();
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "#!/bin/sh\necho no such cluster >&2\nexit 3\n");
    let file = StateFile::new(&config.data_dir).unwrap();
    let begin = Instant::now();
    let error = Cluster::start(config, &Silent).await.unwrap_err();
    assert!(matches!(error, Error::HostEnded { .. }), "{error}");
    assert!(error.to_string().contains("no such cluster"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(namespaces(&file.id()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_cut_paused_killed_and_cleared_away() {
    need_root!();
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), STAND_IN);
    let file = StateFile::new(&config.data_dir).unwrap();
    // The stand-in never gets ready; while its start waits, it is there to be handled.
    let mut config = config;
    config.deadline = Duration::from_secs(60);
    let starting = tokio::spawn(async move { Cluster::start(config, &Silent).await });
    let begin = Instant::now();
    while !file.read().is_ok_and(|s| s.hosts[0].main.is_some_and(|p| p.alive())) {
        assert!(begin.elapsed() < Duration::from_secs(30), "s1 did not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tricorn_testbed::start(&file, "s2").await.unwrap();
    let second = ClusterConfig::new(file.dir(), "/bin/true");
    assert!(matches!(Cluster::start(second, &Silent).await, Err(Error::AlreadyRunning { .. })));

    assert!(pings(&file, "s1", "172.30.0.12").await);
    tricorn_testbed::cut(&file, "s1", Some("s2")).await.unwrap();
    assert!(!pings(&file, "s1", "172.30.0.12").await);
    assert!(pings(&file, "s1", "172.30.0.1").await);
    tricorn_testbed::heal(&file, Some("s1"), None).await.unwrap();
    assert!(pings(&file, "s1", "172.30.0.12").await);
    tricorn_testbed::cut(&file, "s1", None).await.unwrap();
    assert!(!pings(&file, "s1", "172.30.0.1").await);
    tricorn_testbed::heal(&file, None, None).await.unwrap();

    let record = file.read().unwrap().host("s2").unwrap().clone();
    tricorn_testbed::pause(&file, "s2").unwrap();
    let state = std::fs::read_to_string(format!("/proc/{}/status", record.main.unwrap().pid)).unwrap();
    assert!(state.contains("State:\tT"), "{state}");
    tricorn_testbed::resume(&file, "s2").unwrap();
    tricorn_testbed::kill(&file, "s2").await.unwrap();
    assert!(!record.init.unwrap().alive() && !record.main.unwrap().alive());
    assert!(tricorn_testbed::exec_command(&file, "s2", &["true".into()]).is_err());
    tricorn_testbed::start(&file, "s2").await.unwrap();
    assert!(tricorn_testbed::exec_command(&file, "s2", &["true".into()]).unwrap().status().await.unwrap().success());
    assert!(matches!(tricorn_testbed::kill(&file, "s9").await, Err(Error::NoHost { .. })));

    starting.abort();
    let _ = starting.await;
    clean(&file).await.unwrap();
    clean(&file).await.unwrap();
    assert_eq!(namespaces(&file.id()), Vec::<String>::new());
    assert!(!file.read().unwrap().hosts.iter().any(|h| h.main.is_some_and(|p| p.alive())));
}

/// Whether a packet from host `from` reaches `address` and comes back.
async fn pings(file: &StateFile, from: &str, address: &str) -> bool {
    let argv = ["busybox", "ping", "-c", "1", "-W", "1", address].map(String::from);
    let mut command = tricorn_testbed::exec_command(file, from, &argv).unwrap();
    command.stdout(std::process::Stdio::null()).status().await.unwrap().success()
}
