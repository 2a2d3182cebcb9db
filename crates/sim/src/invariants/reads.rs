//! Reads are linearizable (etcd's KV API guarantees; Raft, section 8): what a read shows is the state at one revision, and that
//! revision is no older than anything that had happened when it was asked for. Serializable reads have no such floor, and show the
//! state at one revision all the same.

use super::Invariant;
use crate::event::Event;
use crate::ledger::Ledger;

/// Everything it needs is in the ledger.
pub struct Reads;

impl Invariant for Reads {
    fn name(&self) -> &'static str {
        "reads are linearizable"
    }

    fn after(&mut self, event: &Event, ledger: &Ledger, _now_ms: u64) -> Result<(), String> {
        let Event::Read { request, floor, revision, kvs } = event else { return Ok(()) };
        if !request.serializable && revision < floor {
            return Err(format!("a read shows revision {revision}, and {floor} had happened when it was asked for"));
        }
        if *revision > ledger.revision() {
            return Err(format!("a read shows revision {revision}, and only {} has happened", ledger.revision()));
        }
        let right = ledger.range_at(&request.key, &request.range_end, *revision);
        if *kvs == right { Ok(()) } else { Err(format!("a read at revision {revision} shows {kvs:?}, and there is {right:?}")) }
    }
}
