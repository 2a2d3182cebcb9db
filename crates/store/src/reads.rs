//! Linearizable reads: one question to the leader answers all readers that were waiting when it was asked, and one round of the leader
//! answers all members whose questions were waiting when it began.

use crate::error::{Error, Result};
use crate::link::Lane;
use crate::mutation::{Mutation, active};
use crate::node::{Attempt, Node, queued};
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Readers that may wait for one question.
pub(crate) const QUEUE: usize = 65_536;

/// Waits for a round.
pub(crate) type Waiter<T> = oneshot::Sender<Result<T>>;

/// Answers readers of this member, until it stops.
pub(crate) async fn serve_barriers(node: Arc<Node>, queue: mpsc::Receiver<Waiter<()>>) {
    rounds(&node, queue, || {
        let node = node.clone();
        async move { node.barrier().await }
    })
    .await;
}

/// Answers members that ask this one for its read index, this one among them, until it stops.
pub(crate) async fn serve_indices(node: Arc<Node>, queue: mpsc::Receiver<Waiter<Attempt<u64>>>) {
    rounds(&node, queue, || {
        let node = node.clone();
        async move { node.confirm().await }
    })
    .await;
}

/// Plays one round after the other, each for whoever has come before it began.
async fn rounds<T, F, Fut>(node: &Node, mut queue: mpsc::Receiver<Waiter<T>>, round: F)
where
    T: Clone,
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut waiters = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = node.stop.cancelled() => return,
            taken = queue.recv_many(&mut waiters, QUEUE) => if taken == 0 { return },
        }
        // Who is about to ask is let do so first. Where nobody is, this takes no time.
        tokio::task::yield_now().await;
        while let Ok(waiter) = queue.try_recv() {
            waiters.push(waiter);
        }
        let result = round().await;
        if active(Mutation::ReadIndexTooEarly) {
            while let Ok(late) = queue.try_recv() {
                waiters.push(late);
            }
        }
        for waiter in waiters.drain(..) {
            // A reader that has gone does not mind.
            let _gone = waiter.send(result.clone());
        }
    }
}

impl Node {
    /// Returns once everything that was committed when it was called has been applied here.
    pub async fn read_barrier(&self) -> Result<()> {
        queued(&self.barriers, self.deadline(), |waiter| waiter).await
    }

    async fn barrier(&self) -> Result<()> {
        let deadline = self.deadline();
        let mut leadership = self.leadership.subscribe();
        let index = loop {
            let leader = leadership.borrow_and_update().leader;
            let attempt = match leader {
                Some(id) if id == self.id => self.read_index(deadline).await?,
                Some(id) => self.read_index_there(id, deadline).await?,
                None => Attempt::Again,
            };
            match attempt {
                Attempt::Done(index) => break index,
                Attempt::Again => self.await_leader(&mut leadership, deadline).await?,
            }
        };
        self.await_applied(index, deadline).await
    }

    /// The index up to which a reader must have applied, from the next round of this member, which must lead.
    pub async fn read_index(&self, deadline: Instant) -> Result<Attempt<u64>> {
        queued(&self.indices, deadline, |waiter| waiter).await
    }

    /// Finds out whether this member still leads, and up to where a reader must have applied.
    async fn confirm(&self) -> Result<Attempt<u64>> {
        let policy = if self.lease_reads { ReadPolicy::LeaseRead } else { ReadPolicy::ReadIndex };
        // Who hears nothing of its quorum for so long has been replaced, or is about to be; others wait for this round to end.
        let asked = tokio::time::timeout(self.election_timeout * 2, self.raft.get_read_linearizer(policy));
        match asked.await {
            Err(_) => Ok(Attempt::Again),
            Ok(Ok(linearizer)) => Ok(Attempt::Done(linearizer.read_log_id().index())),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_) | LinearizableReadError::QuorumNotEnough(_)))) => {
                Ok(Attempt::Again)
            }
            Ok(Err(RaftError::Fatal(error))) => Err(self.fatal(&error)),
        }
    }

    async fn read_index_there(&self, leader: u64, deadline: Instant) -> Result<Attempt<u64>> {
        let Ok(link) = self.links.get(leader, Lane::Control) else { return Ok(Attempt::Again) };
        // Asking changes nothing, so it may be asked again; a silent leader may have been replaced.
        let within = deadline.saturating_duration_since(Instant::now()).min(self.election_timeout * 2);
        match link.read_index(within).await {
            Ok(reply) => match reply.failure.as_ref().map(Error::from_failure) {
                None => Ok(Attempt::Done(reply.index)),
                Some(Error::NotLeader | Error::Timeout | Error::LeaderChanged) => Ok(Attempt::Again),
                Some(error) => Err(error),
            },
            Err(_) => Ok(Attempt::Again),
        }
    }

    /// Waits until this member has applied `index`.
    pub async fn await_applied(&self, index: u64, deadline: Instant) -> Result<()> {
        let mut applied = self.state.applied.subscribe();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Error::Stopped),
            reached = tokio::time::timeout_at(deadline, applied.wait_for(|at| at.index >= index)) => match reached {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err(Error::Stopped),
                Err(_) => Err(Error::Timeout),
            },
        }
    }
}
