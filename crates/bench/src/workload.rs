//! The loads on the key-value API that clients wait for one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use rand::Rng;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;
use tricorn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tricorn_proto::etcdserverpb::kv_client::KvClient;
use tricorn_proto::etcdserverpb::lease_client::LeaseClient;
use tricorn_proto::etcdserverpb::request_op::Request as Op;
use tricorn_proto::etcdserverpb::response_op::Response as Answer;
use tricorn_proto::etcdserverpb::{
    Compare, LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use crate::measure::{Measurement, Run, Tally};

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// Write random keys
    Put,
    /// Read random keys, linearizable
    Range,
    /// Read random keys from whatever the member has
    RangeSerializable,
    /// Write a key if it has not changed, as the Kubernetes API server does
    Txn,
    /// Three reads of random keys, one of them serializable, for each write
    Mixed,
    /// Read 10,000 keys at once, or as many as there are
    RangeLarge,
    /// Renew leases, each on a stream of its own
    LeaseKeepAlive,
    /// Deliver every write to many watches
    Watch,
}

impl Workload {
    /// All of them, in the order in which they make sense.
    pub const ALL: [Self; 8] =
        [Self::Put, Self::Range, Self::RangeSerializable, Self::Txn, Self::Mixed, Self::RangeLarge, Self::LeaseKeepAlive, Self::Watch];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Range => "range",
            Self::RangeSerializable => "range-serializable",
            Self::Txn => "txn",
            Self::Mixed => "mixed",
            Self::RangeLarge => "range-large",
            Self::LeaseKeepAlive => "lease-keep-alive",
            Self::Watch => "watch",
        }
    }
}

/// How long a run goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Total(u64),
    Elapsed(Duration),
}

/// Decides, for all clients together, whether one more operation is due.
pub(crate) struct Budget {
    left: AtomicU64,
    deadline: Option<Instant>,
}

impl Budget {
    pub fn new(until: Until) -> Self {
        match until {
            Until::Total(total) => Self { left: AtomicU64::new(total), deadline: None },
            Until::Elapsed(time) => Self { left: AtomicU64::new(u64::MAX), deadline: Some(Instant::now() + time) },
        }
    }

    pub fn take(&self) -> bool {
        match self.deadline {
            Some(deadline) => Instant::now() < deadline,
            None => self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok(),
        }
    }
}

/// What the clients of a load have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub clients: usize,
    pub keys: u64,
    pub value_bytes: usize,
    pub until: Until,
    /// Operations a second, of all clients together.
    pub rate: Option<u64>,
}

/// When a client's operations are due, where they come at a rate.
pub(crate) struct Pace {
    next: Instant,
    step: Option<Duration>,
}

impl Pace {
    /// Of client `number` of `clients`, which share the rate and begin one after the other.
    pub fn new(rate: Option<u64>, number: usize, clients: usize) -> Self {
        let step = rate.map(|rate| Duration::from_secs_f64(clients.max(1) as f64 / rate.max(1) as f64));
        let offset = step.map_or(Duration::ZERO, |step| step.mul_f64(number as f64 / clients.max(1) as f64));
        Self { next: Instant::now() + offset, step }
    }

    /// Waits until the next operation is due, and says since when it is. Without a rate, that is now.
    pub async fn due(&mut self) -> Instant {
        let Some(step) = self.step else { return Instant::now() };
        let due = self.next;
        self.next += step;
        tokio::time::sleep_until(due.into()).await;
        due
    }
}

/// A request that takes longer has failed.
const REQUEST: Duration = Duration::from_secs(10);
/// Keys of a large range.
const LARGE_KEYS: i64 = 10_000;
/// Large ranges at once.
const LARGE_AT_ONCE: usize = 8;
/// No lease ends while it is renewed.
const LEASE_SECONDS: i64 = 60;

pub(crate) fn key(prefix: &str, number: u64) -> Bytes {
    Bytes::from(format!("{prefix}/{number:010}"))
}

/// A random number, at least 0 and less than `end`.
fn below(end: u64) -> u64 {
    rand::rng().random_range(0..end)
}

/// Random letters: a value that does not compress better than text.
pub(crate) fn value(bytes: usize) -> Bytes {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(bytes).collect::<Vec<u8>>().into()
}

/// Runs one load with many clients and sums up what they have done.
pub(crate) async fn run(workload: Workload, channels: &[Channel], pids: &[u32], shape: Shape) -> Result<Measurement> {
    if matches!(workload, Workload::Range | Workload::RangeSerializable | Workload::Mixed | Workload::RangeLarge) {
        fill(channels, shape).await?;
    }
    let budget = Arc::new(Budget::new(shape.until));
    let run = Run::begin(pids);
    let mut clients = JoinSet::new();
    let count = if workload == Workload::RangeLarge { shape.clients.min(LARGE_AT_ONCE) } else { shape.clients };
    for (number, channel) in channels.iter().cycle().take(count).enumerate() {
        if workload == Workload::LeaseKeepAlive {
            clients.spawn(keep_alive(channel.clone(), budget.clone()));
            continue;
        }
        let kv = KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        clients.spawn(client(workload, kv, number, budget.clone(), shape));
    }
    let mut tally = Tally::default();
    while let Some(done) = clients.join_next().await {
        tally.merge(done.context("a client of the load ended early")?);
    }
    Ok(run.end(workload.name(), tally))
}

/// Writes every key once, so that reads find something.
pub(crate) async fn fill(channels: &[Channel], shape: Shape) -> Result<()> {
    let numbers = Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for channel in channels {
        let (mut kv, numbers) = (KvClient::new(channel.clone()), numbers.clone());
        writers.spawn(async move {
            loop {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                if number >= shape.keys {
                    return Ok::<_, Status>(());
                }
                kv.put(PutRequest { key: key("bench", number), value: value(shape.value_bytes), ..PutRequest::default() }).await?;
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.context("a writer ended early")?.context("write the keys that are to be read")?;
    }
    Ok(())
}

async fn client(workload: Workload, kv: KvClient<Channel>, number: usize, budget: Arc<Budget>, shape: Shape) -> Tally {
    let mut tally = Tally::default();
    let mut own = Own { kv, key: key("bench-own", number as u64), revision: None };
    let value = value(shape.value_bytes);
    let mut pace = Pace::new(shape.rate, number, shape.clients);
    while budget.take() {
        let random = key("bench", below(shape.keys.max(1)));
        let begun = pace.due().await;
        let done = tokio::time::timeout(REQUEST, own.operation(workload, random, value.clone())).await;
        match done {
            Ok(Ok(())) => tally.success(begun.elapsed()),
            Ok(Err(status)) => tally.failure(status),
            Err(_) => tally.failure("no answer within 10 s"),
        }
    }
    tally
}

/// Renews a lease of its own, each time after the answer has come.
async fn keep_alive(channel: Channel, budget: Arc<Budget>) -> Tally {
    let mut tally = Tally::default();
    if let Err(status) = renew(channel, &budget, &mut tally).await {
        tally.failure(status);
    }
    tally
}

async fn renew(channel: Channel, budget: &Budget, tally: &mut Tally) -> Result<(), Status> {
    let mut leases = LeaseClient::new(channel);
    let id = leases.lease_grant(LeaseGrantRequest { ttl: LEASE_SECONDS, id: 0 }).await?.into_inner().id;
    let (ask, asks) = tokio::sync::mpsc::channel(1);
    let asks = futures::stream::unfold(asks, |mut asks| async move { Some((asks.recv().await?, asks)) });
    // etcd opens its half of the stream with its first answer, so there has to be a question by then.
    let _room = ask.send(LeaseKeepAliveRequest { id }).await;
    let mut answers = leases.lease_keep_alive(asks).await?.into_inner();
    answers.message().await?;
    while budget.take() {
        let begun = Instant::now();
        ask.send(LeaseKeepAliveRequest { id }).await.map_err(|_| Status::unavailable("the stream has ended"))?;
        let answer = tokio::time::timeout(REQUEST, answers.message()).await;
        match answer.map_err(|_| Status::deadline_exceeded("no answer within 10 s"))?? {
            Some(answer) if answer.ttl > 0 => tally.success(begun.elapsed()),
            _ => return Err(Status::not_found("the lease has ended")),
        }
    }
    leases.lease_revoke(LeaseRevokeRequest { id }).await.map(drop)
}

/// A client and the key that it alone writes.
struct Own {
    kv: KvClient<Channel>,
    key: Bytes,
    /// The key's last known mod revision.
    revision: Option<i64>,
}

impl Own {
    async fn operation(&mut self, workload: Workload, key: Bytes, value: Bytes) -> Result<(), Status> {
        match workload {
            Workload::Put => {
                self.kv.put(PutRequest { key, value, ..PutRequest::default() }).await?;
            }
            Workload::Range | Workload::RangeSerializable => {
                self.get(key, workload == Workload::RangeSerializable).await?;
            }
            Workload::Mixed => match below(4) {
                0 => drop(self.kv.put(PutRequest { key, value, ..PutRequest::default() }).await?),
                turn => self.get(key, turn == 1).await?,
            },
            Workload::RangeLarge => {
                let request =
                    RangeRequest { key: "bench/".into(), range_end: "bench0".into(), limit: LARGE_KEYS, ..RangeRequest::default() };
                if self.kv.range(request).await?.into_inner().kvs.is_empty() {
                    return Err(Status::not_found("keys that were written before are not there"));
                }
            }
            Workload::Txn | Workload::Watch | Workload::LeaseKeepAlive => self.update(value).await?,
        }
        Ok(())
    }

    async fn get(&mut self, key: Bytes, serializable: bool) -> Result<(), Status> {
        let answer = self.kv.range(RangeRequest { key, serializable, ..RangeRequest::default() }).await?.into_inner();
        if answer.kvs.len() != 1 && !serializable {
            return Err(Status::not_found("a key that was written before is not there"));
        }
        Ok(())
    }

    /// Writes the own key if nobody has changed it; learns its revision when that is not known.
    async fn update(&mut self, value: Bytes) -> Result<(), Status> {
        let unchanged = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: self.key.clone(),
            target_union: Some(TargetUnion::ModRevision(self.revision.unwrap_or(0))),
            ..Compare::default()
        };
        let put = PutRequest { key: self.key.clone(), value, ..PutRequest::default() };
        let get = RangeRequest { key: self.key.clone(), ..RangeRequest::default() };
        let txn = TxnRequest {
            compare: vec![unchanged],
            success: vec![RequestOp { request: Some(Op::RequestPut(put)) }],
            failure: vec![RequestOp { request: Some(Op::RequestRange(get)) }],
        };
        let answer = self.kv.txn(txn).await?.into_inner();
        self.revision = if answer.succeeded {
            answer.header.map(|header| header.revision)
        } else {
            match answer.responses.into_iter().next().and_then(|response| response.response) {
                Some(Answer::ResponseRange(found)) => found.kvs.first().map(|kv| kv.mod_revision),
                _ => None,
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_out_exactly_its_total() {
        let budget = Budget::new(Until::Total(3));
        assert_eq!((0..10).filter(|_| budget.take()).count(), 3);
        assert!(!Budget::new(Until::Elapsed(Duration::ZERO)).take());
    }
}
