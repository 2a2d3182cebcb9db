//! `tricorn bench report`: every figure of the README, measured in one run on this machine.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use serde::Serialize;
use tricorn_bench::{Measurement, api};
use tricorn_testbed::{Cluster, ClusterConfig, Role, Silent, is_root, kill, start, status};

use super::stores::{self, Stores, share_of};

/// How long a cluster is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(20);
/// No single step takes longer.
const DEADLINE: Duration = Duration::from_secs(60);
/// One try of a write while the leader is gone.
const TRY: Duration = Duration::from_millis(500);

/// What is measured, and how long.
#[derive(clap::Args)]
pub struct Args {
    /// The etcd to compare with
    #[arg(long, default_value = "/usr/bin/etcd")]
    pub etcd: PathBuf,
    /// Seconds that each load of the comparison runs
    #[arg(long, default_value_t = 5)]
    pub duration: u64,
    /// Turns of the comparison; of each number the median counts
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// How often the leader of the cluster is killed
    #[arg(long, default_value_t = 5)]
    kills: usize,
    /// How often the leader of the store alone, and etcd's, is killed
    #[arg(long, default_value_t = 20)]
    pub store_kills: usize,
    /// ConfigMaps made through the API
    #[arg(long, default_value_t = 2_000)]
    objects: u64,
}

/// All figures.
#[derive(Serialize)]
pub struct Report {
    /// From the start of the first server to the third one's /readyz, in seconds.
    fresh_seconds: f64,
    /// From the start of all three on data that is there to the last one's /readyz, in seconds.
    restarted_seconds: f64,
    /// Resident bytes of each server, idle.
    server_rss_bytes: Vec<u64>,
    /// Resident bytes of each worker's agent, idle; its containerd is not in it.
    worker_rss_bytes: Vec<u64>,
    /// From the kill of the leader to the first write through the API, in milliseconds, each time.
    failover_ms: Vec<f64>,
    /// Loads on the Kubernetes API.
    api: Vec<Measurement>,
    /// The store beside etcd.
    stores: Stores,
}

impl Report {
    /// As tables for people.
    pub fn to_text(&self) -> String {
        let mebibytes = |all: &[u64]| all.iter().map(|bytes| (bytes >> 20).to_string()).collect::<Vec<_>>().join(", ");
        let (median, worst) = (share_of(&self.failover_ms, 0.5), share_of(&self.failover_ms, 1.0));
        let mut text = String::new();
        let _ = writeln!(text, "three servers, fresh, to /readyz       {:.2} s", self.fresh_seconds);
        let _ = writeln!(text, "three servers, restarted, to /readyz   {:.2} s", self.restarted_seconds);
        let _ = writeln!(text, "resident, each server, idle            {} MiB", mebibytes(&self.server_rss_bytes));
        let _ = writeln!(text, "resident, each worker, idle            {} MiB", mebibytes(&self.worker_rss_bytes));
        let _ = writeln!(
            text,
            "first write after a leader's kill      median {median:.0} ms, worst {worst:.0} ms of {}",
            self.failover_ms.len()
        );
        let _ = write!(text, "\nKubernetes API\n{}", api::ApiReport { measurements: self.api.clone() }.to_text());
        let _ = write!(text, "\netcd v3 API, three members each, on loopback without TLS, with fsync\n{}", self.stores.to_text());
        text
    }
}

/// Measures everything.
pub async fn run(args: &Args, progress: &ProgressBar) -> Result<Report> {
    if !is_root() {
        bail!("the report needs root, because its hosts are network namespaces: run it with sudo");
    }
    if !args.etcd.is_file() {
        bail!("{} is not there: `apt-get install etcd-server`, or name another with --etcd", args.etcd.display());
    }
    let dir = tempfile::Builder::new().prefix("tricorn-bench-").tempdir().context("make a directory for the report")?;
    let stores = stores::run(args, dir.path(), progress).await?;
    progress.set_message("three servers, fresh");
    let binary = std::env::current_exe().context("find this program's own file")?;
    let mut config = ClusterConfig::new(dir.path().join("c"), binary);
    config.api_port = 0;
    config.workers = 0;
    let begun = Instant::now();
    let servers = Cluster::start(config.clone(), &Silent).await?;
    let fresh_seconds = begun.elapsed().as_secs_f64();
    servers.down().await?;
    config.workers = 2;
    progress.set_message("three servers, restarted, and two workers");
    let cluster = Cluster::start(config, &Silent).await?;
    let measured = measure(args, &cluster, progress).await;
    cluster.down().await?;
    let (restarted_seconds, server_rss_bytes, worker_rss_bytes, api, failover_ms) = measured?;
    Ok(Report { fresh_seconds, restarted_seconds, server_rss_bytes, worker_rss_bytes, failover_ms, api, stores })
}

type Measured = (f64, Vec<u64>, Vec<u64>, Vec<Measurement>, Vec<f64>);

async fn measure(args: &Args, cluster: &Cluster, progress: &ProgressBar) -> Result<Measured> {
    progress.set_message("idle");
    tokio::time::sleep(IDLE).await;
    let seen = status(cluster.file()).await?;
    let resident = |role: Role| seen.hosts.iter().filter(|host| host.role == role).filter_map(|host| host.rss_bytes).collect::<Vec<_>>();
    let (server_rss, worker_rss) = (resident(Role::Server), resident(Role::Worker));
    let pids = seen.hosts.iter().filter(|host| host.role == Role::Server).filter_map(|host| u32::try_from(host.pid?).ok()).collect();
    let load = api::ApiArgs {
        kubeconfig: cluster.kubeconfig(),
        namespace: "default".into(),
        workloads: api::ApiLoad::ALL.to_vec(),
        clients: 32,
        total: args.objects,
        value_size: 256,
        lists: 40,
        watchers: 200,
        watched_writes: 200,
        pids,
    };
    let measurements = api::run(&load, progress).await?.measurements;
    let mut failovers = Vec::new();
    for round in 0..args.kills {
        progress.set_message(format!("killing the leader, {} of {}", round + 1, args.kills));
        failovers.push(failover(cluster, round).await?);
    }
    progress.set_message("three servers, restarted");
    let names: Vec<String> = cluster.file().read()?.servers().map(|server| server.name.clone()).collect();
    for name in &names {
        kill(cluster.file(), name).await?;
    }
    let begun = Instant::now();
    for name in &names {
        start(cluster.file(), name).await?;
    }
    for name in &names {
        cluster.server_ready(name).await?;
    }
    Ok((begun.elapsed().as_secs_f64(), server_rss, worker_rss, measurements, failovers))
}

/// Kills the leader, and waits for a write; then brings it back.
async fn failover(cluster: &Cluster, round: usize) -> Result<f64> {
    let Some(leader) = status(cluster.file()).await?.leader else { bail!("the servers have no leader") };
    let text = std::fs::read_to_string(cluster.kubeconfig()).context("read the kubeconfig")?;
    let objects: Api<ConfigMap> = Api::namespaced(tricorn_client::from_kubeconfig(&text).await?, "default");
    objects.list(&ListParams::default().limit(1)).await.context("read before the kill")?;
    kill(cluster.file(), &leader).await?;
    let begun = Instant::now();
    for attempt in 0.. {
        let name = format!("failover-{round}-{attempt}");
        let object = ConfigMap { metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() }, ..ConfigMap::default() };
        if let Ok(Ok(_)) = tokio::time::timeout(TRY, objects.create(&PostParams::default(), &object)).await {
            break;
        }
        if begun.elapsed() > DEADLINE {
            bail!("no write went through within {DEADLINE:?} after {leader} was killed");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    start(cluster.file(), &leader).await?;
    cluster.server_ready(&leader).await?;
    objects.delete_collection(&DeleteParams::default(), &ListParams::default()).await.context("clear away what was written")?;
    Ok(took)
}
