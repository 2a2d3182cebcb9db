//! Elections through etcd's own service: candidates campaign, announce, write what only a leader may, and resign or die; observers follow.

use super::{Actor, Workload, strange};
use crate::check::election::{FOLLOW, Followed, PROCLAIM, Proclaim, Seen};
use crate::check::lock::{ACQUIRE, Acquire, Acquired, GUARDED, Guarded, Held, OBSERVE, Observed, RELEASE, Released};
use crate::kv::{Answer, Compare, Op, Request, Result as KvResult, Txn};
use crate::target::{Client, Failure};
use async_trait::async_trait;
use rand::Rng;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tricorn_proto::mvccpb::KeyValue;
use tricorn_proto::v3electionpb as pb;
use tricorn_proto::v3electionpb::election_client::ElectionClient;

const ELECTIONS: u32 = 2;
const TTL_SECONDS: i64 = 3;
/// How long a candidate waits to be elected, and how long other questions may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long an observer follows.
const STAY: Duration = Duration::from_secs(2);
/// What etcd says to whoever does not lead, and to whoever asks when nobody does.
const NOT_LEADER: &str = "election: not leader";
const NO_LEADER: &str = "election: no leader";

static NEXT: AtomicI64 = AtomicI64::new(1);

/// See above.
pub struct Elections;

fn name(election: &str) -> String {
    format!("election/{election}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A leader, as it knows itself.
struct Leader {
    key: pb::LeaderKey,
    held: Held,
}

async fn campaign(client: &Client, wish: &Acquire, lease: i64) -> Result<pb::LeaderKey, Failure> {
    client.ask(&Request::Grant { id: lease, ttl: TTL_SECONDS }).await?;
    let channel = client.channel().await?;
    let request = pb::CampaignRequest { name: name(&wish.lock).into(), lease, value: wish.value.clone().into() };
    let reply = client.call(PATIENCE, ElectionClient::new(channel).campaign(request)).await?;
    reply.leader.ok_or_else(|| strange(&"a campaign that was won without a key"))
}

async fn proclaim(client: &Client, leader: &pb::LeaderKey, value: &str) -> Result<Guarded, Failure> {
    let channel = client.channel().await?;
    let request = pb::ProclaimRequest { leader: Some(leader.clone()), value: value.to_owned().into() };
    match client.call(PATIENCE, ElectionClient::new(channel).proclaim(request)).await {
        Ok(reply) => Ok(Guarded { revision: reply.header.map_or(0, |header| header.revision), succeeded: true }),
        Err(failure) if failure.to_string().contains(NOT_LEADER) => Ok(Guarded { revision: 0, succeeded: false }),
        Err(failure) => Err(failure),
    }
}

async fn guarded(client: &Client, leader: &Leader) -> Result<Guarded, Failure> {
    let txn = Txn {
        compares: vec![Compare::CreateRevision(text(&leader.key.key), leader.key.rev)],
        then: vec![Op::Put { key: format!("led/{}", leader.held.lock), value: leader.held.token.to_string(), lease: 0 }],
        ..Default::default()
    };
    match client.ask(&Request::Txn(txn)).await? {
        Answer { revision, result: KvResult::Txn { succeeded, .. } } => Ok(Guarded { revision, succeeded }),
        answer => Err(strange(&answer)),
    }
}

async fn resign(client: &Client, leader: &pb::LeaderKey) -> Result<Released, Failure> {
    let channel = client.channel().await?;
    let request = pb::ResignRequest { leader: Some(leader.clone()) };
    let reply = client.call(PATIENCE, ElectionClient::new(channel).resign(request)).await?;
    Ok(Released { revision: reply.header.map_or(0, |header| header.revision) })
}

async fn who_leads(client: &Client, election: &str) -> Result<Observed, Failure> {
    let channel = client.channel().await?;
    let request = pb::LeaderRequest { name: name(election).into() };
    match client.call(PATIENCE, ElectionClient::new(channel).leader(request)).await {
        Ok(pb::LeaderResponse { header, kv: Some(kv) }) => {
            Ok(Observed { token: kv.create_revision, revision: header.map_or(0, |header| header.revision) })
        }
        Ok(reply) => Err(strange(&reply)),
        Err(failure) if failure.to_string().contains(NO_LEADER) => Ok(Observed { token: 0, revision: 0 }),
        Err(failure) => Err(Failure::Not(failure.to_string())),
    }
}

/// Follows for a while; what was told until then counts, however it ends.
async fn follow(client: &Client, election: &str) -> Result<Followed, Failure> {
    let channel = client.channel().await?;
    let request = pb::LeaderRequest { name: name(election).into() };
    let mut told = client.call(PATIENCE, ElectionClient::new(channel).observe(request)).await?;
    let mut followed = Followed::default();
    let listen = async {
        while let Ok(Some(reply)) = told.message().await {
            let KeyValue { create_revision, mod_revision, value, .. } = reply.kv.unwrap_or_default();
            followed.seen.push(Seen { token: create_revision, revision: mod_revision, value: text(&value) });
        }
    };
    let _over = tokio::time::timeout(STAY, listen).await;
    Ok(followed)
}

async fn lead(actor: &mut Actor, leader: &Leader, lease: i64) {
    for turn in 0..actor.rng.random_range(1..4) {
        let wrote = if actor.rng.random_bool(0.5) {
            actor.noted(GUARDED, &leader.held, async |client| guarded(client, leader).await).await
        } else {
            let Held { lock, token } = leader.held.clone();
            let request = Proclaim { lock, token, value: format!("{lease}-{turn}") };
            actor.noted(PROCLAIM, &request, async |client| proclaim(client, &leader.key, &request.value).await).await
        };
        if wrote.is_some_and(|wrote| !wrote.succeeded) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(actor.rng.random_range(0..150))).await;
    }
    match actor.rng.random_range(0..10) {
        0..7 => _ = actor.noted(RELEASE, &leader.held, async |client| resign(client, &leader.key).await).await,
        7..9 => {
            let end = async |client: &Client| Ok(Released { revision: client.ask(&Request::Revoke { id: lease }).await?.revision });
            actor.noted(RELEASE, &leader.held, end).await;
        }
        // One that dies: its lease runs out.
        _ => {}
    }
}

#[async_trait]
impl Workload for Elections {
    fn name(&self) -> &'static str {
        "election"
    }

    async fn step(&self, actor: &mut Actor) {
        let election = format!("{}", actor.rng.random_range(0..ELECTIONS));
        let wish = Acquire { lock: election.clone(), ..Default::default() };
        match actor.rng.random_range(0..10) {
            0..2 => _ = actor.noted(OBSERVE, &wish, async |client| who_leads(client, &election).await).await,
            2..4 => _ = actor.noted(FOLLOW, &wish, async |client| follow(client, &election).await).await,
            _ => {
                let lease = 7000 + NEXT.fetch_add(1, Ordering::Relaxed);
                let wish = Acquire { value: format!("{lease}-c"), ..wish };
                let mut won = None;
                let run = async |client: &Client| {
                    let key = campaign(client, &wish, lease).await?;
                    let acquired = Acquired { token: key.rev, revision: 0 };
                    won = Some(key);
                    Ok(acquired)
                };
                if actor.noted(ACQUIRE, &wish, run).await.is_none() {
                    return;
                }
                if let Some(key) = won {
                    let held = Held { lock: election, token: key.rev };
                    lead(actor, &Leader { key, held }, lease).await;
                }
            }
        }
    }
}
