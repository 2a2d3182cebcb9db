//! `tricorn bench kv --compare`: the same loads against our servers and against the machine's etcd, in turns, so that
//! whatever else the machine does meets both alike.

use std::path::PathBuf;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::connect::Target;
use crate::etcd::EtcdCluster;
use crate::kv::Load;
use crate::measure::Measurement;
use crate::report;

/// Arguments of the comparison.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArgs {
    #[command(flatten)]
    /// Our servers.
    pub target: Target,
    #[command(flatten)]
    /// The loads.
    pub load: Load,
    /// The etcd to compare with
    #[arg(long, default_value = "/usr/bin/etcd")]
    pub etcd: PathBuf,
    /// Members of that etcd
    #[arg(long, default_value_t = 3)]
    pub etcd_members: usize,
    /// Where that etcd keeps its data: best on the disk that our servers use
    #[arg(long)]
    pub etcd_dir: PathBuf,
    /// Turns; of each number the median counts
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
}

/// One load on both sides: medians over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// Our servers.
    pub ours: Measurement,
    /// etcd.
    pub etcd: Measurement,
}

/// The whole comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// One entry a load.
    pub pairs: Vec<Pair>,
    /// Turns that the medians are of.
    pub rounds: usize,
}

impl Comparison {
    /// As a table for people, ours beside etcd's with the ratios.
    pub fn to_text(&self) -> String {
        report::comparison(self)
    }
}

/// Starts etcd, runs the loads in turns, ends etcd. Both clusters run all the time, and idle while the other is measured.
pub async fn run(args: &CompareArgs, progress: &ProgressBar) -> Result<Comparison> {
    std::fs::create_dir_all(&args.etcd_dir).with_context(|| format!("make {}", args.etcd_dir.display()))?;
    progress.set_message("starting etcd");
    let etcd = EtcdCluster::start(&args.etcd, &[], &args.etcd_dir, args.etcd_members.max(1)).await?;
    let compared = between(&args.load, &args.target, &etcd.target(), args.rounds, progress).await;
    progress.finish_and_clear();
    compared
}

/// Runs the loads against both, in turns.
pub async fn between(load: &Load, ours: &Target, etcd: &Target, rounds: usize, progress: &ProgressBar) -> Result<Comparison> {
    let rounds = rounds.max(1);
    let mut pairs = Vec::new();
    for workload in &load.workloads {
        let (mut our_runs, mut etcd_runs) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            progress.set_message(format!("{}, round {} of {rounds}", load.title(*workload), round + 1));
            // Whoever goes first differs from round to round.
            if round % 2 == 0 {
                our_runs.push(load.run(*workload, ours).await.context("our servers")?);
                etcd_runs.push(load.run(*workload, etcd).await.context("etcd")?);
            } else {
                etcd_runs.push(load.run(*workload, etcd).await.context("etcd")?);
                our_runs.push(load.run(*workload, ours).await.context("our servers")?);
            }
        }
        pairs.push(Pair { ours: median(&our_runs), etcd: median(&etcd_runs) });
    }
    Ok(Comparison { pairs, rounds })
}

/// The median of each number by itself.
fn median(runs: &[Measurement]) -> Measurement {
    let of = |pick: &dyn Fn(&Measurement) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let first = runs.first();
    // Bytes of memory fit into the 53 bits.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rss = of(&|run| run.rss_bytes.unwrap_or_default() as f64) as u64;
    Measurement {
        workload: first.map(|run| run.workload.clone()).unwrap_or_default(),
        operations: runs.iter().map(|run| run.operations).sum(),
        errors: runs.iter().map(|run| run.errors).sum(),
        first_error: runs.iter().find_map(|run| run.first_error.clone()),
        seconds: of(&|run| run.seconds),
        per_second: of(&|run| run.per_second),
        p50_ms: of(&|run| run.p50_ms),
        p99_ms: of(&|run| run.p99_ms),
        max_ms: of(&|run| run.max_ms),
        cpu_us_per_operation: first
            .and_then(|run| run.cpu_us_per_operation)
            .map(|_| of(&|run| run.cpu_us_per_operation.unwrap_or_default())),
        rss_bytes: first.and_then(|run| run.rss_bytes).map(|_| rss),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Run, Tally};
    use std::time::Duration;

    #[test]
    fn medians_are_taken_of_each_number() {
        let run = |millis: u64, cpu| {
            let mut tally = Tally::default();
            tally.success(Duration::from_millis(millis));
            Measurement { cpu_us_per_operation: Some(cpu), ..Run::begin(&[]).end("put", tally) }
        };
        let found = median(&[run(9, 1.0), run(1, 2.0), run(5, 30.0)]);
        assert_eq!((found.p50_ms, found.cpu_us_per_operation, found.operations), (5.0, Some(2.0), 3));
        assert_eq!(found.rss_bytes, None);
    }
}
