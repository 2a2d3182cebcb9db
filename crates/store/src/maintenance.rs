//! What operators ask of a member: how it is, who belongs to the group, alarms, checksums, snapshots, space.

use crate::error::{Error, Result};
use crate::host;
use crate::members::{MemberInfo, check_urls, list};
use crate::snapshot;
use crate::start;
use crate::store::{Store, complete, unexpected};
use crate::types::{Member, member_to_wire};
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use std::io;
use tokio::sync::mpsc;
use tricorn_mvcc::KvHash;
use tricorn_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmResponse};
use tricorn_proto::peer;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::change_request::Change;
use tricorn_proto::peer::command::Op;

/// A member at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// This member's id.
    pub member_id: u64,
    /// The cluster's id.
    pub cluster_id: u64,
    /// Who leads, when somebody does.
    pub leader: Option<u64>,
    /// The term of the present leader or election.
    pub term: u64,
    /// The last entry of this member's log.
    pub last_index: u64,
    /// The last entry known to be committed.
    pub committed_index: u64,
    /// The last entry applied here.
    pub applied_index: u64,
    /// The newest revision here.
    pub revision: i64,
    /// The last compaction; -1 when there was none.
    pub compacted: i64,
    /// Bytes the state takes.
    pub db_size: u64,
    /// The quota; 0 for none.
    pub quota: u64,
    /// This member follows and does not vote.
    pub is_learner: bool,
    /// Watches that are open here.
    pub watchers: usize,
    /// Proposals without an answer yet.
    pub pending_proposals: usize,
    /// What is wrong with this member; empty when nothing is.
    pub errors: Vec<String>,
}

/// A snapshot on its way.
pub struct SnapshotStream {
    /// The revision it was taken at.
    pub revision: i64,
    /// Its bytes, checksum included; an error ends it.
    pub chunks: mpsc::Receiver<io::Result<Bytes>>,
}

impl Store {
    /// The checksum of all revisions up to one; 0 for the newest. See [`KvHash`].
    pub async fn hash_kv(&self, revision: i64) -> Result<KvHash> {
        self.read(move |reader, access| access.root().and_then(|()| reader.hash(revision))).await
    }

    /// The checksum of everything that this member holds; see [`Reader::hash_everything`].
    pub async fn hash(&self) -> Result<u32> {
        self.read(|reader, access| access.root().and_then(|()| reader.hash_everything())).await
    }

    /// This member at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let node = self.node();
        let metrics: crate::members::Metrics = node.raft.metrics().borrow_watched().clone();
        let applied = *node.state.applied.borrow();
        let leadership = node.leadership.borrow().clone();
        let mut errors = Vec::new();
        if let Err(error) = &metrics.running_state {
            errors.push(format!("etcdserver: raft: {error}"));
        }
        if leadership.leader.is_none() {
            errors.push(Error::NoLeader.to_string());
        }
        Status {
            member_id: node.id,
            cluster_id: node.cluster_id,
            leader: leadership.leader,
            term: leadership.term,
            last_index: node.log.last_index(),
            committed_index: node.log.committed_index().max(applied.index),
            applied_index: applied.index,
            revision: applied.revision,
            compacted: node.state.compacted(),
            db_size: node.state.engine().size(),
            quota: node.quota(),
            is_learner: !metrics.membership_config.voter_ids().any(|voter| voter == node.id),
            watchers: node.state.hub.watchers(),
            pending_proposals: node.permits_taken(),
            errors,
        }
    }

    /// Raises, clears or lists alarms.
    pub async fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse> {
        match self.node().propose(&self.command(Op::Alarm(request), None).await?).await? {
            Reply::Alarm(mut response) => complete!(self, response),
            _ => unexpected(),
        }
    }

    /// The alarms that are on, of any member, as far as this one knows.
    #[must_use]
    pub fn alarms(&self) -> Vec<AlarmMember> {
        self.node().state.room().alarms.clone()
    }

    /// Bytes that the state may take on every member from now on, whatever their configurations say; 0 for no bound. Alarms about space
    /// are taken back.
    pub async fn set_quota(&self, bytes: u64) -> Result<()> {
        match self.node().propose(&self.command(Op::Quota(peer::SetQuota { bytes }), None).await?).await? {
            Reply::Quota(_) => Ok(()),
            _ => unexpected(),
        }
    }

    /// The members of the group; with `linearizable`, none older than the call.
    pub async fn members(&self, linearizable: bool) -> Result<Vec<MemberInfo>> {
        self.require_user().await?;
        if linearizable {
            self.node().read_barrier().await?;
        }
        Ok(list(&self.node().raft.server_metrics().borrow_watched().membership_config))
    }

    /// Adds a member as a learner. Unless it is to stay one, it votes as soon as it has caught up. Its id is returned; start it
    /// with [`crate::Bootstrap::Join`].
    pub async fn member_add(&self, name: String, peer_urls: Vec<String>, client_urls: Vec<String>, learner: bool) -> Result<u64> {
        check_urls(&peer_urls)?;
        self.require_root().await?;
        let id = start::random_id();
        let member = Member { name, peer_urls, client_urls, promote: !learner };
        self.node().change(Change::Add(member_to_wire(id, &member))).await?;
        Ok(id)
    }

    /// Removes a member; refused when the others that can be reached would be too few.
    pub async fn member_remove(&self, id: u64) -> Result<()> {
        self.require_root().await?;
        self.node().change(Change::Remove(id)).await
    }

    /// Lets a learner that has caught up vote.
    pub async fn member_promote(&self, id: u64) -> Result<()> {
        self.require_root().await?;
        self.node().change(Change::Promote(id)).await
    }

    /// Tells the group where a member is reached now.
    pub async fn member_update(&self, id: u64, peer_urls: Vec<String>) -> Result<()> {
        self.require_root().await?;
        check_urls(&peer_urls)?;
        let known = self.members(true).await?.into_iter().find(|member| member.id == id).ok_or(Error::MemberNotFound)?;
        let member = Member { peer_urls, ..known.member };
        self.node().change(Change::Update(member_to_wire(id, &member))).await
    }

    /// Hands leadership to a voter.
    pub async fn move_leader(&self, id: u64) -> Result<()> {
        self.require_root().await?;
        self.node().change(Change::Lead(id)).await
    }

    /// The whole state as a stream of bytes, with everything that was acknowledged before. See [`crate::restore`]. A member without a
    /// leader sends what it has: it may be all that is left of its group.
    pub async fn snapshot(&self) -> Result<SnapshotStream> {
        self.require_root().await?;
        if let Err(error) = self.node().read_barrier().await {
            tracing::warn!(%error, "a snapshot is sent though this member may be behind its group");
        }
        let sent = snapshot::send(self.node().state.engine(), self.node().cluster_id).await;
        let (head, chunks) = sent.map_err(|error| Error::disk("read the state for a snapshot", &error))?;
        Ok(SnapshotStream { revision: head.revision, chunks })
    }

    /// Gives back the space that deleted and compacted rows still take, in the background of everything else.
    pub async fn defragment(&self) -> Result<()> {
        self.require_root().await?;
        let engine = self.node().state.engine();
        let done = host::blocking(move || engine.reclaim()).await.map_err(|_| Error::Stopped)?;
        done.map_err(|error| Error::disk("give space back", &error))
    }
}
