//! Queues made of keys, leases and watches, as etcd's clients make them. Whoever wants a turn puts a key under the name
//! that the others use too; the oldest key is the one whose turn it is. The key hangs on a lease, so that the turn of one
//! who has died ends by itself. Locks and elections are such queues.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::oneshot;
use tonic::Status;
use tricorn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tricorn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tricorn_proto::etcdserverpb::request_op::Request as Op;
use tricorn_proto::etcdserverpb::response_op::Response as Done;
use tricorn_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest, TxnResponse,
};
use tricorn_proto::mvccpb::KeyValue;
use tricorn_store::{Store, WatchMessage, WatchOptions};

use crate::caller::Caller;

/// Seconds that a lease lives which is made because the client has named none; etcd's number.
const SESSION_TTL_SECONDS: i64 = 60;

/// What a turn is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Lock,
    Election,
}

impl Purpose {
    /// What to say to one whose key has gone while it waited. etcd says so as well, if later; in an election it never looks.
    fn lost(self) -> Status {
        Status::unknown(match self {
            Self::Lock => "mutex: session is expired",
            Self::Election => NOT_LEADER,
        })
    }
}

/// etcd's words for a candidate that has not won, or has lost its key.
pub(crate) const NOT_LEADER: &str = "election: not leader";

/// A turn that is wanted.
pub(crate) struct Wish {
    pub purpose: Purpose,
    pub name: Bytes,
    /// 0: a new one is made.
    pub lease: i64,
    pub value: Bytes,
}

/// A turn that has come.
pub(crate) struct Turn {
    pub key: Bytes,
    /// The revision that made the key.
    pub revision: i64,
    pub lease: i64,
    /// When the key was put into the queue.
    pub entered: Option<ResponseHeader>,
    /// When its turn had come.
    pub come: Option<ResponseHeader>,
}

/// Waits for a turn. Whoever goes away meanwhile leaves the queue.
pub(crate) async fn wait_for_turn(caller: Caller, wish: Wish) -> Result<Turn, Status> {
    let (answer, answered) = oneshot::channel();
    // Apart from the call, which may be dropped at any point: leaving takes a write.
    caller.shared.background.clone().spawn(stand_in_queue(caller, wish, answer));
    answered.await.unwrap_or_else(|_| Err(Status::internal("etcdserver: the wait has ended without an answer")))
}

async fn stand_in_queue(caller: Caller, wish: Wish, mut answer: oneshot::Sender<Result<Turn, Status>>) {
    let place = match Place::enter(&caller, &wish).await {
        Ok(place) => place,
        // Whether anybody still listens makes no difference.
        Err(status) => return drop(answer.send(Err(status))),
    };
    let turn = tokio::select! {
        turn = place.turn(&wish) => turn,
        status = caller.cut_short() => Err(status),
        () = answer.closed() => Err(Status::cancelled("the client has gone")),
    };
    let failed = turn.is_err();
    if failed {
        // Before the answer: a client that has been told of a failure must not get the turn later.
        place.leave().await;
    }
    let undelivered = answer.send(turn).is_err();
    if undelivered && !failed && place.is_ours() {
        place.leave().await;
    }
}

/// A key in a queue.
struct Place<'a> {
    caller: &'a Caller,
    prefix: Bytes,
    key: Bytes,
    revision: i64,
    lease: i64,
    /// The lease was made for this very place.
    granted: bool,
    /// The key was made by this very call, not by an earlier one with the same lease.
    created: bool,
    /// Nobody was before it.
    first: bool,
    entered: Option<ResponseHeader>,
    /// What the key held before.
    found: Option<Bytes>,
}

impl<'a> Place<'a> {
    async fn enter(caller: &'a Caller, wish: &Wish) -> Result<Self, Status> {
        let granted = wish.lease == 0;
        let lease = lease_or_new(caller, wish.lease).await?;
        let entered = Self::enter_with(caller, wish, lease).await;
        match entered {
            Ok(place) => Ok(Self { granted, ..place }),
            Err(status) => {
                if granted {
                    give_back(caller, lease).await;
                }
                Err(status)
            }
        }
    }

    async fn enter_with(caller: &'a Caller, wish: &Wish, lease: i64) -> Result<Self, Status> {
        let prefix = prefix_of(&wish.name);
        let key = key_of(&prefix, lease);
        let put = PutRequest { key: key.clone(), value: wish.value.clone(), lease, ..PutRequest::default() };
        let request = TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![op(Op::RequestPut(put)), op(Op::RequestRange(oldest(&prefix)))],
            failure: vec![op(Op::RequestRange(one(&key))), op(Op::RequestRange(oldest(&prefix)))],
        };
        let response = caller.txn(request).await?;
        let entered = response.header;
        let mut revision = entered.as_ref().map_or(0, |header| header.revision);
        let mut found = None;
        if !response.succeeded {
            let kv = first(&response, 0).ok_or_else(|| Purpose::lost(wish.purpose))?;
            revision = kv.create_revision;
            found = Some(kv.value.clone());
        }
        let first = first(&response, 1).is_none_or(|oldest| oldest.create_revision == revision);
        let created = response.succeeded;
        Ok(Self { caller, prefix, key, revision, lease, granted: false, created, first, entered, found })
    }

    /// Returns when all keys that are older have gone.
    async fn turn(&self, wish: &Wish) -> Result<Turn, Status> {
        if wish.purpose == Purpose::Election && self.found.as_ref().is_some_and(|found| *found != wish.value) {
            proclaim(self.caller, &self.key, self.revision, self.lease, wish.value.clone()).await?;
        }
        let come = if self.first { self.entered } else { self.wait(wish.purpose).await? };
        Ok(Turn { key: self.key.clone(), revision: self.revision, lease: self.lease, entered: self.entered, come })
    }

    async fn wait(&self, purpose: Purpose) -> Result<Option<ResponseHeader>, Status> {
        let store = &self.caller.shared.store;
        loop {
            let before =
                RangeRequest { max_create_revision: self.revision - 1, sort_order: SortOrder::Descend.into(), ..oldest(&self.prefix) };
            let reads = vec![op(Op::RequestRange(one(&self.key))), op(Op::RequestRange(before))];
            let seen = self.caller.txn(TxnRequest { success: reads, ..TxnRequest::default() }).await?;
            if first(&seen, 0).is_none_or(|own| own.create_revision != self.revision) {
                return Err(purpose.lost());
            }
            // Only the one just before: when a turn ends, one waiter wakes, not all of them.
            let Some(before) = first(&seen, 1) else { return Ok(seen.header) };
            let from = seen.header.map_or(0, |header| header.revision) + 1;
            tokio::select! {
                deleted = deleted(store, &before.key, from) => deleted?,
                deleted = deleted(store, &self.key, from) => deleted?,
            }
        }
    }

    /// Whether leaving can harm nobody but this call.
    fn is_ours(&self) -> bool {
        self.created || !self.first
    }

    /// Takes the key away. Should that fail, it goes with its lease.
    async fn leave(&self) {
        if self.granted {
            return give_back(self.caller, self.lease).await;
        }
        if let Err(status) = resign(self.caller, &self.key, self.revision).await {
            tracing::debug!(%status, "a key of one who no longer waits is left to its lease");
        }
    }
}

/// The lease a client has named, or one made for it.
pub(crate) async fn lease_or_new(caller: &Caller, lease: i64) -> Result<i64, Status> {
    if lease != 0 {
        return Ok(lease);
    }
    caller.grant(LeaseGrantRequest { ttl: SESSION_TTL_SECONDS, id: 0 }).await.map(|granted| granted.id)
}

async fn give_back(caller: &Caller, lease: i64) {
    if let Err(status) = caller.revoke(lease).await {
        tracing::debug!(%status, lease, "a lease of one who no longer waits is left to expire");
    }
}

/// Gives a key another value, if it is still the one that was made at `revision`.
pub(crate) async fn proclaim(
    caller: &Caller,
    key: &Bytes,
    revision: i64,
    lease: i64,
    value: Bytes,
) -> Result<Option<ResponseHeader>, Status> {
    let put = PutRequest { key: key.clone(), value, lease, ..PutRequest::default() };
    let request = TxnRequest { compare: vec![created_at(key, revision)], success: vec![op(Op::RequestPut(put))], ..TxnRequest::default() };
    let response = caller.txn(request).await?;
    if response.succeeded { Ok(response.header) } else { Err(Status::unknown(NOT_LEADER)) }
}

/// Deletes a key, if it is still the one that was made at `revision`.
pub(crate) async fn resign(caller: &Caller, key: &Bytes, revision: i64) -> Result<Option<ResponseHeader>, Status> {
    let delete = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
    let request =
        TxnRequest { compare: vec![created_at(key, revision)], success: vec![op(Op::RequestDeleteRange(delete))], ..TxnRequest::default() };
    Ok(caller.txn(request).await?.header)
}

/// Returns when a key has been deleted at or after a revision, or when that cannot be told any more.
async fn deleted(store: &Store, key: &Bytes, from: i64) -> Result<(), Status> {
    let options = WatchOptions { key: key.clone(), start_revision: from, no_put: true, ..WatchOptions::default() };
    let mut watcher = store.watch(options);
    loop {
        match watcher.next().await {
            Some(WatchMessage::Progress { .. }) => {}
            Some(WatchMessage::Events { .. }) => return Ok(()),
            // That history is gone: whoever waits reads anew.
            Some(WatchMessage::Canceled { compact_revision, .. }) if compact_revision != 0 => return Ok(()),
            Some(WatchMessage::Canceled { reason, .. }) => return Err(Status::unavailable(reason)),
            None => return Err(Status::unavailable("etcdserver: server stopped")),
        }
    }
}

/// What all keys of a queue begin with.
pub(crate) fn prefix_of(name: &Bytes) -> Bytes {
    let mut prefix = BytesMut::with_capacity(name.len() + 1);
    prefix.put_slice(name);
    prefix.put_u8(b'/');
    prefix.freeze()
}

/// The first key behind all those of a queue: its prefix ends in a slash, and this is the next character.
pub(crate) fn end_of(prefix: &Bytes) -> Bytes {
    let mut end = BytesMut::from(prefix.as_ref());
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.freeze()
}

/// The key of a lease. Go prints a negative number in hexadecimal with its sign.
fn key_of(prefix: &Bytes, lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let mut key = BytesMut::from(prefix.as_ref());
    key.put_slice(format!("{sign}{:x}", lease.unsigned_abs()).as_bytes());
    key.freeze()
}

/// Reads the oldest key of a queue.
pub(crate) fn oldest(prefix: &Bytes) -> RangeRequest {
    RangeRequest {
        key: prefix.clone(),
        range_end: end_of(prefix),
        limit: 1,
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Create.into(),
        ..RangeRequest::default()
    }
}

fn one(key: &Bytes) -> RangeRequest {
    RangeRequest { key: key.clone(), ..RangeRequest::default() }
}

/// Holds for a key made at `revision`; 0: for one that is not there.
fn created_at(key: &Bytes, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.clone(),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
    }
}

fn op(op: Op) -> RequestOp {
    RequestOp { request: Some(op) }
}

/// The first key that the operation at `at` has read.
fn first(response: &TxnResponse, at: usize) -> Option<&KeyValue> {
    match response.responses.get(at)?.response.as_ref()? {
        Done::ResponseRange(range) => range.kvs.first(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{end_of, key_of, prefix_of};

    #[test]
    fn keys_are_named_as_etcd_names_them() {
        let prefix = prefix_of(&Bytes::from_static(b"jobs"));
        assert_eq!((&prefix[..], &end_of(&prefix)[..]), (&b"jobs/"[..], &b"jobs0"[..]));
        for (lease, key) in
            [(1, "jobs/1"), (0x694d_0a7b_33c1_f00d, "jobs/694d0a7b33c1f00d"), (-5, "jobs/-5"), (i64::MIN, "jobs/-8000000000000000")]
        {
            assert_eq!(key_of(&prefix, lease), key);
        }
        assert_eq!(prefix_of(&Bytes::new()), "/");
    }
}
