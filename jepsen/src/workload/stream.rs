//! Many keys with long values, read whole while they are written: at once, as a stream, and page by page. Transactions change keys that
//! are far apart, so that a read that is not of one revision shows.

use super::{Actor, Workload};
use crate::kv::{Answer, KeyValue, Op, OpResult, Pieces, Range, Request, Result as KvResult, Txn};
use async_trait::async_trait;
use rand::Rng;
use rand::seq::IndexedRandom;

/// More than a member sends in the first chunk of a stream.
const KEYS: u32 = 160;
/// Bytes of a value at most, so that all of them are several chunks.
const LONG: u32 = 24_000;
/// Keys that one transaction changes at most, spread over all.
const SPREAD: u32 = 6;
const PAGES: [i64; 3] = [7, 40, 150];

/// See above.
pub struct Streams;

fn key(number: u32) -> String {
    format!("p/{number:04}")
}

fn all() -> Range {
    Range { key: "p/".into(), end: Some("p0".into()), ..Default::default() }
}

/// What is stored for a value that histories hold: the same and a tail that it determines, longer than the history has room for.
fn long(value: &str) -> String {
    let number = value.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let tail = usize::try_from(number % LONG).unwrap_or(0);
    format!("{value}:{}", "x".repeat(tail))
}

/// The value in what was found; all of what was found if it is not as it was stored.
fn short(found: &mut KeyValue) {
    if let Some((value, _)) = found.value.split_once(':')
        && long(value) == found.value
    {
        found.value = value.to_owned();
    }
}

fn shorten(answer: &mut Answer) {
    match &mut answer.result {
        KvResult::Range(found) => found.kvs.iter_mut().for_each(short),
        KvResult::Txn { results, .. } => results.iter_mut().for_each(|result| {
            if let OpResult::Range(found) = result {
                found.kvs.iter_mut().for_each(short);
            }
        }),
        _ => {}
    }
}

fn lengthened(request: &Request) -> Request {
    let mut request = request.clone();
    if let Request::Txn(txn) = &mut request {
        for op in txn.then.iter_mut().chain(&mut txn.otherwise) {
            if let Op::Put { value, .. } = op {
                *value = long(value);
            }
        }
    }
    request
}

async fn ask(actor: &mut Actor, request: Request) {
    let sent = lengthened(&request);
    let asked = async |client: &crate::target::Client| {
        let mut answer = client.ask(&sent).await?;
        shorten(&mut answer);
        Ok(answer)
    };
    actor.noted("kv", &request, asked).await;
}

fn put(actor: &mut Actor, number: u32) -> Op {
    Op::Put { key: key(number), value: format!("{}-{:08x}", actor.number, actor.rng.random::<u32>()), lease: 0 }
}

#[async_trait]
impl Workload for Streams {
    fn name(&self) -> &'static str {
        "range-stream"
    }

    async fn step(&self, actor: &mut Actor) {
        let then = match actor.rng.random_range(0..100) {
            0..35 => {
                let pieces = match actor.rng.random_range(0..6) {
                    0 => Pieces::One,
                    1..4 => Pieces::Streamed,
                    _ => Pieces::Pages(*PAGES.choose(&mut actor.rng).unwrap_or(&1)),
                };
                // A limit is the client's own way of paging; it has its place in streams only.
                let limited = pieces == Pieces::Streamed && actor.rng.random_bool(0.3);
                let limit = if limited { actor.rng.random_range(1..KEYS).into() } else { 0 };
                return ask(actor, Request::Range(Range { pieces, limit, ..all() })).await;
            }
            35..60 => {
                let number = actor.rng.random_range(0..KEYS);
                vec![put(actor, number)]
            }
            60..70 => vec![Op::Delete { key: key(actor.rng.random_range(0..KEYS)), end: None }],
            _ => {
                let (first, apart) = (actor.rng.random_range(0..KEYS / SPREAD), KEYS / SPREAD);
                (0..SPREAD).map(|step| put(actor, first + step * apart)).collect()
            }
        };
        ask(actor, Request::Txn(Txn { then, ..Default::default() })).await;
    }

    async fn finish(&self, actor: &mut Actor) {
        for pieces in [Pieces::One, Pieces::Streamed, Pieces::Pages(40)] {
            ask(actor, Request::Range(Range { pieces, ..all() })).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_long_in_the_store_and_short_in_the_history() {
        let mut found = KeyValue { value: long("1-00c0ffee"), ..Default::default() };
        assert!(found.value.len() > 20);
        short(&mut found);
        assert_eq!(found.value, "1-00c0ffee");
        // What was damaged on its way stays as it is, and fits nothing that was written.
        let mut damaged = KeyValue { value: long("1-00c0ffee") + "x", ..Default::default() };
        short(&mut damaged);
        assert_ne!(damaged.value, "1-00c0ffee");
    }
}
