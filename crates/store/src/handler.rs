//! What other members may ask of this one, whatever way they reach it.

use crate::counters::add;
use crate::error::{Error, Result};
use crate::host;
use crate::lessor::Renewal;
use crate::machine::SnapshotData;
use crate::network::{append_from_wire, reply_to_wire};
use crate::node::{Attempt, Node};
use crate::proposer::Load;
use crate::snapshot::Loader;
use crate::types::{from_wire, members_to_wire, to_wire, vote_from_wire, vote_to_wire};
use futures::StreamExt;
use futures::stream::BoxStream;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::StreamAppendError;
use openraft::raft::TransferLeaderRequest;
use openraft::raft::VoteRequest;
use prost::Message;
use std::io;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tricorn_proto::peer;
use tricorn_proto::peer::answer::Reply;

/// The answering half of a member.
pub struct Handler {
    node: Arc<Node>,
    /// One snapshot comes in at a time.
    installing: Mutex<()>,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Handler {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node, installing: Mutex::new(()) }
    }

    /// The cluster that this member is of.
    pub(crate) fn cluster_id(&self) -> u64 {
        self.node.cluster_id
    }

    /// Takes log entries from a leader.
    pub fn append(&self, requests: BoxStream<'static, peer::AppendRequest>) -> BoxStream<'static, io::Result<peer::AppendReply>> {
        let counters = self.node.counters.clone();
        let requests = requests.scan((), move |(), request| {
            add(&counters.peer_received_bytes, request.encoded_len() as u64);
            let request = append_from_wire(request);
            if let Err(error) = &request {
                tracing::warn!(%error, "a peer sent entries that cannot be read");
            }
            std::future::ready(request.ok())
        });
        let replies = self.node.raft.stream_append(requests.boxed());
        let node = self.node.clone();
        let replies = replies.inspect(move |reply| {
            // One with an older vote is no leader.
            if matches!(reply, Ok(Ok(_) | Err(StreamAppendError::Conflict(_)))) {
                node.heard.send_replace(Instant::now());
            }
        });
        replies.map(|reply| reply.map(|reply| reply_to_wire(&reply)).map_err(io::Error::other)).boxed()
    }

    /// Answers a candidate.
    pub async fn vote(&self, request: peer::VoteRequest) -> io::Result<peer::VoteReply> {
        let vote = vote_from_wire(request.vote.ok_or_else(|| invalid("a vote request without a vote"))?);
        let mut ask = VoteRequest::new(vote, request.last.map(from_wire));
        ask.leadership_transfer = request.leadership_transfer;
        let raft = &self.node.raft;
        let reply = if request.pre_vote { raft.pre_vote(ask).await } else { raft.vote(ask).await }.map_err(io::Error::other)?;
        Ok(peer::VoteReply { vote: Some(vote_to_wire(&reply.vote)), granted: reply.vote_granted, last: reply.last_log_id.map(to_wire) })
    }

    /// Stands for election at once.
    pub async fn transfer(&self, request: peer::TransferRequest) -> io::Result<peer::TransferReply> {
        let from = vote_from_wire(request.from.ok_or_else(|| invalid("a transfer without a vote"))?);
        let ask = TransferLeaderRequest::new(from, request.to, request.last.map(from_wire));
        let reply = self.node.raft.handle_transfer_leader(ask).await.map_err(io::Error::other)?;
        Ok(peer::TransferReply { refused: reply.err().map(|error| error.to_string()).unwrap_or_default() })
    }

    /// Takes a whole state from a leader, beside the present one, and puts it in its place once it is known to be whole.
    pub async fn install(&self, mut chunks: BoxStream<'static, peer::SnapshotChunk>) -> io::Result<peer::SnapshotReply> {
        let _alone =
            self.installing.try_lock().map_err(|_| io::Error::new(io::ErrorKind::WouldBlock, "a snapshot is coming in already"))?;
        let first = chunks.next().await.and_then(|chunk| chunk.meta).ok_or_else(|| invalid("a snapshot without a head"))?;
        let vote = vote_from_wire(first.vote.ok_or_else(|| invalid("a snapshot without a vote"))?);
        // Loader and engine go along to whoever writes, so that neither is dropped while it is written to.
        let mut staged = self.node.state.stage()?;
        let mut loader = Loader::new(staged.engine()?.clone());
        while let Some(chunk) = chunks.next().await {
            add(&self.node.counters.peer_received_bytes, chunk.data.len() as u64);
            let fed = host::blocking(move || {
                let fed = loader.feed(&chunk.data);
                (loader, staged, fed)
            });
            let result;
            (loader, staged, result) = fed.await.map_err(io::Error::other)?;
            result?;
        }
        let finished = host::blocking(move || (loader.finish(), staged)).await;
        let (head, staged) = finished.map_err(io::Error::other)?;
        let head = head?;
        if head.cluster_id != self.node.cluster_id {
            return Err(invalid("the snapshot is of another cluster"));
        }
        let snapshot = openraft::storage::Snapshot { meta: head.position.meta(), snapshot: SnapshotData::Staged(staged) };
        let reply = self.node.raft.install_full_snapshot(vote, snapshot).await.map_err(io::Error::other)?;
        Ok(peer::SnapshotReply { vote: Some(vote_to_wire(&reply.vote)) })
    }

    /// Proposes for a member that does not lead.
    pub async fn forward(&self, request: peer::ForwardRequest) -> peer::Answer {
        let reply = match self.propose(request.command).await {
            Ok(Attempt::Done(reply)) => reply,
            Ok(Attempt::Again) => Reply::Failure(Error::NotLeader.to_failure()),
            Err(error) => Reply::Failure(error.to_failure()),
        };
        peer::Answer { reply: Some(reply) }
    }

    async fn propose(&self, command: bytes::Bytes) -> Result<Attempt<Reply>> {
        let node = &self.node;
        let load = Load::forwarded(command)?;
        let count = u32::try_from(load.len()).unwrap_or(u32::MAX);
        let _permits = node.permits.try_acquire_many(count).map_err(|_| Error::TooManyRequests)?;
        node.ask(load, true, node.deadline()).await
    }

    /// How far a reader must have applied.
    pub async fn read_index(&self) -> peer::ReadIndexReply {
        match self.node.read_index(self.node.deadline()).await {
            Ok(Attempt::Done(index)) => peer::ReadIndexReply { index, failure: None },
            Ok(Attempt::Again) => peer::ReadIndexReply { index: 0, failure: Some(Error::NotLeader.to_failure()) },
            Err(error) => peer::ReadIndexReply { index: 0, failure: Some(error.to_failure()) },
        }
    }

    /// Renews a lease.
    pub async fn keep_alive(&self, lease: i64) -> peer::LeaseReply {
        match self.node.renew_here(lease).await {
            Ok(Renewal::Renewed { seconds, .. }) => peer::LeaseReply { granted: seconds, remaining: seconds, failure: None },
            Ok(Renewal::Gone) => peer::LeaseReply::default(),
            Err(error) => peer::LeaseReply { failure: Some(error.to_failure()), ..peer::LeaseReply::default() },
        }
    }

    /// What is left of a lease.
    pub fn time_left(&self, lease: i64) -> peer::LeaseReply {
        if !self.node.leadership.borrow().is_leader {
            return peer::LeaseReply { failure: Some(Error::NotLeader.to_failure()), ..peer::LeaseReply::default() };
        }
        let (granted, remaining) = self.node.state.lessor.time_left(lease).unwrap_or((0, 0));
        peer::LeaseReply { granted, remaining, failure: None }
    }

    /// Changes the group.
    pub async fn change(&self, request: peer::ChangeRequest) -> peer::ChangeReply {
        let result = match request.change {
            Some(change) => self.node.change_here(change).await,
            None => Err(Error::Raft("an empty change".into())),
        };
        peer::ChangeReply { failure: result.err().map(|error| error.to_failure()) }
    }

    /// Who is in the group.
    pub fn group(&self) -> peer::GroupReply {
        let membership = self.node.raft.server_metrics().borrow_watched().membership_config.clone();
        peer::GroupReply {
            cluster_id: self.node.cluster_id,
            membership: Some(members_to_wire(membership.membership())),
            leader: self.node.leadership.borrow().leader.unwrap_or(0),
        }
    }
}
