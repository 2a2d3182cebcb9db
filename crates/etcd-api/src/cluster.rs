//! The Cluster service: who belongs to the group.

use tonic::{Request, Response, Status};
use tricorn_proto::etcdserverpb::cluster_server::Cluster;
use tricorn_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest, MemberPromoteResponse,
    MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse,
};
use tricorn_store::{MemberInfo, Result, Store};

use crate::shared::{Shared, answer};

#[tonic::async_trait]
impl Cluster for Shared {
    async fn member_add(&self, request: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        let store = self.admit(&request)?;
        answer(add(&store, request.into_inner()).await)
    }

    async fn member_remove(&self, request: Request<MemberRemoveRequest>) -> Result<Response<MemberRemoveResponse>, Status> {
        let store = self.admit(&request)?;
        let work = async {
            store.member_remove(request.get_ref().id).await?;
            Ok(MemberRemoveResponse { header: Some(store.header()), members: list(&store, false).await? })
        };
        answer(work.await)
    }

    async fn member_update(&self, request: Request<MemberUpdateRequest>) -> Result<Response<MemberUpdateResponse>, Status> {
        let store = self.admit(&request)?;
        let work = async {
            let MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
            store.member_update(id, peer_ur_ls).await?;
            Ok(MemberUpdateResponse { header: Some(store.header()), members: list(&store, false).await? })
        };
        answer(work.await)
    }

    async fn member_list(&self, request: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        let store = self.admit(&request)?;
        let work = async {
            let members = list(&store, request.get_ref().linearizable).await?;
            Ok(MemberListResponse { header: Some(store.header()), members })
        };
        answer(work.await)
    }

    async fn member_promote(&self, request: Request<MemberPromoteRequest>) -> Result<Response<MemberPromoteResponse>, Status> {
        let store = self.admit(&request)?;
        let work = async {
            store.member_promote(request.get_ref().id).await?;
            Ok(MemberPromoteResponse { header: Some(store.header()), members: list(&store, false).await? })
        };
        answer(work.await)
    }
}

/// etcd learns a member's name and client URLs when it starts; so does the store.
async fn add(store: &Store, request: MemberAddRequest) -> Result<MemberAddResponse> {
    let id = store.member_add(String::new(), request.peer_ur_ls, Vec::new(), request.is_learner).await?;
    let members = list(store, false).await?;
    let member = members.iter().find(|member| member.id == id).cloned();
    Ok(MemberAddResponse { header: Some(store.header()), member, members })
}

async fn list(store: &Store, linearizable: bool) -> Result<Vec<Member>> {
    Ok(store.members(linearizable).await?.into_iter().map(to_wire).collect())
}

fn to_wire(info: MemberInfo) -> Member {
    let MemberInfo { id, member, is_learner } = info;
    Member { id, name: member.name, peer_ur_ls: member.peer_urls, client_ur_ls: member.client_urls, is_learner }
}
