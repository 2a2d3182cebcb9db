//! Leases: what clients ask of them, and what needs the leader: renewals, expiry, and writing down what is left.

use crate::error::{Error, Result};
use crate::host;
use crate::lessor::Renewal;
use crate::link::Lane;
use crate::mutation::{Mutation, active};
use crate::node::Node;
use crate::start;
use crate::store::{Store, complete, unexpected};
use crate::ticks::Ticks;
use openraft::Instant as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tricorn_mvcc::{Access, Reader};
use tricorn_proto::etcdserverpb::{
    LeaseCheckpoint, LeaseCheckpointRequest, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use tricorn_proto::peer;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::command::Op;

/// Between two looks for leases whose time is up.
const PERIOD: Duration = Duration::from_millis(250);
/// Ends proposed at one look.
const ENDS: usize = 256;
/// Leases written down at one look.
const MARKS: usize = 1000;

pub(crate) fn command(op: Op, fence: Option<u64>) -> peer::Command {
    peer::Command { time_ms: host::wall_ms(), fence, caller: None, op: Some(op) }
}

/// Ends leases while this member leads.
pub(crate) async fn drive(node: Arc<Node>) {
    let mut ticks = Ticks::every(PERIOD, &node.stop);
    while ticks.next().await {
        let leadership = node.leadership.borrow().clone();
        if !leadership.is_leader {
            continue;
        }
        node.mark(leadership.term).await;
        let ends = node.state.lessor.take_expired(ENDS).into_iter().map(|id| node.end_lease(id, leadership.term));
        futures::future::join_all(ends).await;
    }
}

impl Store {
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
}

impl Node {
    async fn end_lease(&self, id: i64, term: u64) {
        let revoke = command(Op::LeaseRevoke(LeaseRevokeRequest { id }), Some(term));
        match self.propose(&revoke).await {
            Ok(_) | Err(Error::Refused(tricorn_mvcc::Error::LeaseNotFound)) => {}
            Err(error) => {
                tracing::debug!(lease = id, %error, "an expired lease could not be ended yet");
                self.state.lessor.retry(id);
            }
        }
    }

    /// Writes down what is left of leases. A renewal that comes meanwhile waits: what clears a mark must stand behind it in the log.
    async fn mark(&self, term: u64) {
        let _order = self.marking.write().await;
        let marks = self.state.lessor.marks(MARKS);
        if marks.is_empty() {
            return;
        }
        if let Err(error) = self.write_marks(marks, term).await {
            tracing::debug!(%error, "what is left of leases could not be written down");
        }
        self.state.lessor.marks_written();
    }

    async fn write_marks(&self, checkpoints: Vec<LeaseCheckpoint>, term: u64) -> Result<()> {
        let request = LeaseCheckpointRequest { checkpoints };
        self.propose(&command(Op::LeaseCheckpoint(request), Some(term))).await.map(drop)
    }

    /// Renews a lease on the leader. What was written down of its end is cleared before anybody hears of the renewal.
    pub async fn renew_here(&self, id: i64) -> Result<Renewal> {
        let leadership = self.leadership.borrow().clone();
        let leads = leadership.is_leader && self.heard_of_lately();
        if !leads && !active(Mutation::DeposedRenews) {
            return Err(Error::NotLeader);
        }
        let renewal = self.state.lessor.renew(id);
        if let Renewal::Renewed { marked: true, .. } = renewal
            && !active(Mutation::MarkNotCleared)
        {
            let _order = self.marking.read().await;
            self.write_marks(vec![LeaseCheckpoint { id, remaining_ttl: 0 }], leadership.term).await?;
        }
        Ok(renewal)
    }

    /// Whether a quorum has confirmed this leader within an election timeout: a deposed one must not renew.
    fn heard_of_lately(&self) -> bool {
        if self.raft.voter_ids().all(|voter| voter == self.id) {
            return true;
        }
        let Ok(leader) = self.raft.as_leader() else { return false };
        leader.last_quorum_acked().is_some_and(|acked| acked.elapsed() < self.election_timeout)
    }

    /// Renews a lease wherever the leader is.
    pub async fn renew(&self, id: i64) -> Result<i64> {
        let deadline = self.deadline();
        let mut leadership = self.leadership.subscribe();
        loop {
            let leader = leadership.borrow_and_update().leader;
            match leader {
                Some(leader) if leader == self.id => match self.renew_here(id).await {
                    Ok(Renewal::Renewed { seconds, .. }) => return Ok(seconds),
                    Ok(Renewal::Gone) => return Err(tricorn_mvcc::Error::LeaseNotFound.into()),
                    Err(Error::NotLeader) => {}
                    Err(error) => return Err(error),
                },
                Some(leader) => {
                    let within = deadline.saturating_duration_since(Instant::now()).min(self.election_timeout * 2);
                    let asked = match self.links.get(leader, Lane::Control) {
                        Ok(link) => link.keep_alive(id, within).await,
                        Err(error) => Err(error),
                    };
                    if let Ok(reply) = asked {
                        match reply.failure.as_ref().map(Error::from_failure) {
                            None if reply.granted == 0 => return Err(tricorn_mvcc::Error::LeaseNotFound.into()),
                            None => return Ok(reply.granted),
                            Some(Error::NotLeader) => {}
                            Some(error) => return Err(error),
                        }
                    }
                }
                None => {}
            }
            self.await_leader(&mut leadership, deadline).await?;
        }
    }

    /// Granted and remaining seconds, as the leader counts them; none when there is no such lease.
    pub async fn lease_time(&self, id: i64) -> Result<Option<(i64, i64)>> {
        let deadline = self.deadline();
        let mut leadership = self.leadership.subscribe();
        loop {
            let now = leadership.borrow_and_update().clone();
            match now.leader {
                Some(leader) if leader == self.id && now.is_leader => return Ok(self.state.lessor.time_left(id)),
                Some(leader) if leader != self.id => {
                    let within = deadline.saturating_duration_since(Instant::now()).min(self.election_timeout * 2);
                    let asked = match self.links.get(leader, Lane::Control) {
                        Ok(link) => link.time_left(id, within).await,
                        Err(error) => Err(error),
                    };
                    if let Ok(reply) = asked
                        && reply.failure.is_none()
                    {
                        return Ok((reply.granted > 0).then_some((reply.granted, reply.remaining)));
                    }
                }
                _ => {}
            }
            self.await_leader(&mut leadership, deadline).await?;
        }
    }
}
