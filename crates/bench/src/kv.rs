//! `tricorn bench kv`: loads on any servers that speak etcd v3.

use std::time::Duration;

use anyhow::Result;
use indicatif::ProgressBar;
use serde::Serialize;

use crate::connect::Target;
use crate::measure::Measurement;
use crate::workload::{self, Shape, Until, Workload};
use crate::{report, watch};

/// How large the loads are.
#[derive(Clone, Debug, clap::Args)]
pub struct Load {
    /// Loads to run, one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Workload::ALL)]
    pub workloads: Vec<Workload>,
    /// Clients that each wait for their answer before they ask again
    #[arg(long, default_value_t = 64)]
    pub clients: usize,
    /// Connections that the clients share
    #[arg(long, default_value_t = 16)]
    pub connections: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 256)]
    pub value_size: usize,
    /// Different keys
    #[arg(long, default_value_t = 10_000)]
    pub keys: u64,
    /// Watches that every write is delivered to
    #[arg(long, default_value_t = 100)]
    pub watchers: usize,
    /// Seconds that each load runs
    #[arg(long, default_value_t = 5)]
    pub duration: u64,
    /// Operations (for watch: writes) of each load, instead of a duration
    #[arg(long)]
    pub total: Option<u64>,
    /// Operations a second of all clients together, instead of as many as the servers take. Times then count from when an operation was
    /// due, so that those are seen which had to wait for others
    #[arg(long)]
    pub rate: Option<u64>,
}

impl Load {
    /// The name of a load in reports: with its size where that is not the usual one.
    pub fn title(&self, workload: Workload) -> String {
        let mut title = workload.name().to_owned();
        if workload != Workload::Watch && self.clients != 64 {
            title += &format!(" c{}", self.clients);
        }
        if self.value_size != 256 {
            title += &format!(" {}B", self.value_size);
        }
        if let Some(rate) = self.rate {
            title += &format!(" {rate}/s");
        }
        title
    }

    fn shape(&self) -> Shape {
        let until = self.total.map_or(Until::Elapsed(Duration::from_secs(self.duration)), Until::Total);
        Shape { clients: self.clients.max(1), keys: self.keys.max(1), value_bytes: self.value_size, until, rate: self.rate }
    }

    /// Runs one of the loads against `target`.
    pub async fn run(&self, workload: Workload, target: &Target) -> Result<Measurement> {
        let channels = target.connect(self.connections).await?;
        let measured = match workload {
            Workload::Watch => watch::run(&channels, &target.pids, self.watchers, self.shape()).await,
            other => workload::run(other, &channels, &target.pids, self.shape()).await,
        };
        Ok(Measurement { workload: self.title(workload), ..measured? })
    }
}

/// Arguments of `tricorn bench kv`.
#[derive(Clone, Debug, clap::Args)]
pub struct KvArgs {
    #[command(flatten)]
    /// The servers.
    pub target: Target,
    #[command(flatten)]
    /// The loads.
    pub load: Load,
}

/// What all loads came to.
#[derive(Clone, Debug, Serialize)]
pub struct KvReport {
    /// One entry a load.
    pub measurements: Vec<Measurement>,
}

impl KvReport {
    /// As a table for people.
    pub fn to_text(&self) -> String {
        report::table(&self.measurements)
    }
}

/// Runs the loads one after the other. It writes keys under `bench`, and leaves them there.
pub async fn run(args: &KvArgs, progress: &ProgressBar) -> Result<KvReport> {
    let mut measurements = Vec::new();
    for workload in &args.load.workloads {
        progress.set_message(workload.name());
        measurements.push(args.load.run(*workload, &args.target).await?);
    }
    progress.finish_and_clear();
    Ok(KvReport { measurements })
}
