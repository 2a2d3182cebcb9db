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
use tricorn_proto::etcdserverpb::request_op::Request as Op;
use tricorn_proto::etcdserverpb::response_op::Response as Answer;
use tricorn_proto::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};

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
    /// Deliver every write to many watches
    Watch,
}

impl Workload {
    /// All of them, in the order in which they make sense.
    pub const ALL: [Self; 5] = [Self::Put, Self::Range, Self::RangeSerializable, Self::Txn, Self::Watch];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Range => "range",
            Self::RangeSerializable => "range-serializable",
            Self::Txn => "txn",
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
}

/// A request that takes longer has failed.
const REQUEST: Duration = Duration::from_secs(10);

pub(crate) fn key(prefix: &str, number: u64) -> Bytes {
    Bytes::from(format!("{prefix}/{number:010}"))
}

/// Random letters: a value that does not compress better than text.
pub(crate) fn value(bytes: usize) -> Bytes {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(bytes).collect::<Vec<u8>>().into()
}

/// Runs one load with many clients and sums up what they have done.
pub(crate) async fn run(workload: Workload, channels: &[Channel], pids: &[u32], shape: Shape) -> Result<Measurement> {
    if matches!(workload, Workload::Range | Workload::RangeSerializable) {
        fill(channels, shape).await?;
    }
    let budget = Arc::new(Budget::new(shape.until));
    let run = Run::begin(pids);
    let mut clients = JoinSet::new();
    for (number, channel) in channels.iter().cycle().take(shape.clients).enumerate() {
        let kv = KvClient::new(channel.clone()).max_decoding_message_size(usize::MAX);
        clients.spawn(client(workload, kv, number as u64, budget.clone(), shape));
    }
    let mut tally = Tally::default();
    while let Some(done) = clients.join_next().await {
        tally.merge(done.context("a client of the load ended early")?);
    }
    Ok(run.end(workload.name(), tally))
}

/// Writes every key once, so that reads find something.
async fn fill(channels: &[Channel], shape: Shape) -> Result<()> {
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

async fn client(workload: Workload, kv: KvClient<Channel>, number: u64, budget: Arc<Budget>, shape: Shape) -> Tally {
    let mut tally = Tally::default();
    let mut own = Own { kv, key: key("bench-own", number), revision: None };
    let value = value(shape.value_bytes);
    while budget.take() {
        let random = key("bench", rand::rng().random_range(0..shape.keys.max(1)));
        let begun = Instant::now();
        let done = tokio::time::timeout(REQUEST, own.operation(workload, random, value.clone())).await;
        match done {
            Ok(Ok(())) => tally.success(begun.elapsed()),
            Ok(Err(status)) => tally.failure(status),
            Err(_) => tally.failure("no answer within 10 s"),
        }
    }
    tally
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
                let serializable = workload == Workload::RangeSerializable;
                let answer = self.kv.range(RangeRequest { key, serializable, ..RangeRequest::default() }).await?.into_inner();
                if answer.kvs.len() != 1 && !serializable {
                    return Err(Status::not_found("a key that was written before is not there"));
                }
            }
            Workload::Txn | Workload::Watch => self.update(value).await?,
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
