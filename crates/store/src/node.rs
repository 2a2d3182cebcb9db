//! One running member, and the way of a write: proposed here when this member leads, forwarded to the leader otherwise.

use crate::counters::{Counters, add};
use crate::error::{Error, Result};
use crate::leadership::Leadership;
use crate::link::{Lane, Links};
use crate::log::Log;
use crate::machine::StateMachine;
use crate::mutation::{Mutation, active};
use crate::passwords::Passwords;
use crate::proposer::{Ask, Load};
use crate::reads::Waiter;
use crate::state::State;
use crate::types::{Outcome, Proposal, Types};
use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{RwLock, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tricorn_mvcc::Limits;
use tricorn_proto::peer;
use tricorn_proto::peer::answer::Reply;

pub(crate) type Raft = openraft::Raft<Types, StateMachine>;

/// Entries that may be committed and not applied before writes are refused.
const APPLY_GAP: u64 = 20_000;
/// Between two looks for a leader, when nobody says that there is a new one.
const RETRY: Duration = Duration::from_millis(20);
/// How long a member that has been replaced as leader is given to answer what it was asked before.
const LAST_WORDS: Duration = Duration::from_millis(100);

pub(crate) struct Node {
    pub id: u64,
    pub cluster_id: u64,
    pub request_timeout: Duration,
    pub election_timeout: Duration,
    pub limits: Limits,
    pub quota_bytes: u64,
    pub lease_reads: bool,
    pub raft: Raft,
    pub log: Log,
    pub state: Arc<State>,
    pub passwords: Passwords,
    pub links: Arc<Links>,
    pub counters: Arc<Counters>,
    pub leadership: watch::Sender<Leadership>,
    /// Why this member can do no more, once it cannot.
    pub failed: watch::Sender<Option<String>>,
    /// When the leader was last heard.
    pub heard: watch::Sender<Instant>,
    pub permits: Arc<Semaphore>,
    pub max_proposals: usize,
    /// Readers of this member.
    pub barriers: mpsc::Sender<Waiter<()>>,
    /// Members that ask this one, when it leads, how far a reader must have applied.
    pub indices: mpsc::Sender<Waiter<Attempt<u64>>>,
    /// Held while rests of leases are written down; shared by those who clear them.
    pub marking: RwLock<()>,
    pub proposals: mpsc::Sender<Ask>,
    pub stop: CancellationToken,
}

/// What became of an attempt.
#[derive(Clone, Copy)]
pub(crate) enum Attempt<T> {
    Done(T),
    /// It certainly did not happen: trying again is safe.
    Again,
}

/// Returns once another than `leader` is known to lead.
async fn replaced(leadership: &mut watch::Receiver<Leadership>, leader: u64) {
    if leadership.wait_for(|now| now.leader.is_some_and(|id| id != leader)).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Puts what is asked into a bounded queue, and waits for the answer of whoever takes it out. `ask` is handed where the answer goes.
pub(crate) async fn queued<Q, T>(
    queue: &mpsc::Sender<Q>,
    deadline: Instant,
    ask: impl FnOnce(oneshot::Sender<Result<T>>) -> Q,
) -> Result<T> {
    let (done, answer) = oneshot::channel();
    queue.try_send(ask(done)).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => Error::TooManyRequests,
        mpsc::error::TrySendError::Closed(_) => Error::Stopped,
    })?;
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::Stopped),
        Err(_) => Err(Error::Timeout),
    }
}

impl Node {
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.request_timeout
    }

    /// Proposals without an answer.
    pub fn permits_taken(&self) -> usize {
        self.max_proposals.saturating_sub(self.permits.available_permits())
    }

    pub fn term(&self) -> u64 {
        self.leadership.borrow().term
    }

    /// Refuses a write that should not even be tried.
    fn admit(&self, command: &peer::Command) -> Result<()> {
        tricorn_mvcc::check_command(command, self.limits)?;
        let term = self.term();
        if let Some(fence) = command.fence
            && fence < term
        {
            return Err(Error::Fenced { fence, term });
        }
        let behind = self.log.committed_index().saturating_sub(self.state.applied.borrow().index);
        if behind > APPLY_GAP { Err(Error::TooManyRequests) } else { Ok(()) }
    }

    /// Has the group apply a command, and returns what it answered.
    pub async fn propose(&self, command: &peer::Command) -> Result<Reply> {
        self.admit(command)?;
        let _permit = self.permits.try_acquire().map_err(|_| Error::TooManyRequests)?;
        let bytes = Bytes::from(command.encode_to_vec());
        let deadline = self.deadline();
        let result = self.route(&bytes, deadline).await;
        if matches!(result, Err(Error::Timeout | Error::LeaderChanged | Error::NoLeader)) {
            add(&self.counters.failed_proposals, 1);
        }
        result
    }

    async fn route(&self, bytes: &Bytes, deadline: Instant) -> Result<Reply> {
        let mut leadership = self.leadership.subscribe();
        loop {
            let led = leadership.borrow_and_update().leader.is_some();
            let attempt = if led { self.ask(Load::One(bytes.clone()), false, deadline).await? } else { Attempt::Again };
            match attempt {
                // One of a group that was refused by itself.
                Attempt::Done(Reply::Failure(failure)) => return Err(Error::from_failure(&failure)),
                Attempt::Done(reply) => return Ok(reply),
                Attempt::Again => self.await_leader(&mut leadership, deadline).await?,
            }
        }
    }

    /// Waits until another leader may be known; tells when there is no time left.
    pub async fn await_leader(&self, leadership: &mut watch::Receiver<Leadership>, deadline: Instant) -> Result<()> {
        let pause = (Instant::now() + RETRY).min(deadline);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Error::Stopped),
            // A change ends the wait early; whether the leader is new is found out by asking it.
            _ = tokio::time::timeout_at(pause, leadership.changed()) => {}
        }
        if Instant::now() < deadline {
            return Ok(());
        }
        if leadership.borrow().leader.is_none() { Err(Error::NoLeader) } else { Err(Error::Timeout) }
    }

    /// Appends to this member's log, if it leads, and waits for the answer.
    pub async fn propose_here(&self, bytes: Bytes, deadline: Instant) -> Result<Attempt<Reply>> {
        let written = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Error::Stopped),
            written = tokio::time::timeout_at(deadline, self.raft.client_write(Proposal(bytes))) => written,
        };
        match written {
            Err(_) => Err(Error::Timeout),
            Ok(Ok(response)) => match response.data {
                Outcome(Some(Ok(reply))) => Ok(Attempt::Done(reply)),
                Outcome(Some(Err(tricorn_mvcc::Error::Fenced { fence, term }))) => Err(Error::Fenced { fence, term }),
                Outcome(Some(Err(error))) => Err(Error::Refused(error)),
                Outcome(None) => Err(Error::Raft("a command was applied without an answer".into())),
            },
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Ok(Attempt::Again),
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => Err(Error::LeaderChanged),
            Ok(Err(RaftError::APIError(error))) => Err(Error::Raft(error.to_string())),
            Ok(Err(RaftError::Fatal(error))) => Err(self.fatal(&error)),
        }
    }

    /// What to answer when Raft has stopped: that this member has. Whoever runs it is told why.
    pub fn fatal(&self, error: &impl std::fmt::Display) -> Error {
        self.fail(error);
        Error::Stopped
    }

    /// Notes, once, that this member can do no more, because its disk failed.
    pub fn fail(&self, reason: &impl std::fmt::Display) {
        if self.stop.is_cancelled() {
            return;
        }
        let first = self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            if first {
                *failed = Some(reason.to_string());
            }
            first
        });
        if first {
            tracing::error!(%reason, "this member takes part no more");
        }
    }

    /// Has the leader apply it.
    pub async fn forward(&self, leader: u64, bytes: Bytes, deadline: Instant) -> Result<Attempt<Reply>> {
        let link = match self.links.get(leader, Lane::Control) {
            Ok(link) => link,
            Err(_) => return Ok(Attempt::Again),
        };
        let within = deadline.saturating_duration_since(Instant::now());
        let mut leadership = self.leadership.subscribe();
        let asked = link.forward(peer::ForwardRequest { command: bytes }, within);
        tokio::pin!(asked);
        let answered = tokio::select! {
            biased;
            answer = &mut asked => Some(answer),
            () = replaced(&mut leadership, leader) => None,
        };
        let answer = match answered {
            Some(answer) => answer,
            // Whoever was asked leads no more: it may be cut off, and will not answer before the deadline.
            None => tokio::time::timeout(LAST_WORDS, asked).await.map_err(|_| Error::LeaderChanged)?,
        };
        match answer {
            Ok(peer::Answer { reply: Some(Reply::Failure(failure)) }) => match Error::from_failure(&failure) {
                Error::NotLeader => Ok(Attempt::Again),
                // It stopped while it was waiting: nobody knows yet what became of the entry.
                Error::Stopped => Err(Error::LeaderChanged),
                error => Err(error),
            },
            Ok(peer::Answer { reply: Some(reply) }) => Ok(Attempt::Done(reply)),
            Ok(peer::Answer { reply: None }) => Err(Error::Raft("the leader's answer is empty".into())),
            Err(error) if error.unsent || active(Mutation::ForwardedTwice) => Ok(Attempt::Again),
            Err(error) => {
                tracing::debug!(leader, %error, "a forwarded command got no answer");
                Err(error.for_write())
            }
        }
    }
}
