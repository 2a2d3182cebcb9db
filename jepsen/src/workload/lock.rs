//! Locks as etcd's clients make them: a key under a lease for each who waits, and the oldest key holds. What is written under the lock
//! compares the holder's key in the same transaction, which is what makes it safe though a lease may run out unnoticed.

use super::{Actor, Workload, strange};
use crate::check::lock::{ACQUIRE, Acquire, Acquired, GUARDED, Guarded, Held, OBSERVE, Observed, RELEASE, Released};
use crate::kv::{Answer, Compare, KeyValue, Op, OpResult, Range, Request, Result as KvResult, Txn};
use crate::target::{Client, Failure};
use async_trait::async_trait;
use rand::Rng;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const LOCKS: u32 = 2;
const TTL_SECONDS: i64 = 3;
/// How long somebody waits for a lock.
const PATIENCE: Duration = Duration::from_secs(4);
const POLL: Duration = Duration::from_millis(50);

static NEXT: AtomicI64 = AtomicI64::new(1);

/// See above.
pub struct Locks;

fn prefix(lock: &str) -> Range {
    Range { key: format!("lock/{lock}/"), end: Some(format!("lock/{lock}0")), ..Default::default() }
}

async fn waiting(client: &Client, lock: &str) -> Result<(i64, Vec<KeyValue>), Failure> {
    let Answer { revision, result } = client.ask(&Request::Range(prefix(lock))).await?;
    match result {
        KvResult::Range(found) => Ok((revision, found.kvs)),
        result => Err(strange(&result)),
    }
}

fn first(waiting: &[KeyValue]) -> i64 {
    waiting.iter().map(|kv| kv.create_revision).min().unwrap_or(0)
}

async fn acquire(client: &Client, lock: &str, lease: i64) -> Result<Acquired, Failure> {
    client.ask(&Request::Grant { id: lease, ttl: TTL_SECONDS }).await?;
    let key = format!("lock/{lock}/{lease}");
    let enter = Txn {
        compares: vec![Compare::CreateRevision(key.clone(), 0)],
        then: vec![Op::Put { key: key.clone(), value: "waits".into(), lease }],
        ..Default::default()
    };
    let token = match client.ask(&Request::Txn(enter)).await? {
        Answer { revision, result: KvResult::Txn { succeeded: true, .. } } => revision,
        answer => return Err(strange(&answer)),
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let (revision, all) = waiting(client, lock).await.map_err(|failure| Failure::Unknown(failure.to_string()))?;
        if first(&all) == token {
            return Ok(Acquired { token, revision });
        }
        if !all.iter().any(|kv| kv.create_revision == token) || tokio::time::Instant::now() > deadline {
            // Whoever is gone from the queue, or leaves it now, never had the lock.
            let leave = Request::Revoke { id: lease };
            return match client.ask(&leave).await {
                Ok(_) => Err(Failure::Not("did not come to the front".into())),
                Err(failure) => Err(Failure::Unknown(failure.to_string())),
            };
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn guarded(client: &Client, held: &Held, lease: i64) -> Result<Guarded, Failure> {
    let txn = Txn {
        compares: vec![Compare::CreateRevision(format!("lock/{}/{lease}", held.lock), held.token)],
        then: vec![Op::Put { key: format!("guarded/{}", held.lock), value: held.token.to_string(), lease: 0 }],
        ..Default::default()
    };
    match client.ask(&Request::Txn(txn)).await? {
        Answer { revision, result: KvResult::Txn { succeeded, results } } if !succeeded || results == [OpResult::Put] => {
            Ok(Guarded { revision, succeeded })
        }
        answer => Err(strange(&answer)),
    }
}

#[async_trait]
impl Workload for Locks {
    fn name(&self) -> &'static str {
        "lock"
    }

    async fn step(&self, actor: &mut Actor) {
        let lock = format!("{}", actor.rng.random_range(0..LOCKS));
        let lease = 9000 + NEXT.fetch_add(1, Ordering::Relaxed);
        let wish = Acquire { lock: lock.clone(), ..Default::default() };
        if actor.rng.random_bool(0.2) {
            let look = actor.noted(OBSERVE, &wish, async |client| {
                let (revision, all) = waiting(client, &lock).await?;
                Ok(Observed { token: first(&all), revision })
            });
            look.await;
            return;
        }
        let Some(Acquired { token, .. }) = actor.noted(ACQUIRE, &wish, async |client| acquire(client, &lock, lease).await).await else {
            return;
        };
        let held = Held { lock, token };
        for _ in 0..actor.rng.random_range(1..4) {
            let wrote = actor.noted(GUARDED, &held, async |client| guarded(client, &held, lease).await).await;
            if wrote.is_some_and(|wrote| !wrote.succeeded) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(actor.rng.random_range(0..150))).await;
        }
        let give = actor.noted(RELEASE, &held, async |client| {
            let answer = client.ask(&Request::Revoke { id: lease }).await?;
            Ok(Released { revision: answer.revision })
        });
        give.await;
    }
}
