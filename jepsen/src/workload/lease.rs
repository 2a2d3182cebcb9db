//! Leases with a key each: some are renewed for a while, some are left to run out, some are ended.

use super::{Actor, Workload, strange, watcher};
use crate::check::lease::{Remaining, TIME_TO_LIVE, TimeToLive};
use crate::history::Recorder;
use crate::kv::{Op, Range, Request, Txn};
use crate::target::System;
use async_trait::async_trait;
use rand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

static NEXT: AtomicI64 = AtomicI64::new(1);

/// See above.
pub struct Leases;

#[async_trait]
impl Workload for Leases {
    fn name(&self) -> &'static str {
        "lease"
    }

    async fn step(&self, actor: &mut Actor) {
        let id = 5000 + NEXT.fetch_add(1, Ordering::Relaxed);
        let key = format!("l/{id}");
        let look = || Request::Range(Range { key: key.clone(), ..Default::default() });
        let ttl = actor.rng.random_range(2..5);
        if actor.kv(Request::Grant { id, ttl }).await.is_none() {
            return;
        }
        let put = Op::Put { key: key.clone(), value: "held".into(), lease: id };
        actor.kv(Request::Txn(Txn { then: vec![put], ..Default::default() })).await;
        for _ in 0..actor.rng.random_range(0..6) {
            tokio::time::sleep(Duration::from_millis(actor.rng.random_range(200..900))).await;
            match actor.rng.random_range(0..3) {
                0 => {
                    let request = TimeToLive { id };
                    let asked = actor.noted(TIME_TO_LIVE, &request, async |client| {
                        let reply = client.time_to_live(id).await?;
                        let keys = reply.keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
                        if reply.id == id {
                            Ok(Remaining { ttl: reply.ttl, granted: reply.granted_ttl, keys })
                        } else {
                            Err(strange(&reply))
                        }
                    });
                    asked.await;
                }
                1 => drop(actor.kv(look()).await),
                _ => drop(actor.kv(Request::KeepAlive { id }).await),
            }
        }
        if actor.rng.random_bool(0.2) {
            actor.kv(Request::Revoke { id }).await;
        }
        actor.kv(look()).await;
    }

    // Leases that run out are seen by nobody else in time.
    async fn beside(&self, system: Arc<dyn System>, recorder: Recorder, stop: CancellationToken) {
        watcher::follow_from_each(system, recorder, ("l/", "l0"), stop).await;
    }

    async fn finish(&self, actor: &mut Actor) {
        // The longest lease, and as much again: what is still there then was kept too long.
        tokio::time::sleep(Duration::from_secs(10)).await;
        actor.kv(Request::Range(Range { key: "l/".into(), end: Some("l0".into()), ..Default::default() })).await;
    }
}
