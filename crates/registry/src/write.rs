//! Changing objects without losing anybody else's change: every write is one store transaction that holds only if the object is still what it
//! was when the change was made.

use crate::codec;
use crate::error::store_error;
use crate::keys::StoredResource;
use crate::object::Object;
use crate::registry::Registry;
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use tricorn_meta::Status;
use tricorn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::response_op::Response;
use tricorn_proto::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use tricorn_proto::mvccpb::KeyValue;

/// A change is tried again this often when others keep changing the object.
const MAX_ATTEMPTS: usize = 32;

/// How a write is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// The write happens in this term of the leader or not at all.
    pub fence: Option<u64>,
    /// Everything is done but the write itself.
    pub dry_run: bool,
}

/// What a change wants with the current object.
#[derive(Clone, Debug)]
pub enum Step {
    /// Write this.
    Put(Value),
    /// Delete the object.
    Delete,
    /// Leave it as it is.
    Keep,
}

/// The outcome of one conditional write.
enum Attempt {
    Done(i64),
    /// Somebody was faster; the object as it is now.
    Lost(Option<KeyValue>),
}

impl Registry {
    /// Stores a new object.
    pub async fn create(
        &self,
        resource: &StoredResource,
        namespace: &str,
        name: &str,
        value: Value,
        options: WriteOptions,
    ) -> Result<Arc<Object>, Status> {
        let key = resource.key(namespace, name);
        let stored = encode(&key, &value)?;
        if options.dry_run {
            if self.read(resource, namespace, name).await.is_ok() {
                return Err(Status::already_exists(&resource.group, &resource.plural, name));
            }
            return Object::unstored(value).map(Arc::new).map_err(|error| unreadable(&key, &error));
        }
        let lease = self.lease(resource).await?;
        match self.write(&key, 0, Some((stored.clone(), lease)), options).await? {
            Attempt::Done(revision) => written(&key, &stored, revision),
            Attempt::Lost(_) => Err(Status::already_exists(&resource.group, &resource.plural, name)),
        }
    }

    /// Changes an object: `change` is handed the current one and says what to do. It is called again with a newer one when somebody else was faster,
    /// and when it refuses what turns out not to have been the newest. The answer is the object as it is after the change; after a deletion, its last
    /// form with the revision of the deletion.
    pub async fn update<F, Fut>(
        &self,
        resource: &StoredResource,
        namespace: &str,
        name: &str,
        options: WriteOptions,
        mut change: F,
    ) -> Result<Arc<Object>, Status>
    where
        F: FnMut(Arc<Object>) -> Fut + Send,
        Fut: Future<Output = Result<Step, Status>> + Send,
    {
        let key = resource.key(namespace, name);
        let cache = self.cache(resource);
        let cached = if cache.is_ready() { cache.get(&key) } else { None };
        let mut newest = cached.is_none();
        let mut current = match cached {
            Some(object) => object,
            None => self.read(resource, namespace, name).await?,
        };
        for _ in 0..MAX_ATTEMPTS {
            let step = match change(current.clone()).await {
                Ok(step) => step,
                // What was refused may not have been the newest.
                Err(refusal) if !newest => {
                    let fresh = self.read(resource, namespace, name).await?;
                    newest = true;
                    if fresh.revision() == current.revision() {
                        return Err(refusal);
                    }
                    current = fresh;
                    continue;
                }
                Err(refusal) => return Err(refusal),
            };
            match self.step(resource, &key, &current, step, options, newest).await? {
                Ok(object) => return Ok(object),
                Err(Some(object)) => {
                    current = object;
                    newest = true;
                }
                Err(None) => return Err(Status::not_found(&resource.group, &resource.plural, name)),
            }
        }
        Err(Status::conflict(&resource.group, &resource.plural, name, "the object keeps being modified by others; please try again"))
    }

    /// Does one step; the inner error is the object that is there instead of `current`.
    async fn step(
        &self,
        resource: &StoredResource,
        key: &str,
        current: &Arc<Object>,
        step: Step,
        options: WriteOptions,
        newest: bool,
    ) -> Result<Result<Arc<Object>, Option<Arc<Object>>>, Status> {
        let lost = |kv: Option<KeyValue>| kv.and_then(crate::cache::read).map(Arc::new);
        match step {
            Step::Keep if newest => Ok(Ok(current.clone())),
            Step::Keep => {
                // Nothing is to be written, but what is answered must be the newest.
                let fresh = self.read_key(key).await?;
                Ok(if fresh.as_ref().is_some_and(|fresh| fresh.revision() == current.revision()) {
                    Ok(current.clone())
                } else {
                    Err(fresh)
                })
            }
            Step::Put(value) => {
                let stored = encode(key, &value)?;
                if options.dry_run {
                    return written(key, &stored, current.revision()).map(Ok);
                }
                let lease = self.lease(resource).await?;
                match self.write(key, current.revision(), Some((stored.clone(), lease)), options).await? {
                    Attempt::Done(revision) => written(key, &stored, revision).map(Ok),
                    Attempt::Lost(kv) => Ok(Err(lost(kv))),
                }
            }
            Step::Delete => {
                if options.dry_run {
                    return Ok(Ok(current.clone()));
                }
                match self.write(key, current.revision(), None, options).await? {
                    Attempt::Done(revision) => current.at(revision).map(|last| Ok(Arc::new(last))).map_err(|error| unreadable(key, &error)),
                    Attempt::Lost(kv) => Ok(Err(lost(kv))),
                }
            }
        }
    }

    async fn lease(&self, resource: &StoredResource) -> Result<i64, Status> {
        match resource.time_to_live {
            Some(time_to_live) => self.leases().get(self.store(), time_to_live).await,
            None => Ok(0),
        }
    }

    /// Puts or (`None`) deletes the key if it is still as `revision` left it; 0: if it is not there.
    async fn write(&self, key: &str, revision: i64, put: Option<(Bytes, i64)>, options: WriteOptions) -> Result<Attempt, Status> {
        let key_bytes = Bytes::copy_from_slice(key.as_bytes());
        let leased = put.as_ref().is_some_and(|(_, lease)| *lease != 0);
        let operation = match put {
            Some((value, lease)) => Request::RequestPut(PutRequest { key: key_bytes.clone(), value, lease, ..PutRequest::default() }),
            None => Request::RequestDeleteRange(DeleteRangeRequest { key: key_bytes.clone(), ..DeleteRangeRequest::default() }),
        };
        let unchanged = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key_bytes.clone(),
            target_union: Some(TargetUnion::ModRevision(revision)),
            range_end: Bytes::new(),
        };
        let look = Request::RequestRange(RangeRequest { key: key_bytes, ..RangeRequest::default() });
        let request = TxnRequest {
            compare: vec![unchanged],
            success: vec![RequestOp { request: Some(operation) }],
            failure: vec![RequestOp { request: Some(look) }],
        };
        let answer = self.store().txn(request, options.fence).await;
        if leased && answer.is_err() {
            self.leases().forget().await;
        }
        let answer = answer.map_err(|error| store_error("write", key, &error))?;
        let at = answer.header.as_ref().map_or(0, |header| header.revision);
        Ok(if answer.succeeded { Attempt::Done(at) } else { Attempt::Lost(found(answer)) })
    }
}

fn found(answer: TxnResponse) -> Option<KeyValue> {
    match answer.responses.into_iter().next()?.response? {
        Response::ResponseRange(range) => range.kvs.into_iter().next(),
        _ => None,
    }
}

fn encode(key: &str, value: &Value) -> Result<Bytes, Status> {
    codec::encode(value).map_err(|error| unreadable(key, &error))
}

/// An object that has just been written.
fn written(key: &str, stored: &[u8], revision: i64) -> Result<Arc<Object>, Status> {
    Object::decode(key.into(), stored, revision).map(Arc::new).map_err(|error| unreadable(key, &error))
}

fn unreadable(key: &str, error: &serde_json::Error) -> Status {
    Status::internal(format_args!("write {key} down: {error}"))
}
