//! Everything that the store can do, on few keys, with a watcher on each member: the workload that the model of etcd checks whole.

use super::{Actor, Workload, watcher};
use crate::history::Recorder;
use crate::kv::{Compare, Op, Range, Request, Txn};
use crate::target::System;
use async_trait::async_trait;
use rand::Rng;
use rand::seq::IndexedRandom;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const KEYS: u32 = 8;
const LEASES: i64 = 4;
/// Before this many revisions everything is compacted.
const KEEP: i64 = 40;

/// See above.
pub struct Kv;

fn key(actor: &mut Actor) -> String {
    format!("k{}", actor.rng.random_range(0..KEYS))
}

/// A value that nobody else writes.
fn value(actor: &mut Actor) -> String {
    format!("{:?}-{:08x}", actor.number, actor.rng.random::<u32>())
}

fn lease(actor: &mut Actor) -> i64 {
    // Few ids, each used again when the lease is gone; 0 is none.
    1000 + actor.rng.random_range(0..LEASES)
}

fn put(actor: &mut Actor, leased: bool) -> Op {
    let lease = if leased { lease(actor) } else { 0 };
    Op::Put { key: key(actor), value: value(actor), lease }
}

fn read(actor: &mut Actor) -> Range {
    if actor.rng.random_bool(0.5) {
        Range { key: key(actor), ..Default::default() }
    } else {
        Range { key: "k".into(), end: Some("l".into()), limit: *[0, 0, 3].choose(&mut actor.rng).unwrap_or(&0), ..Default::default() }
    }
}

fn alone(op: Op) -> Request {
    Request::Txn(Txn { then: vec![op], ..Default::default() })
}

/// Reads a key, then changes it if it is still what it was.
async fn optimistic(actor: &mut Actor) {
    let key = key(actor);
    let read = Request::Range(Range { key: key.clone(), ..Default::default() });
    let Some(answer) = actor.kv(read).await else { return };
    let crate::kv::Result::Range(found) = answer.result else { return };
    let found = found.kvs.first();
    let compare = match (found, actor.rng.random_range(0..4)) {
        (Some(kv), 0) => Compare::Value(key.clone(), kv.value.clone()),
        (Some(kv), 1) => Compare::Version(key.clone(), kv.version),
        (found, 2) => Compare::CreateRevision(key.clone(), found.map_or(0, |kv| kv.create_revision)),
        (found, _) => Compare::ModRevision(key.clone(), found.map_or(0, |kv| kv.mod_revision)),
    };
    let then = if actor.rng.random_bool(0.8) {
        Op::Put { key: key.clone(), value: value(actor), lease: 0 }
    } else {
        Op::Delete { key: key.clone(), end: None }
    };
    let otherwise = Op::Range(Range { key, ..Default::default() });
    actor.kv(Request::Txn(Txn { compares: vec![compare], then: vec![then], otherwise: vec![otherwise] })).await;
}

/// Several keys at once.
async fn several(actor: &mut Actor) {
    let first = actor.rng.random_range(0..KEYS - 1);
    let mut then = Vec::new();
    for number in [first, first + 1] {
        then.push(Op::Put { key: format!("k{number}"), value: value(actor), lease: 0 });
    }
    then.push(Op::Range(Range { key: "k".into(), end: Some("l".into()), ..Default::default() }));
    actor.kv(Request::Txn(Txn { then, ..Default::default() })).await;
}

/// Reads what was, or forgets it.
async fn past(actor: &mut Actor, compact: bool) {
    let Some(now) = actor.kv(Request::Range(Range { key: "k0".into(), ..Default::default() })).await else { return };
    let request = if compact {
        Request::Compact { revision: (now.revision - KEEP).max(1) }
    } else {
        let revision = (now.revision - actor.rng.random_range(0..KEEP)).max(1);
        Request::Range(Range { revision, ..read(actor) })
    };
    actor.kv(request).await;
}

#[async_trait]
impl Workload for Kv {
    fn name(&self) -> &'static str {
        "kv"
    }

    async fn step(&self, actor: &mut Actor) {
        let request = match actor.rng.random_range(0..100) {
            0..25 => Request::Range(read(actor)),
            25..32 => Request::Range(Range { serializable: true, ..read(actor) }),
            32..55 => alone(put(actor, false)),
            55..60 => alone(Op::Delete { key: key(actor), end: None }),
            60 => alone(Op::Delete { key: "k6".into(), end: Some("l".into()) }),
            61..76 => return optimistic(actor).await,
            76..82 => return several(actor).await,
            82..86 => return past(actor, false).await,
            86..87 => return past(actor, true).await,
            87..90 => Request::Grant { id: lease(actor), ttl: actor.rng.random_range(2..6) },
            90..94 => alone(put(actor, true)),
            94..97 => Request::KeepAlive { id: lease(actor) },
            97..99 => Request::Revoke { id: lease(actor) },
            _ => Request::Defragment,
        };
        actor.kv(request).await;
    }

    async fn beside(&self, system: Arc<dyn System>, recorder: Recorder, stop: CancellationToken) {
        watcher::follow_from_each(system, recorder, ("k", "l"), stop).await;
    }

    async fn finish(&self, actor: &mut Actor) {
        actor.kv(Request::Range(Range { key: "k".into(), end: Some("l".into()), ..Default::default() })).await;
    }
}
