//! The KV service.

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt, try_unfold};
use tonic::{Request, Response, Status};
use tricorn_proto::etcdserverpb::kv_server::Kv;
use tricorn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tricorn_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    RangeStreamResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use tricorn_proto::mvccpb::KeyValue;
use tricorn_store::Store;

use crate::error::status_of;
use crate::shared::{Shared, answer};

/// Bytes of keys and values that a chunk of a streamed range aims at.
const CHUNK_BYTES: usize = 1 << 20;
/// Keys in the first chunk, before it is known how large they are.
const FIRST_CHUNK_KEYS: i64 = 128;
/// Keys in a chunk at most.
const MAX_CHUNK_KEYS: i64 = 10_000;

#[tonic::async_trait]
impl Kv for Shared {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let store = self.admit(&request)?;
        answer(store.range(request.into_inner()).await)
    }

    type RangeStreamStream = BoxStream<'static, Result<RangeStreamResponse, Status>>;

    async fn range_stream(&self, request: Request<RangeRequest>) -> Result<Response<Self::RangeStreamStream>, Status> {
        let pages = Pages::new(self.admit(&request)?, request.into_inner())?;
        Ok(Response::new(try_unfold(pages, Pages::next).boxed()))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let store = self.admit(&request)?;
        answer(store.put(request.into_inner(), None).await)
    }

    async fn delete_range(&self, request: Request<DeleteRangeRequest>) -> Result<Response<DeleteRangeResponse>, Status> {
        let store = self.admit(&request)?;
        answer(store.delete_range(request.into_inner(), None).await)
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let store = self.admit(&request)?;
        answer(store.txn(request.into_inner(), None).await)
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        let store = self.admit(&request)?;
        answer(store.compact(request.into_inner()).await)
    }
}

/// A range read page by page, all pages at the revision of the first one.
struct Pages {
    store: Store,
    /// What is still to be read; its limit is the client's, less what has been sent. 0: no limit.
    rest: RangeRequest,
    page_keys: i64,
    /// Header and keys in the whole range, as the first page has them.
    first: Option<(Option<ResponseHeader>, i64)>,
    done: bool,
}

impl Pages {
    fn new(store: Store, request: RangeRequest) -> Result<Self, Status> {
        let sorted = request.sort_target() != SortTarget::Key || request.sort_order() == SortOrder::Descend;
        let filtered = [request.min_mod_revision, request.max_mod_revision, request.min_create_revision, request.max_create_revision];
        if sorted || filtered.iter().any(|bound| *bound != 0) {
            return Err(Status::unimplemented("etcdserver: range stream takes neither a sort order nor revision filters"));
        }
        Ok(Self { store, rest: request, page_keys: FIRST_CHUNK_KEYS, first: None, done: false })
    }

    async fn next(mut self) -> Result<Option<(RangeStreamResponse, Self)>, Status> {
        if self.done {
            return Ok(None);
        }
        let mut page = self.rest.clone();
        page.limit = if self.rest.limit > 0 { self.rest.limit.min(self.page_keys) } else { self.page_keys };
        let mut found = self.store.range(page).await.map_err(|error| status_of(&error))?;
        // The stream is one read: who goes on from its revision, as a watch does, must miss nothing that was written between its pages.
        let (header, count) = *self.first.get_or_insert((found.header, found.count));
        let sent = i64::try_from(found.kvs.len()).unwrap_or(i64::MAX);
        let limit_reached = self.rest.limit > 0 && self.rest.limit <= sent;
        match found.kvs.last() {
            Some(last) if found.more && !limit_reached => {
                self.adapt(&found.kvs);
                // Later pages read what the first one saw; the barrier has been passed.
                self.rest.revision = header.as_ref().map_or(self.rest.revision, |header| self.pin(header.revision));
                self.rest.serializable = true;
                self.rest.key = after(&last.key);
                self.rest.limit = if self.rest.limit > 0 { self.rest.limit - sent } else { 0 };
                found = RangeResponse { kvs: found.kvs, ..RangeResponse::default() };
            }
            _ => {
                self.done = true;
                (found.header, found.count) = (header, count);
            }
        }
        Ok(Some((RangeStreamResponse { range_response: Some(found) }, self)))
    }

    fn pin(&self, newest: i64) -> i64 {
        if self.rest.revision > 0 { self.rest.revision } else { newest }
    }

    /// Chooses the size of the next page by the size of this one's keys.
    fn adapt(&mut self, kvs: &[KeyValue]) {
        let bytes: usize = kvs.iter().map(|kv| kv.key.len() + kv.value.len() + 32).sum();
        let each = (bytes / kvs.len().max(1)).max(1);
        self.page_keys = i64::try_from(CHUNK_BYTES / each).unwrap_or(MAX_CHUNK_KEYS).clamp(1, MAX_CHUNK_KEYS);
    }
}

/// The first key behind `key`.
fn after(key: &Bytes) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
