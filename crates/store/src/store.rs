//! What the rest of the house asks of the store.

use crate::auth::Credential;
use crate::config::StoreConfig;
use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::handler::Handler;
use crate::host;
use crate::leadership::Leadership;
use crate::leases::command;
use crate::link::Transport;
use crate::members::{MemberInfo, check_urls, list};
use crate::mutation::{Mutation, active};
use crate::node::Node;
use crate::snapshot;
use crate::start;
use crate::types::{Member, member_to_wire};
use crate::watcher::{WatchOptions, Watcher};
use crate::worker::Worker;
use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tricorn_mvcc::{Access, KvHash, Reader, is_read_only, is_serializable};
use tricorn_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse,
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse,
    LeaseStatus, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, ResponseHeader,
    TxnRequest, TxnResponse,
};
use tricorn_proto::peer;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::change_request::Change;
use tricorn_proto::peer::command::Op;

/// How long a physical compaction is waited for: it goes slowly, so that nobody else notices.
const SWEEP: Duration = Duration::from_secs(600);

/// A member of the replicated store; clones are the same member. Any member takes any request.
#[must_use = "what a client asks for goes to the store that is bound to it"]
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// The client that uses it; none: the cluster itself, which may do everything.
    pub(crate) client: Option<Arc<Credential>>,
}

struct Inner {
    node: Arc<Node>,
    handler: Arc<Handler>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    workers: Mutex<Vec<Worker>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.node.stop.cancel();
        self.node.state.hub.close();
        // Without a runtime there is nothing left that runs.
        if tokio::runtime::Handle::try_current().is_ok() {
            let raft = self.node.raft.clone();
            drop(host::spawn(async move { raft.shutdown().await }));
        }
    }
}

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

pub(crate) fn unexpected<T>() -> Result<T> {
    Err(Error::Raft("the answer is of another kind than the request".into()))
}

/// Fills in the parts of an answer's header that only the answering member knows.
macro_rules! complete {
    ($self:ident, $response:ident) => {{
        $self.complete(&mut $response.header);
        Ok($response)
    }};
}

impl Store {
    pub(crate) fn new(node: Arc<Node>, handler: Arc<Handler>, tasks: Vec<JoinHandle<()>>, workers: Vec<Worker>) -> Self {
        let inner = Inner { node, handler, tasks: Mutex::new(tasks), workers: Mutex::new(workers) };
        Self { inner: Arc::new(inner), client: None }
    }

    // Boxed, as all that runs a whole server is: the body of a bare async function is compiled anew in every program that awaits it.
    /// Starts a member. It answers once its group has a leader.
    pub fn start(config: StoreConfig) -> BoxFuture<'static, Result<Self>> {
        Box::pin(start::start(config))
    }

    /// Starts a member that reaches the others in a way of the caller's.
    pub fn start_on(config: StoreConfig, transport: Arc<dyn Transport>) -> BoxFuture<'static, Result<Self>> {
        Box::pin(start::start_on(config, transport))
    }

    /// Returns, with the reason, once this member can do no more: its disk could not be written, and what is on it is known only to who
    /// reads it anew. It answers nothing but errors then, and should be ended and started again.
    pub async fn failure(&self) -> String {
        let mut failed = self.inner.node.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            // The sender lives as long as this handle.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// What other members may ask of this one, for transports of the caller's.
    #[must_use]
    pub fn handler(&self) -> Arc<Handler> {
        self.inner.handler.clone()
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.inner.node
    }

    /// A header that names this member, the present term and the newest revision.
    #[must_use]
    pub fn header(&self) -> ResponseHeader {
        let mut header = Some(ResponseHeader { revision: self.revision(), ..ResponseHeader::default() });
        self.complete(&mut header);
        header.unwrap_or_default()
    }

    pub(crate) fn complete(&self, header: &mut Option<ResponseHeader>) {
        let node = self.node();
        let header = header.get_or_insert_default();
        header.cluster_id = node.cluster_id;
        header.member_id = node.id;
        header.raft_term = node.term();
    }

    /// Reads keys: the newest committed state, or, when the request is serializable, what this member has.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        self.before_range(&request).await?;
        let single = request.range_end.is_empty();
        if self.is_free()
            && single
            && let Some(mut response) = self.noticed(self.node().state.latest(&request))?
        {
            return complete!(self, response);
        }
        let read = move |reader: &Reader<'_>, access: &Access| {
            access.read(&request.key, &request.range_end)?;
            reader.range(&request)
        };
        // One key is found sooner than another thread.
        let mut response =
            if single { self.noticed(self.node().state.read_as(self.caller().await?.as_ref(), read))? } else { self.read(read).await? };
        complete!(self, response)
    }

    /// Refuses a range that makes no sense, and waits until this member knows what it must not miss.
    async fn before_range(&self, request: &RangeRequest) -> Result<()> {
        tricorn_mvcc::check_range(request)?;
        if !request.serializable && !active(Mutation::StaleRead) {
            self.node().read_barrier().await?;
        }
        Ok(())
    }

    /// The same, with the keys as they go over the wire: see [`Reader::range_encoded`].
    pub async fn range_encoded(&self, request: RangeRequest) -> Result<(RangeResponse, Bytes)> {
        if request.range_end.is_empty() {
            return Ok((self.range(request).await?, Bytes::new()));
        }
        self.before_range(&request).await?;
        let read = move |reader: &Reader<'_>, access: &Access| {
            access.read(&request.key, &request.range_end)?;
            reader.range_encoded(&request)
        };
        let (mut response, kvs) = self.read(read).await?;
        self.complete(&mut response.header);
        Ok((response, kvs))
    }

    /// Reads rows away from the runtime's threads when there may be many. What the caller may do belongs to the same rows.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Reader<'_>, &Access) -> tricorn_mvcc::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (state, caller) = (self.node().state.clone(), self.caller().await?);
        let read = host::blocking(move || state.read_as(caller.as_ref(), ask)).await.map_err(|_| Error::Stopped)?;
        self.noticed(read)
    }

    /// A member that cannot read its own state takes part no more: it would answer some and not others, for ever.
    fn noticed<T>(&self, read: Result<T>) -> Result<T> {
        if let Err(error @ (Error::Refused(tricorn_mvcc::Error::State(_)) | Error::Disk { .. })) = &read {
            self.node().fail(error);
        }
        read
    }

    pub(crate) async fn command(&self, op: Op, fence: Option<u64>) -> Result<peer::Command> {
        let fence = fence.filter(|_| !active(Mutation::FenceIgnored));
        Ok(peer::Command { caller: self.caller().await?, ..command(op, fence) })
    }

    /// Writes one key.
    pub async fn put(&self, request: PutRequest, fence: Option<u64>) -> Result<PutResponse> {
        let op = Op::Put(request);
        self.node().admit_growth(&op).await?;
        match self.node().propose(&self.command(op, fence).await?).await? {
            Reply::Put(mut response) => complete!(self, response),
            _ => unexpected(),
        }
    }

    /// Deletes keys.
    pub async fn delete_range(&self, request: DeleteRangeRequest, fence: Option<u64>) -> Result<DeleteRangeResponse> {
        match self.node().propose(&self.command(Op::DeleteRange(request), fence).await?).await? {
            Reply::DeleteRange(mut response) => complete!(self, response),
            _ => unexpected(),
        }
    }

    /// Runs a transaction. With `fence`, a write is refused with [`Error::Fenced`] unless it is appended in that very term.
    pub async fn txn(&self, request: TxnRequest, fence: Option<u64>) -> Result<TxnResponse> {
        if is_read_only(&request) {
            tricorn_mvcc::check_command(&command(Op::Txn(request.clone()), None), self.node().limits)?;
            if !is_serializable(&request) {
                self.node().read_barrier().await?;
            }
            let read = move |reader: &Reader<'_>, access: &Access| {
                access.txn(reader, &request)?;
                reader.txn(&request)
            };
            let mut response = self.read(read).await?;
            return complete!(self, response);
        }
        let op = Op::Txn(request);
        self.node().admit_growth(&op).await?;
        match self.node().propose(&self.command(op, fence).await?).await? {
            Reply::Txn(mut response) => complete!(self, response),
            _ => unexpected(),
        }
    }

    /// Makes history before a revision unreadable. A physical compaction answers once its space can be given back.
    pub async fn compact(&self, request: CompactionRequest) -> Result<CompactionResponse> {
        match self.node().propose(&self.command(Op::Compact(request), None).await?).await? {
            Reply::Compact(mut response) => {
                if request.physical {
                    let mut swept = self.node().state.swept.subscribe();
                    let done = tokio::time::timeout(SWEEP, swept.wait_for(|at| *at >= request.revision)).await;
                    done.map_err(|_| Error::Timeout)?.map_err(|_| Error::Stopped)?;
                }
                complete!(self, response)
            }
            _ => unexpected(),
        }
    }

    /// Makes a lease. The time to live is raised to what an election may take.
    pub async fn lease_grant(&self, mut request: LeaseGrantRequest) -> Result<LeaseGrantResponse> {
        self.node().admit_growth(&Op::LeaseGrant(request)).await?;
        // An election may take twice its timeout: the silence before, and the candidate's own wait.
        let least = self.node().election_timeout.mul_f64(2.0 * 1.5).as_secs_f64().ceil();
        if request.ttl <= 9_000_000_000 {
            // A handful of seconds: exact in any number.
            #[allow(clippy::cast_possible_truncation)]
            let least = least as i64;
            request.ttl = request.ttl.max(least);
        }
        let chosen = request.id == 0;
        loop {
            if chosen {
                request.id = i64::try_from(start::random_id() >> 1).unwrap_or(1).max(1);
            }
            match self.node().propose(&self.command(Op::LeaseGrant(request), None).await?).await {
                Err(Error::Refused(tricorn_mvcc::Error::LeaseExists)) if chosen => {}
                Ok(Reply::LeaseGrant(mut response)) => return complete!(self, response),
                Ok(_) => return unexpected(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends a lease and deletes its keys.
    pub async fn lease_revoke(&self, id: i64) -> Result<LeaseRevokeResponse> {
        match self.node().propose(&self.command(Op::LeaseRevoke(LeaseRevokeRequest { id }), None).await?).await? {
            Reply::LeaseRevoke(mut response) => complete!(self, response),
            _ => unexpected(),
        }
    }

    /// Renews a lease; its time to live is 0 in the answer when there is no such lease.
    pub async fn lease_keep_alive(&self, id: i64) -> Result<LeaseKeepAliveResponse> {
        if !self.is_free() {
            self.read(move |reader, access| access.write_lease(reader, id)).await?;
        }
        let ttl = match self.node().renew(id).await {
            Ok(seconds) => seconds,
            Err(Error::Refused(tricorn_mvcc::Error::LeaseNotFound)) => 0,
            Err(error) => return Err(error),
        };
        Ok(LeaseKeepAliveResponse { header: Some(self.header()), id, ttl })
    }

    /// What is left of a lease, and which keys hang on it; a time to live of -1 when there is no such lease.
    pub async fn lease_time_to_live(&self, request: LeaseTimeToLiveRequest) -> Result<LeaseTimeToLiveResponse> {
        let id = request.id;
        self.require_user().await?;
        let Some((granted_ttl, ttl)) = self.node().lease_time(id).await? else {
            return Ok(LeaseTimeToLiveResponse { header: Some(self.header()), id, ttl: -1, ..LeaseTimeToLiveResponse::default() });
        };
        let keys = if request.keys {
            self.node().read_barrier().await?;
            let read = move |reader: &Reader<'_>, access: &Access| {
                access.read_lease(reader, id)?;
                reader.lease_keys(id)
            };
            self.read(read).await?
        } else {
            Vec::new()
        };
        Ok(LeaseTimeToLiveResponse { header: Some(self.header()), id, ttl, granted_ttl, keys })
    }

    /// All leases.
    pub async fn leases(&self) -> Result<LeaseLeasesResponse> {
        self.node().read_barrier().await?;
        if !self.is_free() {
            let read = |reader: &Reader<'_>, access: &Access| {
                access.named()?;
                if access.root().is_ok() {
                    return Ok(());
                }
                reader.leases()?.iter().try_for_each(|lease| access.read_lease(reader, lease.id))
            };
            self.read(read).await?;
        }
        let leases = self.node().state.lessor.ids().into_iter().map(|id| LeaseStatus { id }).collect();
        Ok(LeaseLeasesResponse { header: Some(self.header()), leases })
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

    /// Watches keys on this member. A start that has been compacted away shows as the first message.
    #[must_use]
    pub fn watch(&self, options: WatchOptions) -> Watcher {
        let state = &self.node().state;
        Watcher::new(state.hub.clone(), state.clone(), options)
    }

    /// Returns once this member's state holds everything committed before the call; the revision it has reached.
    pub async fn read_index(&self) -> Result<i64> {
        self.node().read_barrier().await?;
        Ok(self.revision())
    }

    /// The newest revision on this member.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.node().state.applied.borrow().revision
    }

    /// Who leads, now and whenever it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.node().leadership.subscribe()
    }

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

    /// What this member has counted since it started.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.node().counters.clone()
    }

    /// This member's id.
    #[must_use]
    pub fn member_id(&self) -> u64 {
        self.node().id
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.node().cluster_id
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

    /// The whole state as this member has it now, as a stream of bytes. See [`crate::restore`].
    pub async fn snapshot(&self) -> Result<SnapshotStream> {
        self.require_root().await?;
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

    /// Stops this member, its state made durable first. Requests under way end with [`Error::Stopped`]. Once this returns, no
    /// thread of the member's uses the disk any more.
    pub async fn shutdown(&self) -> Result<()> {
        let node = self.node();
        node.stop.cancel();
        node.state.hub.close();
        let tasks = std::mem::take(&mut *self.inner.tasks.lock());
        for task in tasks {
            task.abort();
            // Aborted or done: either is what is wanted.
            let _ended = task.await;
        }
        let stopped = node.raft.shutdown().await.map_err(|error| Error::Raft(format!("stop: {error}")));
        let engine = node.state.engine();
        let workers = std::mem::take(&mut *self.inner.workers.lock());
        for worker in workers {
            worker.finish().await;
        }
        let flushed = host::blocking(move || engine.flush()).await.map_err(|_| Error::Stopped)?;
        flushed.map_err(|error| Error::disk("make the state durable", &error))?;
        stopped
    }
}
