//! Registers that are read, written, and compared and swapped.

use super::{Actor, Workload, strange};
use crate::check::register::{Answer, REGISTER, Request};
use crate::kv;
use crate::target::{Client, Failure};
use async_trait::async_trait;
use rand::Rng;

const KEYS: u32 = 6;
const VALUES: i64 = 5;

/// See above.
pub struct Registers;

fn stored(key: &str) -> String {
    format!("r/{key}")
}

async fn ask(client: &Client, request: &Request) -> Result<Answer, Failure> {
    let put = |key: &str, value: i64| kv::Op::Put { key: stored(key), value: value.to_string(), lease: 0 };
    let asked = match request {
        Request::Read(key) => kv::Request::Range(kv::Range { key: stored(key), ..Default::default() }),
        Request::Write(key, value) => kv::Request::Txn(kv::Txn { then: vec![put(key, *value)], ..Default::default() }),
        Request::Cas(key, old, new) => kv::Request::Txn(kv::Txn {
            compares: vec![kv::Compare::Value(stored(key), old.to_string())],
            then: vec![put(key, *new)],
            ..Default::default()
        }),
    };
    match (request, client.ask(&asked).await?.result) {
        (Request::Read(_), kv::Result::Range(found)) => {
            let value = found.kvs.first().map(|kv| kv.value.parse().map_err(|_| strange(kv))).transpose()?;
            Ok(Answer { value, ..Default::default() })
        }
        (Request::Write(..), kv::Result::Txn { succeeded: true, .. }) => Ok(Answer::default()),
        (Request::Cas(..), kv::Result::Txn { succeeded, .. }) => Ok(Answer { swapped: Some(succeeded), ..Default::default() }),
        (_, result) => Err(strange(&result)),
    }
}

#[async_trait]
impl Workload for Registers {
    fn name(&self) -> &'static str {
        "register"
    }

    async fn step(&self, actor: &mut Actor) {
        let key = format!("{}", actor.rng.random_range(0..KEYS));
        let mut value = || actor.rng.random_range(0..VALUES);
        let (old, new) = (value(), value());
        let request = match actor.rng.random_range(0..3) {
            0 => Request::Read(key),
            1 => Request::Write(key, new),
            _ => Request::Cas(key, old, new),
        };
        actor.noted(REGISTER, &request, async |client| ask(client, &request).await).await;
    }
}
