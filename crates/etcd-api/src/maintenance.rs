//! The Maintenance service.

use futures::stream::{BoxStream, StreamExt, try_unfold};
use tonic::{Request, Response, Status};
use tricorn_proto::etcdserverpb::downgrade_request::DowngradeAction;
use tricorn_proto::etcdserverpb::maintenance_server::Maintenance;
use tricorn_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeInfo, DowngradeRequest, DowngradeResponse, HashKvRequest,
    HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse, ResponseHeader, SnapshotRequest, SnapshotResponse,
    StatusRequest, StatusResponse,
};
use tricorn_store::SnapshotStream;

use crate::config::ETCD_VERSION;
use crate::error::status_of;
use crate::shared::{Shared, answer};
use crate::snapshot_file::Sealer;

#[tonic::async_trait]
impl Maintenance for Shared {
    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        let store = self.admit(&request)?;
        answer(store.alarm(request.into_inner()).await)
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.admit(&request)?.require_user().await.map_err(|error| status_of(&error))?;
        let mut now = self.store.status();
        let alarms = self.store.alarms();
        now.errors.extend(alarms.iter().map(|alarm| format!("memberID:{} alarm:{} ", alarm.member_id, alarm.alarm().as_str_name())));
        let size = i64::try_from(now.db_size).unwrap_or(i64::MAX);
        Ok(Response::new(StatusResponse {
            header: Some(self.store.header()),
            version: ETCD_VERSION.to_owned(),
            db_size: size,
            leader: now.leader.unwrap_or(0),
            raft_index: now.committed_index,
            raft_term: now.term,
            raft_applied_index: now.applied_index,
            errors: now.errors,
            db_size_in_use: size,
            is_learner: now.is_learner,
            storage_version: "3.6.0".to_owned(),
            db_size_quota: i64::try_from(now.quota).unwrap_or(i64::MAX),
            downgrade_info: Some(DowngradeInfo::default()),
        }))
    }

    async fn defragment(&self, request: Request<DefragmentRequest>) -> Result<Response<DefragmentResponse>, Status> {
        self.admit(&request)?.defragment().await.map_err(|error| status_of(&error))?;
        Ok(Response::new(DefragmentResponse { header: Some(self.store.header()) }))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let store = self.admit(&request)?;
        let work = async { Ok(HashResponse { header: Some(self.store.header()), hash: store.hash().await? }) };
        answer(work.await)
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        let store = self.admit(&request)?;
        let work = async {
            let found = store.hash_kv(request.get_ref().revision).await?;
            Ok(HashKvResponse {
                header: Some(self.store.header()),
                hash: found.hash,
                compact_revision: found.compacted,
                hash_revision: found.revision,
            })
        };
        answer(work.await)
    }

    type SnapshotStream = BoxStream<'static, Result<SnapshotResponse, Status>>;

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Result<Response<Self::SnapshotStream>, Status> {
        let stream = self.admit(&request)?.snapshot().await.map_err(|error| status_of(&error))?;
        let header = ResponseHeader { revision: stream.revision, ..self.store.header() };
        let outgoing = Outgoing { header: Some(header), stream, sealer: Some(Sealer::default()) };
        Ok(Response::new(try_unfold(outgoing, Outgoing::next).boxed()))
    }

    async fn move_leader(&self, request: Request<MoveLeaderRequest>) -> Result<Response<MoveLeaderResponse>, Status> {
        let store = self.admit(&request)?;
        store.require_root().await.map_err(|error| status_of(&error))?;
        // etcd takes this from its leader only, and its clients look for the leader because of that.
        if !self.store.leadership().borrow().is_leader {
            return Err(Status::failed_precondition("etcdserver: not leader"));
        }
        store.move_leader(request.get_ref().target_id).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(MoveLeaderResponse { header: Some(self.store.header()) }))
    }

    /// There is no earlier version whose data directory this one could leave behind, so that every version is the wrong one to go
    /// down to, in etcd's words; and no downgrade is ever on its way.
    async fn downgrade(&self, request: Request<DowngradeRequest>) -> Result<Response<DowngradeResponse>, Status> {
        self.admit(&request)?.require_root().await.map_err(|error| status_of(&error))?;
        let request = request.get_ref();
        Err(match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate | DowngradeAction::Enable) if is_version(&request.version) => {
                Status::invalid_argument("etcdserver: invalid downgrade target version")
            }
            Ok(DowngradeAction::Validate | DowngradeAction::Enable) => {
                Status::invalid_argument("etcdserver: wrong downgrade target version format")
            }
            Ok(DowngradeAction::Cancel) => Status::failed_precondition("etcdserver: no inflight downgrade job"),
            Err(_) => Status::unknown("etcdserver: unknown method"),
        })
    }
}

/// Whether this is `MAJOR.MINOR` or `MAJOR.MINOR.PATCH`.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    matches!(parts.len(), 2 | 3) && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

/// A snapshot on its way to a client.
struct Outgoing {
    /// Goes with every chunk.
    header: Option<ResponseHeader>,
    stream: SnapshotStream,
    /// Gone once the last chunk has been sent.
    sealer: Option<Sealer>,
}

impl Outgoing {
    async fn next(mut self) -> Result<Option<(SnapshotResponse, Self)>, Status> {
        let Some(mut sealer) = self.sealer.take() else { return Ok(None) };
        let blob = match self.stream.chunks.recv().await {
            Some(Ok(chunk)) => {
                sealer.pass(&chunk);
                self.sealer = Some(sealer);
                chunk
            }
            Some(Err(error)) => return Err(Status::internal(format!("etcdserver: snapshot: {error}"))),
            None => sealer.seal(),
        };
        // How much follows is not known: the state is streamed, not first written to a file.
        let remaining_bytes = u64::from(self.sealer.is_some());
        let response = SnapshotResponse { header: self.header, remaining_bytes, blob, version: ETCD_VERSION.to_owned() };
        Ok(Some((response, self)))
    }
}
