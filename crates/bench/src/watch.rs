//! The watch load: every write of a few keys goes to many watches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tricorn_proto::etcdserverpb::kv_client::KvClient;
use tricorn_proto::etcdserverpb::watch_client::WatchClient;
use tricorn_proto::etcdserverpb::watch_request::RequestUnion;
use tricorn_proto::etcdserverpb::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse};

use crate::fan_out;
use crate::measure::Measurement;
use crate::workload::{Budget, Pace, Shape, key, value};

/// Clients that write at once: enough to keep the servers busy, few enough that the watches are the load.
const WRITERS: usize = 8;
const PREFIX: &str = "bench-watch";

/// Runs the load: one operation is one event that has arrived at one watch.
pub(crate) async fn run(channels: &[Channel], pids: &[u32], watchers: usize, shape: Shape) -> Result<Measurement> {
    let mut watches = Vec::with_capacity(watchers);
    for channel in channels.iter().cycle().take(watchers) {
        watches.push(moments(open(channel.clone()).await?).boxed());
    }
    // Values carry the time of their writing, measured from here.
    let epoch = Instant::now();
    let budget = Arc::new(Budget::new(shape.until));
    let writers = channels.iter().cycle().take(WRITERS).enumerate();
    let writers = writers.map(|(number, channel)| write(KvClient::new(channel.clone()), number, epoch, budget.clone(), shape));
    fan_out::run(pids, epoch, watches, writers).await
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

/// When that was written which a watch tells of.
fn moments(stream: Streaming<WatchResponse>) -> impl Stream<Item = Result<Duration>> {
    stream.flat_map(|response: Result<_, Status>| {
        let moments: Vec<_> = match response {
            Ok(response) => response.events.into_iter().map(|event| Ok(moment(event.kv.unwrap_or_default().value))).collect(),
            Err(status) => vec![Err(status.into())],
        };
        futures::stream::iter(moments)
    })
}

fn moment(mut value: Bytes) -> Duration {
    Duration::from_micros(if value.len() >= 8 { value.get_u64() } else { 0 })
}

async fn write(mut kv: KvClient<Channel>, number: usize, epoch: Instant, budget: Arc<Budget>, shape: Shape) -> Result<u64> {
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
