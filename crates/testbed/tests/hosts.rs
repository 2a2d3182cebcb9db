//! Real hosts with a stand-in for the `tricorn` binary: what happens to processes, links and leftovers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tricorn_testbed::{
    Cluster, ClusterConfig, Delay, Error, Ground, HostRecord, Hosts, Mode, Role, Silent, StateFile, clean, delay, exec_command, is_root,
};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_as_slow_as_asked_for_and_fast_again() {
    need_root!();
    let dir = tempfile::tempdir().unwrap();
    let ground = Ground { mode: Mode::Namespaces, subnet: [172, 28, 0, 0].into(), restart: false };
    let host = |network: &tricorn_testbed::Network, name: &str, last| {
        HostRecord::new(
            name,
            Role::Server,
            network.address(last),
            network.netns(name),
            ["sleep", "600"].map(String::from).into(),
            Vec::new(),
        )
    };
    let hosts = Hosts::lay(dir.path(), ground, |network| vec![host(network, "n1", 11), host(network, "n2", 12)]).await.unwrap();
    let file = hosts.file().clone();
    for name in ["n1", "n2"] {
        tricorn_testbed::start(&file, name).await.unwrap();
    }
    let fast = Duration::from_millis(80);
    becomes_faster_than(fast, &file).await;

    delay(&file, "n2", Delay { ms: 100, jitter_ms: 60 }).await.unwrap();
    let mut trips = Vec::new();
    for _ in 0..5 {
        trips.push(round_trip(&file).await.unwrap());
    }
    // The clock of the ping and ours need not agree to the last millisecond.
    assert!(trips.iter().all(|trip| *trip >= Duration::from_millis(99)), "{trips:?}");
    // A port without a listener answers too, as late.
    let begin = Instant::now();
    let refused = hosts.dialer().connect(([172, 28, 0, 12], 9).into(), Duration::from_secs(5)).await;
    assert!(refused.is_err() && begin.elapsed() >= Duration::from_millis(100), "{refused:?} after {:?}", begin.elapsed());
    // The other way too, by another delay.
    delay(&file, "n1", Delay { ms: 50, jitter_ms: 0 }).await.unwrap();
    delay(&file, "n2", Delay { ms: 200, jitter_ms: 0 }).await.unwrap();
    assert!(round_trip(&file).await.unwrap() >= Duration::from_millis(249));

    delay(&file, "n2", Delay::default()).await.unwrap();
    tricorn_testbed::heal(&file, None, None).await.unwrap();
    becomes_faster_than(fast, &file).await;
    let rules = exec_command(&file, "n2", &["iptables", "-t", "mangle", "-S"].map(String::from)).unwrap().output().await.unwrap();
    assert!(rules.status.success() && !String::from_utf8_lossy(&rules.stdout).contains("NFQUEUE"), "{rules:?}");
    hosts.down().await.unwrap();
    assert_eq!(namespaces(&file.id()), Vec::<String>::new());
}

async fn becomes_faster_than(limit: Duration, file: &StateFile) {
    let begin = Instant::now();
    loop {
        let trip = round_trip(file).await;
        if trip.is_some_and(|trip| trip < limit) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "a round trip takes {trip:?}");
    }
}

/// How long a packet takes from n1 to n2 and back.
async fn round_trip(file: &StateFile) -> Option<Duration> {
    let argv = ["busybox", "ping", "-c", "1", "-W", "5", "172.28.0.12"].map(String::from);
    let output = exec_command(file, "n1", &argv).unwrap().output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let millis = said.split_once("time=")?.1.split_once(" ms")?.0;
    Some(Duration::from_secs_f64(millis.parse::<f64>().unwrap() / 1000.0))
}

/// Whether a packet from host `from` reaches `address` and comes back.
async fn pings(file: &StateFile, from: &str, address: &str) -> bool {
    let argv = ["busybox", "ping", "-c", "1", "-W", "1", address].map(String::from);
    let mut command = tricorn_testbed::exec_command(file, from, &argv).unwrap();
    command.stdout(std::process::Stdio::null()).status().await.unwrap().success()
}
