//! Transactions over lists: each reads some keys, then appends to some if none of them has changed meanwhile.

use super::{Actor, Workload, strange};
use crate::check::append::{Micro, TXN, Txn};
use crate::kv;
use crate::target::{Client, Failure};
use async_trait::async_trait;
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

const KEYS: u32 = 5;
/// A key is left alone after so many appends: the next ones go to a key of the next generation.
const LONG: i64 = 400;
/// How often a transaction that came too late is tried again.
const TRIES: usize = 5;

static NEXT: AtomicI64 = AtomicI64::new(1);

/// See above.
pub struct Append;

fn stored(key: &str) -> String {
    format!("a/{key}")
}

fn list(value: &str) -> Result<Vec<i64>, Failure> {
    value.split(',').filter(|part| !part.is_empty()).map(|part| part.parse().map_err(|_| strange(&value))).collect()
}

/// Reads all keys of a transaction at one revision.
async fn look(client: &Client, keys: &[&str]) -> Result<BTreeMap<String, (i64, Vec<i64>)>, Failure> {
    let read = |key: &&str| kv::Op::Range(kv::Range { key: stored(key), ..Default::default() });
    let asked = kv::Request::Txn(kv::Txn { then: keys.iter().map(read).collect(), ..Default::default() });
    let answer = client.ask(&asked).await?;
    let kv::Result::Txn { results, .. } = answer.result else { return Err(strange(&answer)) };
    let mut found = BTreeMap::new();
    for (key, result) in keys.iter().zip(results) {
        let kv::OpResult::Range(range) = result else { return Err(strange(&result)) };
        let state = range.kvs.first().map_or(Ok((0, Vec::new())), |kv| Ok((kv.mod_revision, list(&kv.value)?)))?;
        found.insert((*key).to_owned(), state);
    }
    Ok(found)
}

async fn run(client: &Client, txn: &Txn) -> Result<Txn, Failure> {
    let mut keys: Vec<&str> = txn
        .0
        .iter()
        .map(|micro| match micro {
            Micro::Append(key, _) | Micro::Read(key, _) => key.as_str(),
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    for _ in 0..TRIES {
        let mut state = look(client, &keys).await.map_err(|failure| Failure::Not(failure.to_string()))?;
        let compares = state.iter().map(|(key, (revision, _))| kv::Compare::ModRevision(stored(key), *revision)).collect();
        let mut done = Vec::new();
        let mut changed = BTreeMap::new();
        for micro in &txn.0 {
            let (Micro::Append(key, _) | Micro::Read(key, _)) = micro;
            let (_, values) = state.entry(key.clone()).or_default();
            match micro {
                Micro::Append(key, value) => {
                    values.push(*value);
                    changed.insert(key.clone(), values.clone());
                    done.push(micro.clone());
                }
                Micro::Read(key, _) => done.push(Micro::Read(key.clone(), Some(values.clone()))),
            }
        }
        let write = |(key, values): (&String, &Vec<i64>)| {
            let text: Vec<String> = values.iter().map(i64::to_string).collect();
            kv::Op::Put { key: stored(key), value: text.join(","), lease: 0 }
        };
        let asked = kv::Request::Txn(kv::Txn { compares, then: changed.iter().map(write).collect(), ..Default::default() });
        match client.ask(&asked).await?.result {
            kv::Result::Txn { succeeded: true, .. } => return Ok(Txn(done)),
            kv::Result::Txn { succeeded: false, .. } => {}
            result => return Err(strange(&result)),
        }
    }
    Err(Failure::Not("others were faster".into()))
}

#[async_trait]
impl Workload for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    async fn step(&self, actor: &mut Actor) {
        let mut steps = Vec::new();
        for _ in 0..actor.rng.random_range(1..5) {
            let next = NEXT.load(Ordering::Relaxed);
            let key = format!("{}-{}", next / LONG, actor.rng.random_range(0..KEYS));
            steps.push(if actor.rng.random_bool(0.5) {
                Micro::Append(key, NEXT.fetch_add(1, Ordering::Relaxed))
            } else {
                Micro::Read(key, None)
            });
        }
        let txn = Txn(steps);
        actor.noted(TXN, &txn, async |client| run(client, &txn).await).await;
    }
}
