//! Whether a store stays calm while it keeps house: the 99th percentile of an even load, second by second, during compaction, snapshots,
//! defragmentation, and while a member that was away catches up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tricorn_proto::etcdserverpb::kv_client::KvClient;
use tricorn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use tricorn_proto::etcdserverpb::{CompactionRequest, DefragmentRequest, PutRequest, RangeRequest, SnapshotRequest};

use crate::etcd::EtcdCluster;
use crate::measure::at_share;
use crate::workload::{Pace, Shape, Until, fill, key, value};

/// One window.
const WINDOW: Duration = Duration::from_secs(1);
/// Writes for so long before anything is disturbed, and at least for so long in each phase.
const QUIET: Duration = Duration::from_secs(8);
const PHASE: Duration = Duration::from_secs(5);
/// The first seconds of a load are no measure of anything.
const WARM_UP: Duration = Duration::from_secs(2);
/// An operation that takes longer has failed, and counts as so long.
const REQUEST: Duration = Duration::from_secs(10);
const CLIENTS: usize = 32;

/// What is written meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct EvenLoad {
    /// Writes a second.
    pub rate: u64,
    /// Different keys; all of them are there before it begins.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
}

/// One phase.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// What went on.
    pub name: String,
    /// The worst window's 99th percentile, in milliseconds.
    pub worst_p99_ms: f64,
    /// That, divided by the median window's of the quiet phase.
    pub times_the_usual: f64,
    /// How long the disturbance took, in seconds.
    pub seconds: f64,
    /// Writes that failed.
    pub errors: usize,
}

/// All phases.
#[derive(Clone, Debug, Serialize)]
pub struct Calm {
    /// The median of all windows' 99th percentiles while nothing was disturbed, in milliseconds.
    pub usual_p99_ms: f64,
    /// The phases, the quiet one first.
    pub phases: Vec<Phase>,
}

/// A write that has ended: when, and after how long; none for one that failed.
type Write = (Instant, Option<Duration>);

/// Writes evenly, and keeps house meanwhile. The cluster must be whole, and is again at the end.
pub async fn run(cluster: &mut EtcdCluster, load: EvenLoad) -> Result<Calm> {
    cluster.ready().await?;
    let leader = cluster.leader().await?;
    let follower = (leader + 1) % cluster.size();
    let members = cluster.target().connect(cluster.size()).await?;
    let shape =
        Shape { clients: CLIENTS, keys: load.keys, value_bytes: load.value_bytes, until: Until::Elapsed(REQUEST), rate: Some(load.rate) };
    fill(&cluster.target().connect(CLIENTS).await?, shape).await?;
    // Nobody writes through the member that will be away.
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for (number, channel) in cluster.without(follower).connect(CLIENTS).await?.into_iter().enumerate() {
        writers.spawn(write(KvClient::new(channel), number, shape, stop.clone()));
    }
    let phases = disturb(cluster, &members, follower).await;
    stop.store(true, Ordering::Relaxed);
    let mut writes = Vec::new();
    while let Some(done) = writers.join_next().await {
        writes.extend(done.context("a writer ended early")?);
    }
    Ok(judge(&phases?, &writes))
}

/// A phase that is over: its name, its beginning, the end of its disturbance, its own end.
type Span = (&'static str, Instant, Instant, Instant);

async fn disturb(cluster: &mut EtcdCluster, members: &[Channel], follower: usize) -> Result<Vec<Span>> {
    tokio::time::sleep(WARM_UP).await;
    let mut spans = Vec::new();
    let begun = Instant::now();
    tokio::time::sleep(QUIET).await;
    spans.push(("quiet", begun, begun, Instant::now()));
    for name in ["compaction", "snapshot", "defragment", "follower away", "follower catches up"] {
        let begun = Instant::now();
        match name {
            "compaction" => compact(members).await?,
            "snapshot" => snapshot(members).await?,
            "defragment" => defragment(members).await?,
            "follower away" => cluster.kill(follower)?,
            _ => {
                cluster.restart(follower)?;
                cluster.ready().await?;
            }
        }
        let done = Instant::now();
        tokio::time::sleep_until((begun + PHASE).max(done + WINDOW).into()).await;
        spans.push((name, begun, done, Instant::now()));
    }
    Ok(spans)
}

async fn compact(members: &[Channel]) -> Result<()> {
    let mut kv = KvClient::new(members.first().context("no members")?.clone());
    let newest = kv.range(RangeRequest { key: "bench".into(), ..RangeRequest::default() }).await?.into_inner().header;
    let revision = newest.map_or(0, |header| header.revision);
    kv.compact(CompactionRequest { revision, physical: true }).await.context("compact")?;
    Ok(())
}

async fn snapshot(members: &[Channel]) -> Result<()> {
    for member in members {
        let client = MaintenanceClient::new(member.clone()).max_decoding_message_size(usize::MAX);
        let mut chunks = { client }.snapshot(SnapshotRequest {}).await.context("take a snapshot")?.into_inner();
        while chunks.message().await.context("read a snapshot")?.is_some() {}
    }
    Ok(())
}

async fn defragment(members: &[Channel]) -> Result<()> {
    for member in members {
        MaintenanceClient::new(member.clone()).defragment(DefragmentRequest {}).await.context("defragment")?;
    }
    Ok(())
}

async fn write(mut kv: KvClient<Channel>, number: usize, shape: Shape, stop: Arc<AtomicBool>) -> Vec<Write> {
    let (mut pace, value, mut writes) = (Pace::new(shape.rate, number, shape.clients), value(shape.value_bytes), Vec::new());
    let mut at = number as u64;
    while !stop.load(Ordering::Relaxed) {
        let due = pace.due().await;
        at = (at + shape.clients as u64) % shape.keys.max(1);
        let request = PutRequest { key: key("bench", at), value: value.clone(), ..PutRequest::default() };
        let done = matches!(tokio::time::timeout(REQUEST, kv.put(request)).await, Ok(Ok(_)));
        writes.push((Instant::now(), done.then(|| due.elapsed())));
    }
    writes
}

fn judge(spans: &[Span], writes: &[Write]) -> Calm {
    let mut usual = None;
    let phases = spans.iter().map(|(name, begun, done, end)| {
        let windows = windows(*begun, *end, writes);
        // The first phase is the quiet one.
        let usual = *usual.get_or_insert_with(|| windows.get(windows.len() / 2).copied().unwrap_or_default());
        let worst = windows.last().copied().unwrap_or_default();
        Phase {
            name: (*name).to_owned(),
            worst_p99_ms: worst,
            times_the_usual: if usual > 0.0 { worst / usual } else { 0.0 },
            seconds: done.duration_since(*begun).as_secs_f64(),
            errors: writes.iter().filter(|(at, took)| took.is_none() && (*begun..*end).contains(at)).count(),
        }
    });
    let phases: Vec<Phase> = phases.collect();
    Calm { usual_p99_ms: usual.unwrap_or_default(), phases }
}

/// The 99th percentile of each whole window of a span, in milliseconds, sorted.
fn windows(begun: Instant, end: Instant, writes: &[Write]) -> Vec<f64> {
    let count = end.duration_since(begun).as_secs() / WINDOW.as_secs();
    let mut all: Vec<Vec<Duration>> = vec![Vec::new(); usize::try_from(count).unwrap_or(0)];
    for (at, took) in writes {
        let Some(since) = at.checked_duration_since(begun) else { continue };
        let window = usize::try_from(since.as_secs() / WINDOW.as_secs()).unwrap_or(usize::MAX);
        if let Some(window) = all.get_mut(window) {
            window.push(took.unwrap_or(REQUEST));
        }
    }
    let mut found: Vec<f64> = all.into_iter().map(p99).collect();
    found.sort_by(f64::total_cmp);
    found
}

/// In milliseconds. A window in which nothing ended was the worst of all.
fn p99(mut window: Vec<Duration>) -> f64 {
    window.sort_unstable();
    at_share(&window, 0.99).unwrap_or(REQUEST).as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_window_is_found_beside_the_usual_one() {
        let begun = Instant::now();
        let at = |millis: u64| begun + Duration::from_millis(millis);
        let quiet: Vec<Write> = (0..300).map(|n| (at(n * 10), Some(Duration::from_millis(2)))).collect();
        let busy = (300..600).map(|n| (at(n * 10), Some(Duration::from_millis(if (400..420).contains(&n) { 50 } else { 2 }))));
        let writes: Vec<Write> = quiet.into_iter().chain(busy).chain([(at(4_500), None)]).collect();
        let spans = [("quiet", at(0), at(0), at(3_000)), ("busy", at(3_000), at(4_000), at(6_000))];
        let calm = judge(&spans, &writes);
        assert!((calm.usual_p99_ms - 2.0).abs() < 1e-9);
        let busy = &calm.phases[1];
        assert_eq!((busy.times_the_usual.round(), busy.errors, busy.seconds.round()), (25.0, 1, 1.0));
    }

    #[test]
    fn a_window_without_an_end_is_the_worst() {
        let begun = Instant::now();
        assert_eq!(windows(begun, begun + Duration::from_secs(2), &[]), [10_000.0, 10_000.0]);
    }
}
