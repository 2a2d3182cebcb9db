//! The Lease service.

use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use tonic::{Request, Response, Status, Streaming};
use tricorn_proto::etcdserverpb::lease_server::Lease;
use tricorn_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest, LeaseLeasesResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};

use crate::error::status_of;
use crate::shared::{Shared, answer, no_leader, requires_leader};

#[tonic::async_trait]
impl Lease for Shared {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        let store = self.admit(&request)?;
        answer(store.lease_grant(request.into_inner()).await)
    }

    async fn lease_revoke(&self, request: Request<LeaseRevokeRequest>) -> Result<Response<LeaseRevokeResponse>, Status> {
        let store = self.admit(&request)?;
        answer(store.lease_revoke(request.into_inner().id).await)
    }

    type LeaseKeepAliveStream = BoxStream<'static, Result<LeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let store = self.admit(&request)?;
        let wants_leader = requires_leader(request.metadata());
        let end = {
            let shared = self.clone();
            async move {
                tokio::select! {
                    () = shared.stop.cancelled() => Err(Status::unavailable("etcdserver: server stopped")),
                    () = shared.leader_lost(shared.config.no_leader_grace), if wants_leader => Err(no_leader()),
                }
            }
        };
        // One renewal at a time, in the order asked: a client that asks faster waits.
        let renewals = request.into_inner().and_then(move |renewal| {
            let store = store.clone();
            async move { store.lease_keep_alive(renewal.id).await.map_err(|error| status_of(&error)) }
        });
        // The ending, when it comes first, is the last thing said.
        let ended = futures::stream::once(end).map(Some);
        let renewals = renewals.map(Some).chain(futures::stream::once(async { None }));
        let merged = futures::stream::select(renewals, ended).scan(false, |over, item| {
            let stop = *over || item.is_none();
            *over = stop || matches!(item, Some(Err(_)));
            futures::future::ready(if stop { None } else { item })
        });
        Ok(Response::new(merged.boxed()))
    }

    async fn lease_time_to_live(&self, request: Request<LeaseTimeToLiveRequest>) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let store = self.admit(&request)?;
        answer(store.lease_time_to_live(request.into_inner()).await)
    }

    async fn lease_leases(&self, request: Request<LeaseLeasesRequest>) -> Result<Response<LeaseLeasesResponse>, Status> {
        let store = self.admit(&request)?;
        answer(store.leases().await)
    }
}
