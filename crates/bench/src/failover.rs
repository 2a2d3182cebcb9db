//! How long nobody can write after the leader has been killed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tricorn_proto::etcdserverpb::PutRequest;
use tricorn_proto::etcdserverpb::kv_client::KvClient;

use crate::etcd::EtcdCluster;

/// One try of a write; a member that waits for its own time-out must not hide one that could take it.
const TRY: Duration = Duration::from_secs(1);
/// Between a refusal and the next try.
const PAUSE: Duration = Duration::from_millis(5);
/// A cluster that takes nothing for this long has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// Kills the leader `rounds` times with SIGKILL, and brings it back each time. Milliseconds from each kill until one of the others has
/// acknowledged a write.
pub async fn first_writes(cluster: &mut EtcdCluster, rounds: usize) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        cluster.ready().await?;
        let leader = cluster.leader().await?;
        let left = cluster.without(leader);
        let channels = left.connect(left.endpoints.len()).await?;
        cluster.kill(leader)?;
        times.push(first_write(channels).await?.as_secs_f64() * 1000.0);
        cluster.restart(leader)?;
    }
    cluster.ready().await?;
    Ok(times)
}

async fn first_write(channels: Vec<Channel>) -> Result<Duration> {
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for channel in channels {
        writers.spawn(write(KvClient::new(channel)));
    }
    match tokio::time::timeout(DEADLINE, writers.join_next()).await {
        Ok(Some(done)) => done.context("a writer ended early").map(|()| begun.elapsed()),
        Ok(None) => bail!("there is nobody left to write to"),
        Err(_) => bail!("no write went through within {DEADLINE:?} after the leader was killed"),
    }
}

/// Tries until a write goes through.
async fn write(mut kv: KvClient<Channel>) {
    loop {
        let request = PutRequest { key: Bytes::from_static(b"bench-failover"), value: Bytes::from_static(b"x"), ..PutRequest::default() };
        if matches!(tokio::time::timeout(TRY, kv.put(request)).await, Ok(Ok(_))) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
