//! `tricorn bench api`: what a Kubernetes API server does in a second, and what each request costs: writes and reads of single
//! objects, lists in three ways, and events on their way to many watches.

mod load;
mod objects;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::Serialize;
use tokio::task::JoinSet;

pub use self::load::ApiLoad;
use self::objects::{Numbers, Objects};
use crate::measure::{Measurement, Run, Tally};
use crate::report;

/// Arguments of `tricorn bench api`.
#[derive(Clone, Debug, clap::Args)]
pub struct ApiArgs {
    /// Kubeconfig of the cluster
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: PathBuf,
    /// Namespace that the ConfigMaps are made in
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// Loads to run, one after the other, in the order in which they are named here
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = ApiLoad::ALL)]
    pub workloads: Vec<ApiLoad>,
    /// Clients that each wait for their answer before they ask again
    #[arg(long, default_value_t = 32)]
    pub clients: usize,
    /// ConfigMaps to make, and operations of each load on single ones; they are deleted in the end
    #[arg(long, default_value_t = 2_000)]
    pub total: u64,
    /// Bytes of data in each
    #[arg(long, default_value_t = 256)]
    pub value_size: usize,
    /// Operations of each load that lists
    #[arg(long, default_value_t = 40)]
    pub lists: u64,
    /// Watches that every write of the watch load is delivered to
    #[arg(long, default_value_t = 200)]
    pub watchers: usize,
    /// Writes of the watch load
    #[arg(long, default_value_t = 500)]
    pub watched_writes: u64,
    /// Process ids of the servers, to report their processor time and memory
    #[arg(long, value_delimiter = ',')]
    pub pids: Vec<u32>,
}

/// What the loads came to.
#[derive(Clone, Debug, Serialize)]
pub struct ApiReport {
    /// One entry a load.
    pub measurements: Vec<Measurement>,
}

impl ApiReport {
    /// As a table for people.
    pub fn to_text(&self) -> String {
        report::table(&self.measurements)
    }
}

/// A request that takes longer has failed.
const REQUEST: Duration = Duration::from_secs(30);
/// Lists at once: as when some controllers begin at the same time.
const LISTS_AT_ONCE: usize = 4;

/// Runs the chosen loads on `total` ConfigMaps, which are made first and deleted last, measured or not.
pub async fn run(args: &ApiArgs, progress: &ProgressBar) -> Result<ApiReport> {
    let clients = connect(args).await?;
    let mut measurements = Vec::new();
    for load in ApiLoad::ALL {
        let chosen = args.workloads.contains(&load);
        if !chosen && !matches!(load, ApiLoad::Create | ApiLoad::Delete) {
            continue;
        }
        progress.set_message(load.name());
        let measured = measure(load, &clients, args).await?;
        if chosen {
            measurements.push(measured);
        } else if let Some(error) = measured.first_error {
            bail!("{}: {error}", load.name());
        }
    }
    progress.finish_and_clear();
    Ok(ApiReport { measurements })
}

/// The same objects, as some clients see them.
async fn connect(args: &ApiArgs) -> Result<Vec<Objects>> {
    let kubeconfig = Kubeconfig::read_from(&args.kubeconfig).with_context(|| format!("read {}", args.kubeconfig.display()))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.context("kubeconfig")?;
    // What the servers refuse is to be counted, not tried again.
    config.default_retry = false;
    let run = format!("bench-{:08x}", rand::random::<u32>());
    // One connection a few clients, as separate programs would have.
    let connections = args.clients.div_ceil(4).max(1);
    let client = || Client::try_from(config.clone()).context("make a client");
    (0..connections).map(|_| Ok(Objects::new(client()?, &run, args))).collect()
}

async fn measure(load: ApiLoad, clients: &[Objects], args: &ApiArgs) -> Result<Measurement> {
    if load == ApiLoad::Watch {
        return watch::run(clients, args).await;
    }
    // An update needs what it replaces. Looking at it is not part of the load.
    let known = match clients.first() {
        Some(client) if load == ApiLoad::Update => client.look().await?,
        _ => Arc::default(),
    };
    let (operations, at_once) = if load.lists() { (args.lists, LISTS_AT_ONCE.min(args.clients)) } else { (args.total, args.clients) };
    let numbers = Arc::new(Numbers::up_to(operations));
    let run = Run::begin(&args.pids);
    let mut busy = JoinSet::new();
    for objects in clients.iter().cycle().take(at_once.max(1)) {
        busy.spawn(work(load, objects.knowing(known.clone()), numbers.clone()));
    }
    let mut tally = Tally::default();
    while let Some(done) = busy.join_next().await {
        tally.merge(done.context("a client of the load ended early")?);
    }
    Ok(run.end(load.name(), tally))
}

/// One client's part of a load.
async fn work(load: ApiLoad, objects: Objects, numbers: Arc<Numbers>) -> Tally {
    let mut tally = Tally::default();
    while let Some(number) = numbers.next() {
        let begun = Instant::now();
        match tokio::time::timeout(REQUEST, objects.operation(load, number)).await {
            Ok(Ok(())) => tally.success(begun.elapsed()),
            Ok(Err(error)) => tally.failure(format!("{error:#}")),
            Err(_) => tally.failure("no answer within 30 s"),
        }
    }
    tally
}
