//! The loads against the machine's etcd: they must find a working server working.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use tricorn_bench::compare::{CompareArgs, run};
use tricorn_bench::kv::Load;
use tricorn_bench::{EtcdCluster, Workload, failover};

/// The machine's etcd. None, with the reason printed, where there is none.
fn etcd() -> Option<&'static Path> {
    let program = Path::new("/usr/bin/etcd");
    if program.exists() {
        return Some(program);
    }
    println!("skipped: there is no etcd on this machine (package etcd-server)");
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_load_runs_and_counts_what_it_did() {
    let Some(program) = etcd() else { return };
    let dir = tempfile::tempdir().unwrap();
    let ours = EtcdCluster::start(program, &[], &dir.path().join("ours"), 1).await.unwrap();
    let load = Load {
        workloads: Workload::ALL.to_vec(),
        clients: 4,
        connections: 2,
        value_size: 64,
        keys: 20,
        watchers: 3,
        duration: 1,
        total: Some(50),
        rate: None,
    };
    let args =
        CompareArgs { target: ours.target(), load, etcd: program.into(), etcd_members: 1, etcd_dir: dir.path().join("theirs"), rounds: 1 };
    let found = tokio::time::timeout(Duration::from_secs(60), run(&args, &ProgressBar::hidden())).await.unwrap().unwrap();
    assert_eq!(found.pairs.len(), Workload::ALL.len());
    for pair in &found.pairs {
        for side in [&pair.ours, &pair.etcd] {
            let wanted = if side.workload.starts_with("watch") { 150 } else { 50 };
            assert_eq!((side.operations, side.errors), (wanted, 0), "{side:?}");
            assert!(side.p50_ms > 0.0 && side.p50_ms <= side.p99_ms && side.rss_bytes.unwrap() > 1 << 20, "{side:?}");
        }
    }
    assert!(found.to_text().contains("range-serializable"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept_and_a_killed_leader_is_replaced() {
    let Some(program) = etcd() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = EtcdCluster::start(program, &[], dir.path(), 3).await.unwrap();
    let load = Load {
        workloads: vec![Workload::Put],
        clients: 4,
        connections: 2,
        value_size: 64,
        keys: 20,
        watchers: 0,
        duration: 2,
        total: None,
        rate: Some(50),
    };
    let found = load.run(Workload::Put, &cluster.target()).await.unwrap();
    assert!((80..=104).contains(&found.operations), "{found:?}");
    let times = tokio::time::timeout(Duration::from_secs(60), failover::first_writes(&mut cluster, 1)).await.unwrap().unwrap();
    assert!(times.len() == 1 && times[0] > 0.0, "{times:?}");
}
