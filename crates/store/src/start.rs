//! Bringing a member up: who it is, what it has, whom it talks to.

use crate::config::{AutoCompaction, Bootstrap, InitialMember, PeerListen, Storage, StoreConfig};
use crate::counters::Counters;
use crate::engine::{Disk, Purpose, RocksDisk};
use crate::error::{Error, Result};
use crate::grpc::{self, GrpcTransport};
use crate::handler::Handler;
use crate::identity::{FORMAT, Identity};
use crate::leadership::{self, Leadership};
use crate::lessor::Lessor;
use crate::link::{Lane, Links, Transport};
use crate::log::Log;
use crate::machine::StateMachine;
use crate::network::Networks;
use crate::node::{Node, Raft};
use crate::passwords::Passwords;
use crate::state::State;
use crate::store::Store;
use crate::tokens::Tokens;
use crate::types::Member;
use crate::{compactor, force, host, leases, members, proposer, reads, trim};
use openraft::errors::{InitializeError, RaftError};
use openraft::{Config, SnapshotPolicy};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{RwLock, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a member that joins waits for the group to know it.
const JOIN: Duration = Duration::from_secs(30);

/// The group as this member founds it, when it does.
type Founders = Option<BTreeMap<u64, Member>>;

pub(crate) fn hashed(parts: &[&str]) -> u64 {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let bytes = digest.finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&bytes[..8]);
    // Ids are shown and sent as positive numbers by some clients.
    (u64::from_be_bytes(head) >> 1).max(1)
}

/// The id that every founder computes for a member.
pub(crate) fn founder_id(member: &InitialMember, token: &str) -> u64 {
    let mut parts = vec![token, member.name.as_str()];
    let mut urls: Vec<&str> = member.peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    parts.extend(urls);
    hashed(&parts)
}

/// The id that every founder computes for the cluster.
pub(crate) fn founded_cluster(ids: impl Iterator<Item = u64>, token: &str) -> u64 {
    let mut ids: Vec<String> = ids.map(|id| format!("{id:x}")).collect();
    ids.sort_unstable();
    let mut parts = vec![token];
    parts.extend(ids.iter().map(String::as_str));
    hashed(&parts)
}

pub(crate) fn random_id() -> u64 {
    (host::random() >> 1).max(1)
}

fn raft_config(config: &StoreConfig) -> Result<Config> {
    let timing = &config.timing;
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let raft = Config {
        cluster_name: "tricorn".into(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election.0),
        election_timeout_max: millis(timing.election.1),
        install_snapshot_timeout: 600_000,
        max_payload_entries: 1024,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timing.snapshot_entries),
        max_in_snapshot_log_to_keep: timing.keep_entries,
        purge_batch_size: timing.keep_entries.clamp(1, 1024),
        replication_lag_threshold: timing.keep_entries.max(1000),
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        // A follower whose disk has lost the end of its log is sent it again. Without this the leader goes on from where it believes the
        // follower to be, and the follower stays behind, without a word, until somebody else leads.
        allow_log_reversion: Some(true),
        ..Config::default()
    };
    raft.validate().map_err(|error| Error::Config(error.to_string()))
}

pub(crate) fn disk_of(storage: &Storage) -> Arc<dyn Disk> {
    match storage {
        Storage::Dir { path, options } => Arc::new(RocksDisk::new(path.clone(), *options)),
        Storage::Disk(disk) => disk.clone(),
    }
}

async fn listen(listen: PeerListen) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    match listen {
        PeerListen::Nowhere => {}
        PeerListen::Addresses(addresses) => {
            for address in addresses {
                let bound = TcpListener::bind(address).await;
                listeners.push(bound.map_err(|error| Error::disk(format!("listen for peers on {address}"), &error))?);
            }
        }
        PeerListen::Listener(listener) => {
            let adopted = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
            listeners.push(adopted.map_err(|error| Error::disk("take over the peer socket", &error))?);
        }
    }
    Ok(listeners)
}

/// Finds out who this member is, from its directory or else from its configuration and its peers.
async fn identify(config: &StoreConfig, disk: &dyn Disk, transport: &dyn Transport) -> Result<(Identity, Founders)> {
    let known = Identity::read(disk)?;
    let new = |cluster_id, member_id| Identity { format: FORMAT, cluster_id, member_id, name: config.name.clone(), restored: false };
    let (identity, founders) = match &config.bootstrap {
        _ if known.as_ref().is_some_and(|known| known.restored) => (known.clone().ok_or(Error::Stopped)?, None),
        Bootstrap::Alone => {
            let identity = known.clone().unwrap_or_else(|| new(random_id(), random_id()));
            let me = Member { name: config.name.clone(), peer_urls: config.peer_urls.clone(), ..Member::default() };
            let me = Member { client_urls: config.client_urls.clone(), ..me };
            let founders = BTreeMap::from([(identity.member_id, me)]);
            (identity, Some(founders))
        }
        Bootstrap::Group { members: all, token } => {
            for member in all {
                members::check_urls(&member.peer_urls)?;
            }
            let me = all.iter().find(|member| member.name == config.name);
            let me = me.ok_or_else(|| Error::Config(format!("member {} is not in its own initial group", config.name)))?;
            let founders: BTreeMap<u64, Member> = all.iter().map(|member| (founder_id(member, token), member.into())).collect();
            let identity = new(founded_cluster(founders.keys().copied(), token), founder_id(me, token));
            (identity, Some(founders))
        }
        Bootstrap::Join { peers } => match &known {
            Some(known) => (known.clone(), None),
            None => {
                let (cluster_id, member_id) = ask_who_i_am(config, transport, peers).await?;
                (new(cluster_id, member_id), None)
            }
        },
    };
    match known {
        // A member of a group may have joined it later than its configuration says; the directory knows.
        Some(known) if matches!(config.bootstrap, Bootstrap::Group { .. }) && known.cluster_id != identity.cluster_id => {
            let text = format!(
                "belongs to cluster {:x}, the configuration names cluster {:x}; use another directory, or the configuration it was made with",
                known.cluster_id, identity.cluster_id
            );
            Err(Error::DataDir { path: disk.location(), reason: text })
        }
        Some(known) if known.name != config.name => {
            let text = format!("belongs to member {}, this one is called {}", known.name, config.name);
            Err(Error::DataDir { path: disk.location(), reason: text })
        }
        Some(known) => Ok((known, founders)),
        None => {
            identity.write(disk)?;
            Ok((identity, founders))
        }
    }
}

/// Asks the group, by peer URL, which of its members this one is.
async fn ask_who_i_am(config: &StoreConfig, transport: &dyn Transport, peers: &[String]) -> Result<(u64, u64)> {
    let deadline = tokio::time::Instant::now() + JOIN;
    let mut last = Error::MemberNotFound;
    while tokio::time::Instant::now() < deadline {
        for peer in peers.iter().filter(|peer| !config.peer_urls.contains(peer)) {
            let link = transport.link(std::slice::from_ref(peer), Lane::Control);
            match link.group(Duration::from_secs(2)).await {
                Ok(group) => {
                    let members = group.membership.unwrap_or_default().members;
                    let me = members.iter().find(|member| member.peer_urls.iter().any(|url| config.peer_urls.contains(url)));
                    match me {
                        Some(me) => return Ok((group.cluster_id, me.id)),
                        None => last = Error::MemberNotFound,
                    }
                }
                Err(error) => last = Error::Config(format!("ask {peer} who is in the group: {error}")),
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Err(last)
}

/// Starts a member that reaches the others over gRPC.
pub(crate) async fn start(config: StoreConfig) -> Result<Store> {
    let transport = Arc::new(GrpcTransport::new(config.peer_tls.as_ref().map(|tls| &tls.client)));
    start_on(config, transport).await
}

/// Starts a member on a transport of the caller's.
pub(crate) async fn start_on(mut config: StoreConfig, transport: Arc<dyn Transport>) -> Result<Store> {
    let disk = disk_of(&config.storage);
    let raft_config = Arc::new(raft_config(&config)?);
    if config.force_new_cluster {
        let mine = Member { name: config.name.clone(), peer_urls: config.peer_urls.clone(), ..Member::default() };
        let disk = disk.clone();
        host::blocking(move || force::alone(disk.as_ref(), &mine)).await.map_err(|_| Error::Stopped)??;
    }
    let (identity, founders) = identify(&config, disk.as_ref(), transport.as_ref()).await?;
    transport.belongs_to(identity.cluster_id);
    let listeners = listen(std::mem::replace(&mut config.peer_listen, PeerListen::Nowhere)).await?;
    let counters = Arc::new(Counters::default());
    let opened = {
        let (disk, counters, token_ttl) = (disk.clone(), counters.clone(), config.auth.token_ttl);
        host::blocking(move || {
            let state = State::open(disk.clone(), counters.clone(), Arc::new(Lessor::default()), Tokens::new(token_ttl))?;
            Ok::<_, std::io::Error>((Arc::new(state), disk.open("raft", Purpose::Log)?))
        })
    };
    let opened = opened.await.map_err(|error| Error::Raft(error.to_string()))?;
    let unusable = |error: std::io::Error| Error::disk(format!("open {}", disk.location()), &error);
    let (state, log) = opened.map_err(unusable)?;
    let (log, log_worker) = Log::open(log, counters.clone()).await.map_err(unusable)?;
    let pristine = log.is_pristine();
    let links = Arc::new(Links::new(transport));
    let networks = Networks { links: links.clone(), counters: counters.clone() };
    let started = StateMachine::start(state.clone(), identity.cluster_id);
    let (machine, apply_worker) = started.map_err(|error| Error::disk("start the apply thread", &error))?;
    let raft = Raft::new(identity.member_id, raft_config, networks, log.clone(), machine).await;
    let raft = raft.map_err(|error| Error::Raft(error.to_string()))?;
    let (barriers, readers) = mpsc::channel(reads::QUEUE);
    let (indices, questions) = mpsc::channel(reads::QUEUE);
    let (proposals, proposed) = mpsc::channel(proposer::QUEUE);
    let stop = CancellationToken::new();
    let node = Arc::new(Node {
        id: identity.member_id,
        cluster_id: identity.cluster_id,
        request_timeout: config.timing.request,
        election_timeout: config.timing.election.1,
        limits: config.limits,
        quota_bytes: config.quota_bytes,
        lease_reads: config.lease_reads,
        raft,
        log,
        state,
        passwords: Passwords::new(config.auth.bcrypt_cost),
        links,
        counters,
        leadership: watch::Sender::new(Leadership::default()),
        failed: watch::Sender::new(None),
        heard: watch::Sender::new(tokio::time::Instant::now()),
        max_proposals: config.timing.max_proposals,
        permits: Arc::new(Semaphore::new(config.timing.max_proposals)),
        barriers,
        indices,
        marking: RwLock::default(),
        proposals,
        stop: stop.clone(),
    });
    let handler = Arc::new(Handler::new(node.clone()));
    let served = grpc::serve(listeners, config.peer_tls.as_ref().map(|tls| &tls.server), handler.clone(), &stop);
    if let (true, Some(founders)) = (pristine, founders) {
        match node.raft.initialize(founders).await {
            // Another founder was faster and has asked for a vote already: the group reaches this member from there.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(Error::Raft(format!("found the group: {error}"))),
        }
    }
    let mine = Member { name: config.name, client_urls: config.client_urls, ..Member::default() };
    let mut tasks: Vec<JoinHandle<()>> = served.tasks;
    tasks.push(host::spawn(leadership::follow(node.clone())));
    tasks.push(host::spawn(reads::serve_barriers(node.clone(), readers)));
    tasks.push(host::spawn(reads::serve_indices(node.clone(), questions)));
    tasks.push(host::spawn(proposer::serve(node.clone(), proposed)));
    tasks.push(host::spawn(leases::drive(node.clone())));
    tasks.push(host::spawn(trim::drive(node.clone())));
    if config.auto_compaction != AutoCompaction::Off {
        tasks.push(host::spawn(compactor::drive(node.clone(), config.auto_compaction)));
    }
    tasks.push(host::spawn(members::drive(node.clone(), mine)));
    Ok(Store::new(node, handler, tasks, vec![log_worker, apply_worker]))
}
