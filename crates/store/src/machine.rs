//! What openraft calls the state machine: a handle to the thread that applies.

use crate::engine::Engine;
use crate::host;
use crate::mutation::{Mutation, active};
use crate::snapshot;
use crate::state::{Applier, Batch, Staged, State};
use crate::types::{LogId, SnapshotMeta, StoredMembers, Types};
use crate::worker::{Queue, Worker};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Commands waiting for the apply worker.
const QUEUE: usize = 64;

type Done = oneshot::Sender<io::Result<()>>;

enum Task {
    Apply(Batch, Done),
    Install(Staged, Done),
}

/// A snapshot in one of its three lives.
pub(crate) enum SnapshotData {
    /// It was enough to make the state durable: it is sent, when somebody wants it, from there.
    Kept,
    /// On its way out.
    Outgoing(mpsc::Receiver<io::Result<Bytes>>),
    /// Arrived, and waiting to be installed.
    Staged(Staged),
}

pub(crate) struct StateMachine {
    state: Arc<State>,
    tasks: mpsc::Sender<Task>,
    cluster_id: u64,
}

impl StateMachine {
    /// Starts the apply worker; it ends with this handle at the latest.
    pub fn start(state: Arc<State>, cluster_id: u64) -> io::Result<(Self, Worker)> {
        let applier = Applier::new(state.clone())?;
        let (tasks, queue) = mpsc::channel(QUEUE);
        let worker = Worker::start("apply", queue, |queue| run(applier, queue))?;
        Ok((Self { state, tasks, cluster_id }, worker))
    }

    async fn ask(&self, task: impl FnOnce(Done) -> Task) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        let stopped = || io::Error::other("the apply thread has stopped");
        self.tasks.send(task(done)).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }
}

/// Dropping compacted rows is no hurry: after each step so many times its length go by.
const REST: u32 = 4;
/// What is to be applied waits no longer than this for a rest.
const NAP: Duration = Duration::from_micros(500);

async fn run(mut applier: Applier, mut queue: Queue<Task>) {
    let mut resting = Duration::ZERO;
    loop {
        let task = match queue.try_next() {
            Ok(task) => Some(task),
            Err(mpsc::error::TryRecvError::Empty) if applier.has_idle_work() => {
                if resting > Duration::ZERO {
                    // In small pieces: what is to be applied does not wait for the rest of it.
                    host::nap(NAP);
                    resting = resting.saturating_sub(NAP);
                    continue;
                }
                None
            }
            Err(mpsc::error::TryRecvError::Empty) => match queue.next().await {
                Some(task) => Some(task),
                None => return,
            },
            Err(mpsc::error::TryRecvError::Disconnected) => return,
        };
        host::disk_pause().await;
        let (result, done) = match task {
            Some(Task::Apply(batch, done)) => (applier.apply(batch), done),
            Some(Task::Install(staged, done)) => (applier.install(staged), done),
            None => {
                let begun = Instant::now();
                if let Err(error) = applier.idle() {
                    tracing::error!(%error, "could not drop compacted rows");
                    return;
                }
                resting = begun.elapsed() * REST;
                continue;
            }
        };
        if let Err(error) = &result {
            let position = applier.position().applied.map(|id| id.to_string());
            tracing::error!(%error, applied = position, "apply failed");
        }
        // The one who asked is gone only when the member is closing.
        let _gone = done.send(result);
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembers), io::Error> {
        let position = self.state.position()?;
        Ok((position.applied, position.members))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let batch: Batch = entries.try_collect().await?;
        self.ask(|done| Task::Apply(batch, done)).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { state: self.state.clone() }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        match snapshot {
            SnapshotData::Staged(staged) => self.ask(|done| Task::Install(staged, done)).await,
            SnapshotData::Kept | SnapshotData::Outgoing(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "only a snapshot that has been received can be installed"))
            }
        }
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<
        Option<Snapshot<openraft::type_config::alias::CommittedLeaderIdOf<Types>, u64, crate::types::Member, SnapshotData>>,
        io::Error,
    > {
        if self.state.position()?.applied.is_none() {
            return Ok(None);
        }
        let (head, chunks) = snapshot::send(self.state.engine(), self.cluster_id).await?;
        Ok(Some(Snapshot { meta: head.position.meta(), snapshot: SnapshotData::Outgoing(chunks) }))
    }
}

/// Makes the state durable, which is all a snapshot is here: the log before it may go.
pub(crate) struct Builder {
    state: Arc<State>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> Result<Snapshot<openraft::type_config::alias::CommittedLeaderIdOf<Types>, u64, crate::types::Member, SnapshotData>, io::Error>
    {
        // Read before the flush: what is applied meanwhile may or may not become durable.
        let position = self.state.position()?;
        let engine: Arc<dyn Engine> = self.state.engine();
        if !active(Mutation::SnapshotWithoutFlush) {
            host::blocking(move || engine.flush()).await.map_err(io::Error::other)??;
        }
        Ok(Snapshot { meta: position.meta(), snapshot: SnapshotData::Kept })
    }
}
