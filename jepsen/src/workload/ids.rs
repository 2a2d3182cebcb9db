//! Unique ids from one counter: read it, and take the next number if nobody else has.

use super::{Actor, Workload, strange};
use crate::check::ids::{ID, Made};
use crate::kv;
use crate::target::{Client, Failure};
use async_trait::async_trait;

const COUNTER: &str = "ids/counter";
const TRIES: usize = 5;

/// See above.
pub struct Ids;

async fn take(client: &Client) -> Result<Made, Failure> {
    for _ in 0..TRIES {
        let asked = kv::Request::Range(kv::Range { key: COUNTER.into(), ..Default::default() });
        let answer = client.ask(&asked).await.map_err(|failure| Failure::Not(failure.to_string()))?;
        let kv::Result::Range(found) = answer.result else { return Err(strange(&answer)) };
        let (revision, last) = found.kvs.first().map_or((0, Ok(0)), |kv| (kv.mod_revision, kv.value.parse::<i64>()));
        let next = last.map_err(|error| strange(&error))? + 1;
        let put = kv::Op::Put { key: COUNTER.into(), value: next.to_string(), lease: 0 };
        let compares = vec![kv::Compare::ModRevision(COUNTER.into(), revision)];
        match client.ask(&kv::Request::Txn(kv::Txn { compares, then: vec![put], ..Default::default() })).await?.result {
            kv::Result::Txn { succeeded: true, .. } => return Ok(Made { id: next.into() }),
            kv::Result::Txn { succeeded: false, .. } => {}
            result => return Err(strange(&result)),
        }
    }
    Err(Failure::Not("others were faster".into()))
}

#[async_trait]
impl Workload for Ids {
    fn name(&self) -> &'static str {
        "ids"
    }

    async fn step(&self, actor: &mut Actor) {
        actor.noted(ID, &(), async |client| take(client).await).await;
    }
}
