//! The watch load: every write goes to many watches; the time is from the write's beginning to each arrival.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::StreamExt;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tricorn_proto::etcdserverpb::kv_client::KvClient;
use tricorn_proto::etcdserverpb::watch_client::WatchClient;
use tricorn_proto::etcdserverpb::watch_request::RequestUnion;
use tricorn_proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};

use crate::measure::{Measurement, Run, Tally};
use crate::workload::{Budget, Pace, Shape, key, value};

/// Clients that write at once: enough to keep the servers busy, few enough that the watches are the load.
const WRITERS: usize = 8;
/// Watches that have not had everything this long after the last write have failed.
const PATIENCE: Duration = Duration::from_secs(15);
const PREFIX: &str = "bench-watch";

/// Runs the load: one operation is one event that has arrived at one watch.
pub(crate) async fn run(channels: &[Channel], pids: &[u32], watchers: usize, shape: Shape) -> Result<Measurement> {
    let mut streams = Vec::with_capacity(watchers);
    for channel in channels.iter().cycle().take(watchers) {
        streams.push(open(channel.clone()).await?);
    }
    // Values carry the time of their writing, measured from here.
    let epoch = Instant::now();
    let run = Run::begin(pids);
    let budget = Arc::new(Budget::new(shape.until));
    let mut writers = JoinSet::new();
    for (number, channel) in channels.iter().cycle().take(WRITERS).enumerate() {
        writers.spawn(write(KvClient::new(channel.clone()), number, epoch, budget.clone(), shape));
    }
    let (told, wanted) = tokio::sync::watch::channel(None);
    let mut readers = JoinSet::new();
    for stream in streams {
        readers.spawn(read(stream, epoch, wanted.clone()));
    }
    let mut written = 0u64;
    while let Some(done) = writers.join_next().await {
        written += done.context("a writer ended early")?.context("write what is watched")?;
    }
    told.send_replace(Some(written));
    let mut tally = Tally::default();
    while let Some(done) = readers.join_next().await {
        tally.merge(done.context("a watch ended early")?);
    }
    Ok(run.end("watch", tally))
}

async fn open(channel: Channel) -> Result<Streaming<WatchResponse>> {
    let request =
        WatchCreateRequest { key: format!("{PREFIX}/").into(), range_end: format!("{PREFIX}0").into(), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) };
    let asks = futures::stream::iter([create]).chain(futures::stream::pending());
    let client = WatchClient::new(channel).max_decoding_message_size(usize::MAX).watch(asks).await;
    let mut stream = client.context("open a watch")?.into_inner();
    let first = stream.message().await.context("open a watch")?.context("the watch stream ended")?;
    if !first.created || first.canceled {
        bail!("the watch was refused: {}", first.cancel_reason);
    }
    Ok(stream)
}

async fn write(mut kv: KvClient<Channel>, number: usize, epoch: Instant, budget: Arc<Budget>, shape: Shape) -> Result<u64, Status> {
    let (key, padding) = (key(PREFIX, number as u64), value(shape.value_bytes.saturating_sub(8)));
    let mut written = 0;
    let mut pace = Pace::new(shape.rate, number, WRITERS);
    while budget.take() {
        pace.due().await;
        kv.put(PutRequest { key: key.clone(), value: stamped(epoch, &padding), ..PutRequest::default() }).await?;
        written += 1;
    }
    Ok(written)
}

fn stamped(epoch: Instant, padding: &Bytes) -> Bytes {
    let mut value = BytesMut::with_capacity(8 + padding.len());
    value.put_u64(u64::try_from(epoch.elapsed().as_micros()).unwrap_or(u64::MAX));
    value.put_slice(padding);
    value.freeze()
}

/// Takes events until it has seen as many as were written.
async fn read(mut stream: Streaming<WatchResponse>, epoch: Instant, mut wanted: tokio::sync::watch::Receiver<Option<u64>>) -> Tally {
    let mut tally = Tally::default();
    let mut seen = 0u64;
    let mut deadline: Option<Instant> = None;
    loop {
        if deadline.is_none() && wanted.borrow_and_update().is_some() {
            deadline = Some(Instant::now() + PATIENCE);
        }
        if wanted.borrow().is_some_and(|wanted| seen >= wanted) {
            return tally;
        }
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = stream.message() => match message {
                Ok(Some(response)) => {
                    let now = epoch.elapsed();
                    for event in &response.events {
                        let mut value = event.kv.as_ref().map(|kv| kv.value.clone()).unwrap_or_default();
                        let written = if value.len() >= 8 { value.get_u64() } else { 0 };
                        tally.success(now.saturating_sub(Duration::from_micros(written)));
                        seen += 1;
                    }
                }
                Ok(None) => {
                    tally.failure("a watch stream ended");
                    return tally;
                }
                Err(status) => {
                    tally.failure(status);
                    return tally;
                }
            },
            changed = wanted.changed(), if deadline.is_none() => {
                if changed.is_err() && wanted.borrow().is_none() {
                    tally.failure("the writers failed");
                    return tally;
                }
            }
            () = late => {
                tally.failure("events are missing");
                return tally;
            }
        }
    }
}
