//! etcd itself, alone on this machine, to which the writes of a run are done again: what members hold must be what it holds then.

use super::client::Failure;
use super::{Group, watch_message, wire};
use crate::check::contents::{Contents, Replayed};
use crate::check::hash::Hashed;
use crate::kv::{Op, Txn};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};
use tricorn_proto::etcdserverpb as pb;
use tricorn_proto::etcdserverpb::kv_client::KvClient;
use tricorn_proto::etcdserverpb::lease_client::LeaseClient;
use tricorn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use tricorn_proto::etcdserverpb::watch_request::RequestUnion;

/// Where Debian puts it.
const PROGRAM: &str = "/usr/bin/etcd";
/// In memory: its disk is not what is tested.
const MEMORY: &str = "/dev/shm";
const START: Duration = Duration::from_secs(20);
/// How long all writes of a run may take to be told.
const TOLD: Duration = Duration::from_secs(30);
/// Longer than any run: leases end when the history says so.
const TTL_SECONDS: i64 = 86_400;
/// Values longer than this are noted by what they begin with, their length and their hash.
const LONG: usize = 64;
const MAX_MESSAGE: usize = 512 << 20;

/// Writes, by the revision that they led to.
pub type Writes = Vec<(i64, Txn)>;

/// All writes up to a revision, as a member tells them, if it still can.
pub async fn told(group: &Group, name: &str, revision: i64) -> Result<Writes, Failure> {
    let client = group.client(name);
    let create =
        pb::WatchCreateRequest { key: vec![0].into(), range_end: vec![0].into(), start_revision: 1, fragment: true, ..Default::default() };
    let (ask, requests) = tokio::sync::mpsc::channel(1);
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    ask.send(request).await.map_err(|error| Failure::Not(error.to_string()))?;
    let mut replies = client.watch(tokio_stream::wrappers::ReceiverStream::new(requests)).await?;
    let mut writes: BTreeMap<i64, Txn> = BTreeMap::new();
    let all = async {
        while writes.last_key_value().map_or(1, |(last, _)| *last) < revision {
            let reply = replies.message().await.map_err(|status| Failure::Not(status.message().to_owned()))?;
            let reply = reply.ok_or_else(|| Failure::Not("the watch ended".into()))?;
            if reply.canceled {
                return Err(Failure::Not(format!("the watch ended: {} (compacted at {})", reply.cancel_reason, reply.compact_revision)));
            }
            for event in watch_message(&reply, 0).events {
                let (revision, kv) = (event.kv.mod_revision, event.kv);
                let op = if event.deleted {
                    Op::Delete { key: kv.key, end: None }
                } else {
                    Op::Put { key: kv.key, value: kv.value, lease: kv.lease }
                };
                writes.entry(revision).or_default().then.push(op);
            }
        }
        Ok(())
    };
    tokio::time::timeout(TOLD, all).await.map_err(|_| Failure::Not(format!("not all was told within {TOLD:?}")))??;
    writes.retain(|at, _| *at <= revision);
    Ok(writes.into_iter().collect())
}

/// Everything that a store holds at a revision.
pub async fn contents(channel: Channel, revision: i64) -> Result<Contents, tonic::Status> {
    let request = pb::RangeRequest { key: vec![0].into(), range_end: vec![0].into(), revision, ..Default::default() };
    let found = KvClient::new(channel).max_decoding_message_size(MAX_MESSAGE).range(request).await?.into_inner();
    let short = |kv: &tricorn_proto::mvccpb::KeyValue| {
        let mut kv = wire::key_value(kv);
        if kv.value.len() > LONG {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hash = DefaultHasher::new();
            kv.value.hash(&mut hash);
            let head: String = kv.value.chars().take(LONG / 2).collect();
            kv.value = format!("{head}… ({} bytes, {:016x})", kv.value.len(), hash.finish());
        }
        kv
    };
    Ok(Contents { revision, kvs: found.kvs.iter().map(short).collect() })
}

/// A running etcd; it ends when it is dropped.
pub struct Twin {
    _process: Child,
    _data: tempfile::TempDir,
    channel: Channel,
}

impl Twin {
    /// Whether there is an etcd on this machine.
    pub fn there() -> bool {
        Path::new(PROGRAM).is_file()
    }

    /// Starts it, empty.
    pub async fn start() -> Result<Self> {
        let data = tempfile::Builder::new().prefix("jepsen-twin-").tempdir_in(MEMORY).or_else(|_| tempfile::tempdir())?;
        // Free now; nobody else takes ports by the handful on a machine that tests.
        let port = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).map(|address| address.port());
        let (clients, peers) = (format!("http://127.0.0.1:{}", port()?), format!("http://127.0.0.1:{}", port()?));
        let mut command = Command::new(PROGRAM);
        command.arg("--data-dir").arg(data.path().join("data")).args(["--name", "twin", "--max-txn-ops", "100000"]);
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args([
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
            "--initial-cluster",
            &format!("twin={peers}"),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().with_context(|| format!("start {PROGRAM}"))?;
        let endpoint = Endpoint::from_shared(clients)?;
        let deadline = Instant::now() + START;
        let channel = loop {
            match endpoint.connect().await {
                Ok(channel) => break channel,
                Err(error) if Instant::now() > deadline => bail!("{PROGRAM} does not answer after {START:?}: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        Ok(Self { _process: process, _data: data, channel })
    }

    /// Does writes again, until one leads to another revision than it did.
    pub async fn replay(&self, writes: &Writes) -> Result<Replayed> {
        let put_under = |op: &Op| if let Op::Put { lease, .. } = op { Some(*lease).filter(|lease| *lease != 0) } else { None };
        let leases: BTreeSet<i64> = writes.iter().flat_map(|(_, txn)| &txn.then).filter_map(put_under).collect();
        for id in leases {
            LeaseClient::new(self.channel.clone())
                .lease_grant(pb::LeaseGrantRequest { id, ttl: TTL_SECONDS })
                .await
                .context("grant a lease")?;
        }
        let mut client = KvClient::new(self.channel.clone());
        for (done, (expected, txn)) in writes.iter().enumerate() {
            let reply = client.txn(wire::txn(txn)).await.with_context(|| format!("do the write of revision {expected} again"))?;
            let came_to = reply.into_inner().header.map_or(0, |header| header.revision);
            if came_to != *expected {
                return Ok(Replayed { writes: done + 1, came_to, expected: *expected });
            }
        }
        Ok(Replayed { writes: writes.len(), ..Replayed::default() })
    }

    /// What it holds at a revision, compacted as the others are.
    pub async fn hash(&self, revision: i64, compact_revision: i64) -> Result<Hashed> {
        if compact_revision > 0 {
            let request = pb::CompactionRequest { revision: compact_revision, physical: true };
            KvClient::new(self.channel.clone()).compact(request).await.context("compact etcd")?;
        }
        let asked = MaintenanceClient::new(self.channel.clone()).hash_kv(pb::HashKvRequest { revision }).await;
        let hash = asked.context("ask etcd for its hash")?.into_inner();
        Ok(Hashed { revision, compact_revision: hash.compact_revision, hash: hash.hash })
    }

    /// A way to it.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

/// The writes that the `kv` operations and the watches of a history tell of, if none is missing.
pub fn of_history(history: &crate::history::History, revision: i64) -> Option<Writes> {
    let timeline = crate::check::kv::timeline(history, crate::check::kv::Options::default()).ok()?;
    let mut writes = timeline.transactions()?;
    writes.retain(|(at, _)| *at <= revision);
    (writes.last().map_or(1, |(last, _)| *last) == revision).then_some(writes)
}
