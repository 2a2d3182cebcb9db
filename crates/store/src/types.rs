//! The names openraft is told, and their wire forms. openraft is named in this crate only, and its types stay inside it.

use bytes::Bytes;
use openraft::impls::{Entry, Vote, leader_id_std};
use openraft::vote::leader_id_std::CommittedLeaderId;
use openraft::{EntryPayload, Membership};
use prost::Message;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use tricorn_proto::peer;
use tricorn_proto::peer::answer::Reply;

openraft::declare_raft_types!(
    /// What one store's Raft group is made of.
    pub(crate) Types:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = Member,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = crate::host::Runtime,
);

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type VoteOf = Vote<leader_id_std::LeaderId<u64, u64>>;
pub(crate) type EntryOf = Entry<CommittedLeaderId<u64>, EntryPayload<Proposal, u64, Member>>;
pub(crate) type Members = Membership<u64, Member>;
pub(crate) type StoredMembers = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;

/// One member of the group, as every other member knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name; empty until it has started for the first time.
    pub name: String,
    /// Where the other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// A learner that becomes a voter by itself once it has caught up.
    pub promote: bool,
}

/// An encoded [`peer::Command`], or a group of them: encoded once by its proposer, kept and sent as it is.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What apply tells the proposer; nothing for blank entries and changes of membership.
#[derive(Debug, Default)]
pub(crate) struct Outcome(pub Option<Result<Reply, tricorn_mvcc::Error>>);

// openraft wants both for transports that ship responses; ours ships `peer::Answer`, and so do these.
impl Serialize for Outcome {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reply = match &self.0 {
            None => None,
            Some(Ok(reply)) => Some(reply.clone()),
            Some(Err(error)) => Some(Reply::Failure(crate::error::Error::Refused(error.clone()).to_failure())),
        };
        serializer.serialize_bytes(&peer::Answer { reply }.encode_to_vec())
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(deserializer)?;
        let answer = peer::Answer::decode(bytes).map_err(serde::de::Error::custom)?;
        Ok(Self(answer.reply.map(|reply| match reply {
            Reply::Failure(failure) => Err(match crate::error::Error::from_failure(&failure) {
                crate::error::Error::Refused(error) => error,
                other => tricorn_mvcc::Error::State(other.to_string()),
            }),
            reply => Ok(reply),
        })))
    }
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: CommittedLeaderId { term }, index }
}

pub(crate) fn to_wire(id: LogId) -> peer::LogId {
    peer::LogId { term: id.leader_id.term, index: id.index }
}

pub(crate) fn from_wire(id: peer::LogId) -> LogId {
    log_id(id.term, id.index)
}

pub(crate) fn vote_to_wire(vote: &VoteOf) -> peer::Vote {
    peer::Vote { term: vote.leader_id.term, candidate: vote.leader_id.voted_for, committed: vote.committed }
}

pub(crate) fn vote_from_wire(vote: peer::Vote) -> VoteOf {
    Vote { leader_id: leader_id_std::LeaderId { term: vote.term, voted_for: vote.candidate }, committed: vote.committed }
}

pub(crate) fn member_to_wire(id: u64, member: &Member) -> peer::Member {
    peer::Member {
        id,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        promote: member.promote,
    }
}

pub(crate) fn member_from_wire(member: peer::Member) -> (u64, Member) {
    let peer::Member { id, name, peer_urls, client_urls, promote } = member;
    (id, Member { name, peer_urls, client_urls, promote })
}

pub(crate) fn members_to_wire(members: &Members) -> peer::Membership {
    peer::Membership {
        voters: members.get_joint_config().iter().map(|set| peer::VoterSet { ids: set.iter().copied().collect() }).collect(),
        members: members.nodes().map(|(id, member)| member_to_wire(*id, member)).collect(),
    }
}

pub(crate) fn members_from_wire(wire: peer::Membership) -> io::Result<Members> {
    let voters: Vec<BTreeSet<u64>> = wire.voters.into_iter().map(|set| set.ids.into_iter().collect()).collect();
    let members: BTreeMap<u64, Member> = wire.members.into_iter().map(member_from_wire).collect();
    if voters.is_empty() && members.is_empty() {
        return Ok(Members::default());
    }
    Members::new(voters, members).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("membership: {error}")))
}

pub(crate) fn entry_to_wire(entry: &EntryOf) -> peer::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(proposal) => Some(peer::entry::Payload::Command(proposal.0.clone())),
        EntryPayload::Membership(members) => Some(peer::entry::Payload::Membership(members_to_wire(members))),
    };
    peer::Entry { id: Some(to_wire(entry.log_id)), payload }
}

pub(crate) fn entry_from_wire(entry: peer::Entry) -> io::Result<EntryOf> {
    let id = entry.id.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "log entry without an id"))?;
    let payload = match entry.payload {
        None => EntryPayload::Blank,
        Some(peer::entry::Payload::Command(bytes)) => EntryPayload::Normal(Proposal(bytes)),
        Some(peer::entry::Payload::Membership(members)) => EntryPayload::Membership(members_from_wire(members)?),
    };
    Ok(EntryOf { log_id: from_wire(id), payload })
}

pub(crate) fn decode_entry(row: Bytes) -> io::Result<EntryOf> {
    let entry = peer::Entry::decode(row).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("log entry: {error}")))?;
    entry_from_wire(entry)
}

pub(crate) fn decode_command(bytes: &Bytes) -> io::Result<peer::Command> {
    peer::Command::decode(bytes.clone()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("command: {error}")))
}
