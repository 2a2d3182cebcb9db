//! The store beside etcd: the same loads in turns, the leader's death, and how calm both stay while they keep house.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde::Serialize;
use tricorn_bench::calm::{self, Calm, EvenLoad};
use tricorn_bench::compare::{self, Comparison};
use tricorn_bench::kv::Load;
use tricorn_bench::{EtcdCluster, Workload, at_share, failover};

use super::report::Args;

/// Members of each store.
const MEMBERS: usize = 3;
/// What both can do with half of the machine: at this many operations a second their times can be compared.
const SAME_RATE: u64 = 500;
/// While a store keeps house: so much is there, and so much is written.
const EVEN: EvenLoad = EvenLoad { rate: 300, keys: 50_000, value_bytes: 512 };

/// The figures of both.
#[derive(Serialize)]
pub struct Stores {
    /// As much as they take: every load, then other numbers of clients and sizes of values; then at the same rate.
    loads: Vec<Comparison>,
    /// Milliseconds from the leader's SIGKILL to the first write, ours and etcd's.
    first_write_ms: [Vec<f64>; 2],
    /// While they keep house, ours and etcd's.
    calm: [Calm; 2],
}

/// Measures both.
pub async fn run(args: &Args, dir: &Path, progress: &ProgressBar) -> Result<Stores> {
    progress.set_message("starting the members of both stores");
    let binary = std::env::current_exe().context("find this program's own file")?;
    let mut ours = EtcdCluster::start(&binary, &["etcd"], &made(dir, "ours")?, MEMBERS).await?;
    let mut etcd = EtcdCluster::start(&args.etcd, &[], &made(dir, "etcd")?, MEMBERS).await?;
    let mut compared = Vec::new();
    for load in loads(args.duration) {
        compared.push(compare::between(&load, &ours.target(), &etcd.target(), args.rounds, progress).await?);
    }
    let mut calms = Vec::new();
    let mut first_writes = Vec::new();
    for (name, cluster) in [("ours", &mut ours), ("etcd", &mut etcd)] {
        progress.set_message(format!("{name}: keeping house under an even load"));
        calms.push(calm::run(cluster, EVEN).await.with_context(|| name)?);
        progress.set_message(format!("{name}: killing the leader {} times", args.store_kills));
        first_writes.push(failover::first_writes(cluster, args.store_kills).await.with_context(|| name)?);
    }
    let both = "both stores were measured";
    Ok(Stores { loads: compared, first_write_ms: first_writes.try_into().ok().context(both)?, calm: calms.try_into().ok().context(both)? })
}

fn made(dir: &Path, name: &str) -> Result<std::path::PathBuf> {
    let path = dir.join(name);
    std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    Ok(path)
}

fn loads(duration: u64) -> Vec<Load> {
    let usual = Load {
        workloads: Workload::ALL.to_vec(),
        clients: 64,
        connections: 16,
        value_size: 256,
        keys: 10_000,
        watchers: 100,
        duration,
        total: None,
        rate: None,
    };
    let some = Load { workloads: vec![Workload::Put, Workload::Range], duration: duration.div_ceil(2), ..usual.clone() };
    let timed = vec![Workload::Put, Workload::Range, Workload::Watch];
    // Large values come last: what they leave to be cleared up would be measured with whatever comes next.
    let mut loads = vec![usual, Load { workloads: timed, rate: Some(SAME_RATE), duration, ..some.clone() }];
    loads.extend([1, 1000].map(|clients| Load { clients, ..some.clone() }));
    loads.extend([1 << 10, 10 << 10].map(|value_size| Load { value_size, ..some.clone() }));
    loads
}

impl Stores {
    /// As tables for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (number, loads) in self.loads.iter().enumerate() {
            let table = loads.to_text();
            // One head and one foot are enough for all.
            let lines: Vec<&str> = table.lines().collect();
            let first = usize::from(number > 0);
            let last = lines.len() - usize::from(number + 1 < self.loads.len());
            for line in lines.get(first..last).unwrap_or_default() {
                let _ = writeln!(text, "{line}");
            }
        }
        let _ = writeln!(text, "\nfirst write after the leader's SIGKILL, ms       median        p99      worst");
        for (side, times) in ["ours", "etcd"].iter().zip(&self.first_write_ms) {
            let [median, p99, worst] = [0.5, 0.99, 1.0].map(|share| share_of(times, share));
            let _ = writeln!(text, "{:<42} {side:>5} {median:>10.0} {p99:>10.0} {worst:>10.0}   of {}", "", times.len());
        }
        let _ = writeln!(text, "\n{} puts a second of {} bytes, {} keys; p99 of each second, ms", EVEN.rate, EVEN.value_bytes, EVEN.keys);
        let _ = writeln!(text, "phase                 side    worst p99   times the usual   took s   errors");
        for (side, calm) in ["ours", "etcd"].iter().zip(&self.calm) {
            for phase in &calm.phases {
                let _ = writeln!(
                    text,
                    "{:<20} {side:>5} {:>12.1} {:>16.1}x {:>8.1} {:>8}",
                    phase.name, phase.worst_p99_ms, phase.times_the_usual, phase.seconds, phase.errors
                );
            }
        }
        text
    }
}

/// The value that this share of all does not exceed.
pub fn share_of(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    at_share(&sorted, share).unwrap_or_default()
}
