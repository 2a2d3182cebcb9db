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
use crate::mutation::{Mutation, active};
use crate::node::Node;
use crate::start;
use crate::watcher::{WatchOptions, Watcher};
use crate::worker::Worker;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tricorn_mvcc::{Access, Reader, is_read_only, is_serializable};
use tricorn_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    ResponseHeader, TxnRequest, TxnResponse,
};
use tricorn_proto::peer;
use tricorn_proto::peer::answer::Reply;
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
pub(crate) use complete;

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
    pub async fn range_encoded(&self, request: RangeRequest) -> Result<(RangeResponse, Vec<Bytes>)> {
        if request.range_end.is_empty() {
            return Ok((self.range(request).await?, Vec::new()));
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
