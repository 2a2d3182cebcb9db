//! How one member reaches another. The real way is gRPC; a simulation brings its own.

use crate::error::Error;
use async_trait::async_trait;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error as ThisError;
use tricorn_proto::peer::{
    Answer, AppendReply, AppendRequest, ChangeReply, ChangeRequest, ForwardRequest, GroupReply, LeaseReply, ReadIndexReply, SnapshotChunk,
    SnapshotReply, TransferReply, TransferRequest, VoteReply, VoteRequest,
};

/// A message that got no answer.
#[derive(Debug, Clone, ThisError)]
#[error("peer: {reason}")]
pub struct LinkError {
    /// The other member certainly has not seen it.
    pub unsent: bool,
    /// No answer in time.
    pub late: bool,
    /// What happened.
    pub reason: String,
}

impl LinkError {
    /// What it means for a write that was forwarded.
    pub(crate) fn for_write(&self) -> Error {
        if self.late { Error::Timeout } else { Error::LeaderChanged }
    }
}

/// The answer of another member.
pub type LinkResult<T> = Result<T, LinkError>;

/// What travels in which connection: bulk never delays signs of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Log entries.
    Log,
    /// Votes, heartbeats, read indexes, forwarded requests.
    Control,
    /// Snapshots.
    Bulk,
}

/// Opens links.
pub trait Transport: Send + Sync + 'static {
    /// Says which cluster this member is of, before it asks for anything but who is in a group. The others must be of the same one.
    fn belongs_to(&self, _cluster_id: u64) {}
    /// A link to the member at one of `urls`; connects when it is used, and again when that breaks.
    fn link(&self, urls: &[String], lane: Lane) -> Arc<dyn Link>;
}

/// One connection to one member.
#[async_trait]
pub trait Link: Send + Sync + 'static {
    /// Sends log entries, without waiting for one answer before the next request; answers come in order.
    async fn append(&self, requests: BoxStream<'static, AppendRequest>) -> LinkResult<BoxStream<'static, LinkResult<AppendReply>>>;
    /// Asks for a vote.
    async fn vote(&self, request: VoteRequest, within: Duration) -> LinkResult<VoteReply>;
    /// Has the other stand for election at once.
    async fn transfer(&self, request: TransferRequest, within: Duration) -> LinkResult<TransferReply>;
    /// Sends a whole state.
    async fn install(&self, chunks: BoxStream<'static, SnapshotChunk>) -> LinkResult<SnapshotReply>;
    /// Has the leader propose a command.
    async fn forward(&self, request: ForwardRequest, within: Duration) -> LinkResult<Answer>;
    /// Asks the leader how far a reader must have applied.
    async fn read_index(&self, within: Duration) -> LinkResult<ReadIndexReply>;
    /// Has the leader renew a lease.
    async fn keep_alive(&self, lease: i64, within: Duration) -> LinkResult<LeaseReply>;
    /// Asks the leader what is left of a lease.
    async fn time_left(&self, lease: i64, within: Duration) -> LinkResult<LeaseReply>;
    /// Has the leader change the group.
    async fn change(&self, request: ChangeRequest, within: Duration) -> LinkResult<ChangeReply>;
    /// Asks who is in the group.
    async fn group(&self, within: Duration) -> LinkResult<GroupReply>;
}

struct Known {
    urls: Vec<String>,
    lanes: HashMap<Lane, Arc<dyn Link>>,
}

/// The links of one member to all others.
pub(crate) struct Links {
    transport: Arc<dyn Transport>,
    known: Mutex<HashMap<u64, Known>>,
}

impl Links {
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, known: Mutex::new(HashMap::new()) }
    }

    /// Where a member is now; links to where it was are dropped.
    pub fn learn(&self, id: u64, urls: &[String]) {
        let mut known = self.known.lock();
        match known.get(&id) {
            Some(there) if there.urls == urls => {}
            _ => {
                known.insert(id, Known { urls: urls.to_vec(), lanes: HashMap::new() });
            }
        }
    }

    pub fn get(&self, id: u64, lane: Lane) -> LinkResult<Arc<dyn Link>> {
        let mut known = self.known.lock();
        let there =
            known.get_mut(&id).ok_or_else(|| LinkError { unsent: true, late: false, reason: format!("no address of member {id:x}") })?;
        let urls = &there.urls;
        Ok(there.lanes.entry(lane).or_insert_with(|| self.transport.link(urls, lane)).clone())
    }
}
