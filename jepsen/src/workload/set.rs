//! A set: elements are added one by one, each under a key of its own, and read all at once.

use super::{Actor, Workload, strange};
use crate::check::set::{ADD, Add, Elements, READ, Read};
use crate::kv;
use async_trait::async_trait;
use rand::Rng;
use std::sync::atomic::{AtomicI64, Ordering};

static NEXT: AtomicI64 = AtomicI64::new(0);

/// See above.
pub struct Set;

async fn read(actor: &mut Actor, read: Read) {
    let range = kv::Range { key: "s/".into(), end: Some("s0".into()), serializable: read.serializable, ..Default::default() };
    let asked = kv::Request::Range(range);
    let found = actor.noted(READ, &read, async |client| {
        let answer = client.ask(&asked).await?;
        let kv::Result::Range(found) = answer.result else { return Err(strange(&answer)) };
        let values = found.kvs.iter().map(|kv| kv.value.parse().map_err(|_| strange(kv))).collect::<Result<_, _>>()?;
        Ok(Elements { values })
    });
    found.await;
}

#[async_trait]
impl Workload for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    async fn step(&self, actor: &mut Actor) {
        if actor.rng.random_bool(0.05) {
            let serializable = actor.rng.random_bool(0.3);
            return read(actor, Read { serializable }).await;
        }
        let add = Add { value: NEXT.fetch_add(1, Ordering::Relaxed) };
        let put = kv::Op::Put { key: format!("s/{:08}", add.value), value: add.value.to_string(), lease: 0 };
        let asked = kv::Request::Txn(kv::Txn { then: vec![put], ..Default::default() });
        actor.noted(ADD, &add, async |client| client.ask(&asked).await.map(|_| ())).await;
    }

    async fn finish(&self, actor: &mut Actor) {
        for node in actor.system.names() {
            actor.turn_to(&node);
            read(actor, Read::default()).await;
        }
    }
}
