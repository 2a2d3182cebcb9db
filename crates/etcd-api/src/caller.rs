//! Asking this door's own services on a client's behalf: with its rights and its wishes.

use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Response, Status};
use tricorn_proto::etcdserverpb::kv_server::Kv;
use tricorn_proto::etcdserverpb::lease_server::Lease;
use tricorn_proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, RangeRequest, RangeResponse,
    TxnRequest, TxnResponse,
};

use crate::shared::{Shared, no_leader, requires_leader};

/// Whoever has called a service that is built out of others.
pub(crate) struct Caller {
    pub shared: Shared,
    metadata: MetadataMap,
    extensions: Extensions,
}

impl Caller {
    /// Parts a request from the one who sent it.
    pub fn of<T>(shared: &Shared, request: Request<T>) -> (Self, T) {
        let (metadata, extensions, message) = request.into_parts();
        (Self { shared: shared.clone(), metadata, extensions }, message)
    }

    fn asking<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.metadata.clone(), self.extensions.clone(), message)
    }

    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        passed_on(Kv::range(&self.shared, self.asking(request)).await)
    }

    pub async fn delete_range(&self, request: DeleteRangeRequest) -> Result<DeleteRangeResponse, Status> {
        passed_on(Kv::delete_range(&self.shared, self.asking(request)).await)
    }

    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        passed_on(Kv::txn(&self.shared, self.asking(request)).await)
    }

    pub async fn grant(&self, request: LeaseGrantRequest) -> Result<LeaseGrantResponse, Status> {
        passed_on(Lease::lease_grant(&self.shared, self.asking(request)).await)
    }

    pub async fn revoke(&self, id: i64) -> Result<(), Status> {
        passed_on(Lease::lease_revoke(&self.shared, self.asking(LeaseRevokeRequest { id })).await).map(|_| ())
    }

    /// Returns when a wait has to end before what it waits for has come, with what to say then.
    pub async fn cut_short(&self) -> Status {
        let shared = &self.shared;
        tokio::select! {
            () = shared.stop.cancelled() => Status::unavailable("etcdserver: server stopped"),
            () = shared.leader_lost(shared.config.no_leader_grace), if requires_leader(&self.metadata) => no_leader(),
        }
    }
}

/// etcd's own client stands between these services and those that they are made of. What it passes on has kept its text and
/// lost its code. "Unavailable" is kept all the same: clients go to another member because of it.
fn passed_on<T>(answer: Result<Response<T>, Status>) -> Result<T, Status> {
    match answer {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if status.code() == Code::Unavailable => Err(status),
        Err(status) => Err(Status::unknown(status.message())),
    }
}
