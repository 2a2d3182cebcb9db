//! The Lock service: mutual exclusion for clients that cannot build it out of keys themselves.

use bytes::Bytes;
use tonic::{Request, Response, Status};
use tricorn_proto::etcdserverpb::DeleteRangeRequest;
use tricorn_proto::v3lockpb::lock_server::Lock;
use tricorn_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

use crate::caller::Caller;
use crate::concurrency::{Purpose, Wish, wait_for_turn};
use crate::shared::Shared;

#[tonic::async_trait]
impl Lock for Shared {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        self.require_leader(&request)?;
        let (caller, LockRequest { name, lease }) = Caller::of(self, request);
        let turn = wait_for_turn(caller, Wish { purpose: Purpose::Lock, name, lease, value: Bytes::new() }).await?;
        Ok(Response::new(LockResponse { header: turn.come, key: turn.key }))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        self.require_leader(&request)?;
        let (caller, UnlockRequest { key }) = Caller::of(self, request);
        let deleted = caller.delete_range(DeleteRangeRequest { key, ..DeleteRangeRequest::default() }).await?;
        Ok(Response::new(UnlockResponse { header: deleted.header }))
    }
}
