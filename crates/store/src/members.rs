//! Changes of the group: one at a time, decided by the leader, refused when they would leave it without a quorum.

use crate::error::{Error, Result};
use crate::link::Lane;
use crate::node::Node;
use crate::ticks::Ticks;
use crate::types::{Member, StoredMembers, Types, member_from_wire, member_to_wire};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tricorn_proto::peer;
use tricorn_proto::peer::change_request::Change;

/// Log entries a learner may lack and still be called caught up.
const IN_SYNC: u64 = 1000;
/// Between two looks whether somebody has caught up, or this member has something to tell.
const PERIOD: Duration = Duration::from_millis(300);

/// One member, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its id.
    pub id: u64,
    /// Its name and addresses.
    pub member: Member,
    /// It follows, and does not vote.
    pub is_learner: bool,
}

pub(crate) fn list(members: &StoredMembers) -> Vec<MemberInfo> {
    let voters: BTreeSet<u64> = members.voter_ids().collect();
    let info = |(id, member): (&u64, &Member)| MemberInfo { id: *id, member: member.clone(), is_learner: !voters.contains(id) };
    members.nodes().map(info).collect()
}

/// Refuses what no member could be reached at.
pub(crate) fn check_urls(urls: &[String]) -> Result<()> {
    if urls.is_empty() {
        return Err(Error::InvalidUrl("none given".into()));
    }
    for url in urls {
        let parsed: http::Uri = url.parse().map_err(|error| Error::InvalidUrl(format!("{url}: {error}")))?;
        if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.port_u16().is_none() {
            return Err(Error::InvalidUrl(format!("{url}: want http:// or https:// with host and port")));
        }
    }
    Ok(())
}

impl Node {
    fn membership(&self) -> Arc<StoredMembers> {
        self.raft.server_metrics().borrow_watched().membership_config.clone()
    }

    /// Has the leader change the group. Every change says by itself what the group should be, so asking again is safe.
    pub async fn change(&self, change: Change) -> Result<()> {
        let deadline = self.deadline();
        let mut leadership = self.leadership.subscribe();
        loop {
            let leader = leadership.borrow_and_update().leader;
            let result = match leader {
                Some(id) if id == self.id => self.change_here(change.clone()).await,
                Some(id) => self.change_there(id, change.clone(), deadline).await,
                None => Err(Error::NotLeader),
            };
            match result {
                Err(Error::NotLeader) => self.await_leader(&mut leadership, deadline).await?,
                result => return result,
            }
        }
    }

    async fn change_there(&self, leader: u64, change: Change, deadline: Instant) -> Result<()> {
        let within = deadline.saturating_duration_since(Instant::now());
        let Ok(link) = self.links.get(leader, Lane::Control) else { return Err(Error::NotLeader) };
        match link.change(peer::ChangeRequest { change: Some(change) }, within).await {
            Ok(peer::ChangeReply { failure: None }) => Ok(()),
            Ok(peer::ChangeReply { failure: Some(failure) }) => Err(Error::from_failure(&failure)),
            Err(error) if error.unsent => Err(Error::NotLeader),
            Err(error) => Err(error.for_write()),
        }
    }

    /// Changes the group, on its leader.
    pub async fn change_here(&self, change: Change) -> Result<()> {
        if !self.leadership.borrow().is_leader {
            return Err(Error::NotLeader);
        }
        let members = self.membership();
        match change {
            Change::Add(member) => self.add(&members, member).await,
            Change::Remove(id) => self.remove(&members, id).await,
            Change::Promote(id) => self.promote(&members, id).await,
            Change::Update(member) => {
                let (id, mut fresh) = member_from_wire(member);
                let known = members.get_node(&id).ok_or(Error::MemberNotFound)?;
                fresh.promote = known.promote;
                self.check_unused(&members, id, &fresh.peer_urls)?;
                self.submit(ChangeMembers::SetNodes(BTreeMap::from([(id, fresh)])), true).await
            }
            Change::Lead(id) => self.hand_over(&members, id).await,
        }
    }

    fn check_unused(&self, members: &StoredMembers, id: u64, urls: &[String]) -> Result<()> {
        check_urls(urls)?;
        let taken = members.nodes().any(|(other, member)| *other != id && member.peer_urls.iter().any(|url| urls.contains(url)));
        if taken { Err(Error::PeerUrlExists) } else { Ok(()) }
    }

    async fn add(&self, members: &StoredMembers, member: peer::Member) -> Result<()> {
        let (id, member) = member_from_wire(member);
        if let Some(known) = members.get_node(&id) {
            // Asked twice, perhaps because the first answer was lost.
            return if known.peer_urls == member.peer_urls { Ok(()) } else { Err(Error::MemberExists) };
        }
        self.check_unused(members, id, &member.peer_urls)?;
        self.submit(ChangeMembers::AddNodes(BTreeMap::from([(id, member)])), true).await
    }

    async fn remove(&self, members: &StoredMembers, id: u64) -> Result<()> {
        if members.get_node(&id).is_none() {
            return Err(Error::MemberNotFound);
        }
        let mut voters: BTreeSet<u64> = members.voter_ids().collect();
        if !voters.remove(&id) {
            return self.submit(ChangeMembers::RemoveNodes(BTreeSet::from([id])), false).await;
        }
        if voters.is_empty() {
            return Err(Error::Unhealthy("the last voter cannot be removed".into()));
        }
        let reachable = self.reachable();
        let left = voters.iter().filter(|voter| reachable.contains(voter)).count();
        if left < voters.len() / 2 + 1 {
            let text = format!("without member {id:x} only {left} of {} voters would be reachable", voters.len());
            return Err(Error::Unhealthy(text));
        }
        if id == self.id {
            // The group should not have to wait for an election: somebody else removes this member.
            if let Some(next) = voters.iter().find(|voter| reachable.contains(voter)) {
                self.hand_over(members, *next).await?;
            }
            return Err(Error::NotLeader);
        }
        self.submit(ChangeMembers::RemoveVoters(BTreeSet::from([id])), false).await
    }

    async fn promote(&self, members: &StoredMembers, id: u64) -> Result<()> {
        members.get_node(&id).ok_or(Error::MemberNotFound)?;
        if members.voter_ids().any(|voter| voter == id) {
            return Err(Error::NotLearner);
        }
        if !self.in_sync(id) {
            return Err(Error::LearnerNotReady);
        }
        self.submit(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await
    }

    async fn hand_over(&self, members: &StoredMembers, id: u64) -> Result<()> {
        if id == self.id {
            return Ok(());
        }
        if !members.voter_ids().any(|voter| voter == id) {
            return Err(Error::BadTransferee);
        }
        self.raft.trigger().transfer_leader(id).await.map_err(|error| self.fatal(&error))?;
        let mut leadership = self.leadership.subscribe();
        let taken = tokio::time::timeout(self.request_timeout, leadership.wait_for(|now| now.leader == Some(id))).await;
        match taken {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Stopped),
            Err(_) => Err(Error::Timeout),
        }
    }

    async fn submit(&self, change: ChangeMembers<u64, Member>, retain: bool) -> Result<()> {
        let submitted = tokio::time::timeout(self.request_timeout, self.raft.change_membership(change, retain)).await;
        match submitted {
            Err(_) => Err(Error::Timeout),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::Fatal(error))) => Err(self.fatal(&error)),
            Ok(Err(RaftError::APIError(error))) => Err(match error {
                ClientWriteError::ForwardToLeader(_) => Error::NotLeader,
                ClientWriteError::LogEntryDiscarded(_) => Error::LeaderChanged,
                ClientWriteError::ChangeMembershipError(ChangeMembershipError::LearnerNotFound(_)) => Error::MemberNotFound,
                ClientWriteError::ChangeMembershipError(error) => Error::Unhealthy(error.to_string()),
                error @ ClientWriteError::PreconditionFailed(_) => Error::Raft(error.to_string()),
            }),
        }
    }

    /// Members that have answered within three election timeouts, this one too.
    fn reachable(&self) -> BTreeSet<u64> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let heard = metrics.heartbeat.unwrap_or_default().into_iter();
        let recent = heard.filter(|(_, at)| at.as_ref().is_some_and(|at| at.elapsed() < self.election_timeout * 3));
        recent.map(|(id, _)| id).chain([self.id]).collect()
    }

    fn in_sync(&self, id: u64) -> bool {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let matched = metrics.replication.as_ref().and_then(|all| all.get(&id)).and_then(|matched| matched.as_ref().map(|id| id.index));
        let last = metrics.last_log_index.unwrap_or(0);
        matched.is_some_and(|matched| matched + IN_SYNC >= last)
    }

    /// The first learner that wants to vote and has caught up.
    fn ready_learner(&self, members: &StoredMembers) -> Option<u64> {
        let voters: BTreeSet<u64> = members.voter_ids().collect();
        members.nodes().find(|(id, member)| member.promote && !voters.contains(id) && self.in_sync(**id)).map(|(id, _)| *id)
    }
}

/// Promotes learners on the leader, and tells the group this member's name and addresses when they have changed.
pub(crate) async fn drive(node: Arc<Node>, mine: Member) {
    let mut ticks = Ticks::every(PERIOD, &node.stop);
    while ticks.next().await {
        let leadership = node.leadership.borrow().clone();
        if leadership.leader.is_none() {
            continue;
        }
        let members = node.membership();
        if leadership.is_leader
            && let Some(id) = node.ready_learner(&members)
        {
            match node.promote(&members, id).await {
                Ok(()) => tracing::info!(member = id, "a learner has caught up and votes now"),
                Err(error) => tracing::debug!(member = id, %error, "a learner could not be promoted yet"),
            }
        }
        let told = members.get_node(&node.id);
        let news = told.is_some_and(|told| told.name != mine.name || told.client_urls != mine.client_urls);
        if news && let Some(told) = told {
            let fresh = Member { name: mine.name.clone(), client_urls: mine.client_urls.clone(), ..told.clone() };
            if let Err(error) = node.change(Change::Update(member_to_wire(node.id, &fresh))).await {
                tracing::debug!(%error, "this member's addresses could not be told yet");
            }
        }
    }
}

/// The metrics of openraft, as far as others need them.
pub(crate) type Metrics = openraft::RaftMetrics<Types>;
