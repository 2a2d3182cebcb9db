//! The Election service: one leader among many candidates, with a value that it announces.

use futures::stream::{BoxStream, StreamExt, try_unfold};
use tonic::{Request, Response, Status};
use tricorn_proto::v3electionpb::election_server::Election;
use tricorn_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest, ProclaimResponse, ResignRequest,
    ResignResponse,
};

use crate::caller::Caller;
use crate::concurrency::{Purpose, Wish, lease_or_new, oldest, prefix_of, proclaim, resign, wait_for_turn};
use crate::observe::Observer;
use crate::shared::Shared;

#[tonic::async_trait]
impl Election for Shared {
    async fn campaign(&self, request: Request<CampaignRequest>) -> Result<Response<CampaignResponse>, Status> {
        self.require_leader(&request)?;
        let (caller, CampaignRequest { name, lease, value }) = Caller::of(self, request);
        let turn = wait_for_turn(caller, Wish { purpose: Purpose::Election, name: name.clone(), lease, value }).await?;
        let leader = LeaderKey { name, key: turn.key, rev: turn.revision, lease: turn.lease };
        // etcd tells when the candidate entered, not when it won.
        Ok(Response::new(CampaignResponse { header: turn.entered, leader: Some(leader) }))
    }

    async fn proclaim(&self, request: Request<ProclaimRequest>) -> Result<Response<ProclaimResponse>, Status> {
        self.require_leader(&request)?;
        let (caller, ProclaimRequest { leader, value }) = Caller::of(self, request);
        let leader = leader.ok_or_else(no_leader_key)?;
        let lease = lease_or_new(&caller, leader.lease).await?;
        let header = proclaim(&caller, &leader.key, leader.rev, lease, value).await?;
        Ok(Response::new(ProclaimResponse { header }))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        self.require_leader(&request)?;
        let (caller, LeaderRequest { name }) = Caller::of(self, request);
        let found = caller.range(oldest(&prefix_of(&name))).await?;
        let kv = found.kvs.into_iter().next().ok_or_else(|| Status::unknown("election: no leader"))?;
        Ok(Response::new(LeaderResponse { header: found.header, kv: Some(kv) }))
    }

    type ObserveStream = BoxStream<'static, Result<LeaderResponse, Status>>;

    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Self::ObserveStream>, Status> {
        self.require_leader(&request)?;
        let (caller, LeaderRequest { name }) = Caller::of(self, request);
        let observer = Observer::new(caller, prefix_of(&name));
        Ok(Response::new(try_unfold(observer, Observer::next).boxed()))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        self.require_leader(&request)?;
        let (caller, ResignRequest { leader }) = Caller::of(self, request);
        let leader = leader.ok_or_else(no_leader_key)?;
        let header = resign(&caller, &leader.key, leader.rev).await?;
        Ok(Response::new(ResignResponse { header }))
    }
}

fn no_leader_key() -> Status {
    Status::unknown("\"leader\" field must be provided")
}
