//! openraft's network on top of links.

use crate::counters::{Counters, add};
use crate::link::{Lane, LinkError, LinkResult, Links};
use crate::machine::SnapshotData;
use crate::types::{Member, SnapshotMeta, Types, VoteOf, entry_from_wire, entry_to_wire, from_wire, to_wire, vote_from_wire, vote_to_wire};
use anyerror::AnyError;
use futures::{Stream, StreamExt};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftTypeConfig};
use parking_lot::Mutex;
use prost::Message;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tricorn_proto::peer;
use tricorn_proto::peer::append_reply::Result as Reply;

/// Between two tries to open a stream of entries to a member that is not there: openraft asks again at once, since its own back-off
/// begins with the stream.
const REDIAL: Duration = Duration::from_millis(100);
/// How long votes and transfers wait for their answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Commands of this many bytes are most of the message that they came in, and stay where they are.
const COMPACTED_BYTES: usize = 64 << 10;

type SnapshotOut = openraft::storage::Snapshot<openraft::type_config::alias::CommittedLeaderIdOf<Types>, u64, Member, SnapshotData>;

/// Makes a network for each member and lane.
pub(crate) struct Networks {
    pub links: Arc<Links>,
    pub counters: Arc<Counters>,
}

impl Networks {
    fn network(&self, target: u64, member: &Member, lane: Lane) -> Network {
        self.links.learn(target, &member.peer_urls);
        Network { links: self.links.clone(), counters: self.counters.clone(), target, lane, refused: false, pulse: None }
    }
}

impl RaftNetworkFactory<Types> for Networks {
    type Network = Network;

    async fn new_client(&mut self, target: u64, node: &Member) -> Network {
        self.network(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Network {
        self.network(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Member) -> Network {
        self.network(target, node, Lane::Bulk)
    }
}

pub(crate) struct Network {
    links: Arc<Links>,
    counters: Arc<Counters>,
    target: u64,
    lane: Lane,
    /// The last stream of entries could not be opened.
    refused: bool,
    /// Where the next heartbeat goes.
    pulse: Option<Pulse>,
}

/// A stream that heartbeats go through one after the other. openraft would have a stream for each, and to open one costs more than all else of
/// a heartbeat: each round of readers has one to every member.
struct Pulse {
    requests: mpsc::Sender<peer::AppendRequest>,
    /// Never locked: openraft wants networks that threads could share, which a stream is not.
    replies: Mutex<BoxStream<'static, LinkResult<peer::AppendReply>>>,
}

impl Pulse {
    async fn beat(&mut self, request: peer::AppendRequest) -> LinkResult<peer::AppendReply> {
        let ended = || LinkError { unsent: false, late: false, reason: "the stream of heartbeats has ended".to_owned() };
        self.requests.send(request).await.map_err(|_| ended())?;
        self.replies.get_mut().next().await.ok_or_else(ended)?
    }
}

fn rpc_error(error: &LinkError) -> RPCError<Types> {
    if error.unsent { RPCError::Unreachable(Unreachable::new(error)) } else { RPCError::Network(NetworkError::new(error)) }
}

fn malformed(what: &str) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(&AnyError::error(format!("malformed {what}"))))
}

pub(crate) fn append_to_wire(request: &AppendEntriesRequest<Types>) -> peer::AppendRequest {
    peer::AppendRequest {
        vote: Some(vote_to_wire(&request.vote)),
        previous: request.prev_log_id.map(to_wire),
        entries: request.entries.iter().map(entry_to_wire).collect(),
        committed: request.leader_commit.map(to_wire),
    }
}

pub(crate) fn append_from_wire(request: peer::AppendRequest) -> io::Result<AppendEntriesRequest<Types>> {
    let vote = request.vote.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "append without a vote"))?;
    Ok(AppendEntriesRequest {
        vote: vote_from_wire(vote),
        prev_log_id: request.previous.map(from_wire),
        entries: request.entries.into_iter().map(|entry| entry_from_wire(compact(entry))).collect::<io::Result<_>>()?,
        leader_commit: request.committed.map(from_wire),
    })
}

/// Parts a command from the message that it came in: the log keeps entries for a while, and would keep a larger buffer with each.
fn compact(mut entry: peer::Entry) -> peer::Entry {
    if let Some(peer::entry::Payload::Command(command)) = &mut entry.payload
        && command.len() < COMPACTED_BYTES
    {
        *command = bytes::Bytes::copy_from_slice(command);
    }
    entry
}

pub(crate) fn reply_to_wire(result: &StreamAppendResult<Types>) -> peer::AppendReply {
    let result = match result {
        Ok(matched) => Reply::Matched(peer::Matched { last: matched.map(to_wire) }),
        Err(StreamAppendError::Conflict(id)) => Reply::Conflict(to_wire(*id)),
        Err(StreamAppendError::HigherVote(vote)) => Reply::HigherVote(vote_to_wire(vote)),
    };
    peer::AppendReply { result: Some(result) }
}

fn reply_from_wire(reply: peer::AppendReply) -> Result<StreamAppendResult<Types>, RPCError<Types>> {
    match reply.result {
        Some(Reply::Matched(matched)) => Ok(Ok(matched.last.map(from_wire))),
        Some(Reply::Conflict(id)) => Ok(Err(StreamAppendError::Conflict(from_wire(id)))),
        Some(Reply::HigherVote(vote)) => Ok(Err(StreamAppendError::HigherVote(vote_from_wire(vote)))),
        None => Err(malformed("answer to append")),
    }
}

pub(crate) fn meta_to_wire(meta: &SnapshotMeta, vote: Option<&VoteOf>) -> peer::SnapshotMeta {
    peer::SnapshotMeta {
        vote: vote.map(vote_to_wire),
        last: meta.last_log_id.map(to_wire),
        membership_id: meta.last_membership.log_id().map(to_wire),
        membership: Some(crate::types::members_to_wire(meta.last_membership.membership())),
    }
}

impl Network {
    /// One heartbeat. The stream is kept only when the answer has come: one that comes later would be taken for the next one's.
    async fn beat(&mut self, request: peer::AppendRequest) -> LinkResult<peer::AppendReply> {
        // The member may have been started anew since.
        if let Some(mut kept) = self.pulse.take()
            && let Ok(reply) = kept.beat(request.clone()).await
        {
            self.pulse = Some(kept);
            return Ok(reply);
        }
        let (requests, beats) = mpsc::channel(1);
        let link = self.links.get(self.target, self.lane)?;
        let mut pulse = Pulse { requests, replies: Mutex::new(link.append(ReceiverStream::new(beats).boxed()).await?) };
        let reply = pulse.beat(request).await?;
        self.pulse = Some(pulse);
        Ok(reply)
    }

    async fn ask_vote(&self, rpc: VoteRequest<Types>, pre_vote: bool) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let request = peer::VoteRequest {
            vote: Some(vote_to_wire(&rpc.vote)),
            last: rpc.last_log_id.map(to_wire),
            leadership_transfer: rpc.leadership_transfer,
            pre_vote,
        };
        let link = self.links.get(self.target, Lane::Control).map_err(|error| rpc_error(&error))?;
        let reply = link.vote(request, PATIENCE).await.map_err(|error| rpc_error(&error))?;
        let vote = reply.vote.ok_or_else(|| malformed("answer to a vote"))?;
        Ok(VoteResponse::new(vote_from_wire(vote), reply.last.map(from_wire), reply.granted))
    }
}

impl RaftNetworkV2<Types> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let input = Box::pin(futures::stream::once(async move { rpc }));
        let mut output = RaftNetworkV2::stream_append(self, input, option).await?;
        match output.next().await {
            Some(result) => Ok(result?.into()),
            None => Err(malformed("answer to append")),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let counters = self.counters.clone();
        let written = move |request: AppendEntriesRequest<Types>| {
            let request = append_to_wire(&request);
            add(&counters.peer_sent_bytes, request.encoded_len() as u64);
            request
        };
        if self.lane == Lane::Control {
            return Box::pin(async move {
                let request = input.next().await.ok_or_else(|| malformed("heartbeat"))?;
                let reply = self.beat(written(request)).await.map_err(|error| rpc_error(&error))?;
                let replies = futures::stream::once(std::future::ready(reply_from_wire(reply)));
                Ok::<BoxStream<'s, _>, _>(Box::pin(replies))
            });
        }
        let requests = input.map(written);
        Box::pin(async move {
            if self.refused {
                tokio::time::sleep(REDIAL).await;
            }
            self.refused = true;
            let link = self.links.get(self.target, self.lane).map_err(|error| rpc_error(&error))?;
            let replies = link.append(requests.boxed()).await.map_err(|error| rpc_error(&error))?;
            self.refused = false;
            let replies = replies.map(|reply| reply_from_wire(reply.map_err(|error| rpc_error(&error))?));
            Ok::<BoxStream<'s, _>, _>(Box::pin(replies))
        })
    }

    async fn vote(&mut self, rpc: VoteRequest<Types>, _option: RPCOption) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(rpc, false).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<Types>, _option: RPCOption) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(rpc, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: <Types as RaftTypeConfig>::Vote,
        snapshot: SnapshotOut,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotData::Outgoing(chunks) = snapshot.snapshot else {
            return Err(StreamingError::Network(NetworkError::new(&AnyError::error("the snapshot has no rows to send"))));
        };
        let first = peer::SnapshotChunk { meta: Some(meta_to_wire(&snapshot.meta, Some(&vote))), data: bytes::Bytes::new() };
        let counters = self.counters.clone();
        // A read error cuts the stream short; the receiver misses the checksum.
        let rows = ReceiverStream::new(chunks).scan((), move |(), chunk| {
            std::future::ready(match chunk {
                Ok(data) => {
                    add(&counters.peer_sent_bytes, data.len() as u64);
                    Some(peer::SnapshotChunk { meta: None, data })
                }
                Err(error) => {
                    tracing::warn!(%error, "reading the state for a snapshot failed");
                    None
                }
            })
        });
        let stream = futures::stream::once(async move { first }).chain(rows).boxed();
        let unreachable = |error: &LinkError| StreamingError::Unreachable(Unreachable::new(error));
        let link = self.links.get(self.target, Lane::Bulk).map_err(|error| unreachable(&error))?;
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            reply = link.install(stream) => {
                let reply = reply.map_err(|error| unreachable(&error))?;
                let vote = reply.vote.ok_or_else(|| StreamingError::Network(NetworkError::new(&AnyError::error("malformed answer"))))?;
                Ok(SnapshotResponse::new(vote_from_wire(vote)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let wire = peer::TransferRequest {
            from: Some(vote_to_wire(request.from_leader())),
            to: *request.to_node_id(),
            last: request.last_log_id().map(|id| to_wire(*id)),
        };
        let link = self.links.get(self.target, Lane::Control).map_err(|error| rpc_error(&error))?;
        let reply = link.transfer(wire, PATIENCE).await.map_err(|error| rpc_error(&error))?;
        if reply.refused.is_empty() {
            return Ok(Ok(()));
        }
        tracing::info!(target = self.target, reason = %reply.refused, "leadership was not taken over");
        Ok(Err(TransferLeaderError::LogNotFlushed { expected: request.last_log_id().copied(), actual: None }))
    }

    fn backoff(&self) -> Option<Backoff> {
        // A member that comes back should not wait long to be heard of.
        Some(Backoff::new(std::iter::repeat(REDIAL)))
    }
}
