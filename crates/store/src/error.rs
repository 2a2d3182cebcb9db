//! What can go wrong with a request to the store, in etcd's words where a client of etcd may see it.

use std::io;
use thiserror::Error;
use tricorn_proto::peer::Failure;

/// The answer of everything the store is asked.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// The state machine refused: see its own error for code and text.
    #[error(transparent)]
    Refused(#[from] tricorn_mvcc::Error),
    /// A write of a leader that is not the leader any more. Nothing was changed.
    #[error("etcdserver: fenced: the write was made for term {fence}, the term is {term}")]
    Fenced {
        /// The term the writer holds.
        fence: u64,
        /// The term it met.
        term: u64,
    },
    /// No leader is known, and none was found in time. Nothing was changed.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// The leader changed while the request was under way; a write may or may not have happened.
    #[error("etcdserver: leader changed")]
    LeaderChanged,
    /// No answer in time; a write may or may not have happened.
    #[error("etcdserver: request timed out")]
    Timeout,
    /// Too much is under way already. Nothing was changed.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// The store is closing or closed.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// Only the leader can do this.
    #[error("etcdserver: not leader")]
    NotLeader,
    /// Leadership cannot go to this member.
    #[error("etcdserver: bad leader transferee")]
    BadTransferee,
    /// No such member.
    #[error("etcdserver: member not found")]
    MemberNotFound,
    /// The id is taken.
    #[error("etcdserver: member ID already exist")]
    MemberExists,
    /// Another member has this peer URL.
    #[error("etcdserver: Peer URLs already exists")]
    PeerUrlExists,
    /// The member is a voter already.
    #[error("etcdserver: can only promote a learner member")]
    NotLearner,
    /// The learner lags behind.
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
    /// One change of membership at a time, and none that would stop the group.
    #[error("etcdserver: unhealthy cluster: {0}")]
    Unhealthy(String),
    /// A URL that cannot be reached as written.
    #[error("etcdserver: given member URLs are invalid: {0}")]
    InvalidUrl(String),
    /// The data directory belongs to another cluster or member, is damaged, or was written by a newer version.
    #[error("data directory {path}: {reason}")]
    DataDir {
        /// Where.
        path: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The disk failed.
    #[error("{operation}: {reason}")]
    Disk {
        /// What was being done.
        operation: String,
        /// What the disk said.
        reason: String,
    },
    /// A snapshot that cannot be used.
    #[error("snapshot: {0}")]
    Snapshot(String),
    /// The configuration does not make sense.
    #[error("store configuration: {0}")]
    Config(String),
    /// Something in the consensus layer failed for good.
    #[error("etcdserver: raft: {0}")]
    Raft(String),
}

impl Error {
    /// A disk error with what was being done.
    pub(crate) fn disk(operation: impl Into<String>, error: &io::Error) -> Self {
        Self::Disk { operation: operation.into(), reason: error.to_string() }
    }

    /// The form that travels between members.
    pub(crate) fn to_failure(&self) -> Failure {
        let kind = |kind: u32| Failure { kind, ..Failure::default() };
        let text = |kind: u32, detail: &str| Failure { kind, detail: detail.to_owned(), number: 0 };
        match self {
            Self::Refused(error) => refused_to_failure(error),
            Self::Fenced { fence, term } => Failure { kind: 99, detail: fence.to_string(), number: *term },
            Self::NoLeader => kind(101),
            Self::LeaderChanged => kind(102),
            Self::Timeout => kind(103),
            Self::TooManyRequests => kind(104),
            Self::Stopped => kind(105),
            Self::NotLeader => kind(106),
            Self::BadTransferee => kind(107),
            Self::MemberNotFound => kind(108),
            Self::MemberExists => kind(109),
            Self::PeerUrlExists => kind(110),
            Self::NotLearner => kind(111),
            Self::LearnerNotReady => kind(112),
            Self::Unhealthy(detail) => text(113, detail),
            Self::InvalidUrl(detail) => text(114, detail),
            other => text(199, &other.to_string()),
        }
    }

    /// Reads it back.
    pub(crate) fn from_failure(failure: &Failure) -> Self {
        let detail = || failure.detail.clone();
        match failure.kind {
            99 => Self::Fenced { fence: failure.detail.parse().unwrap_or(0), term: failure.number },
            101 => Self::NoLeader,
            102 => Self::LeaderChanged,
            103 => Self::Timeout,
            104 => Self::TooManyRequests,
            105 => Self::Stopped,
            106 => Self::NotLeader,
            107 => Self::BadTransferee,
            108 => Self::MemberNotFound,
            109 => Self::MemberExists,
            110 => Self::PeerUrlExists,
            111 => Self::NotLearner,
            112 => Self::LearnerNotReady,
            113 => Self::Unhealthy(detail()),
            114 => Self::InvalidUrl(detail()),
            kind if kind < 99 => refused_from_failure(failure),
            _ => Self::Raft(detail()),
        }
    }
}

/// Errors of the state machine that carry nothing but their kind, by number.
const REFUSALS: [tricorn_mvcc::Error; 33] = {
    use tricorn_mvcc::Error as E;
    [
        E::EmptyKey,
        E::KeyNotFound,
        E::ValueProvided,
        E::LeaseProvided,
        E::TooManyOps,
        E::DuplicateKey,
        E::InvalidSortOption,
        E::Compacted,
        E::FutureRevision,
        E::LeaseNotFound,
        E::LeaseExists,
        E::LeaseTtlTooLarge,
        E::RequestTooLarge,
        E::NoSpace,
        E::RootUserNotFound,
        E::RootRoleNotGranted,
        E::UserExists,
        E::UserEmpty,
        E::UserNotFound,
        E::RoleExists,
        E::RoleEmpty,
        E::RoleNotFound,
        E::AuthFailed,
        E::NoPasswordUser,
        E::PasswordTooLong,
        E::PermissionNotGiven,
        E::PermissionDenied,
        E::RoleNotGranted,
        E::PermissionNotGranted,
        E::AuthNotEnabled,
        E::InvalidAuthToken,
        E::InvalidAuthManagement,
        E::AuthOldRevision,
    ]
};

fn refused_to_failure(error: &tricorn_mvcc::Error) -> Failure {
    if let tricorn_mvcc::Error::Fenced { fence, term } = error {
        return Error::Fenced { fence: *fence, term: *term }.to_failure();
    }
    match REFUSALS.iter().position(|known| known == error) {
        Some(at) => Failure { kind: u32::try_from(at + 1).unwrap_or(0), ..Failure::default() },
        None => Failure { kind: 0, detail: error.to_string(), number: 0 },
    }
}

fn refused_from_failure(failure: &Failure) -> Error {
    let known = usize::try_from(failure.kind).ok().and_then(|kind| REFUSALS.get(kind.wrapping_sub(1)));
    Error::Refused(known.cloned().unwrap_or_else(|| tricorn_mvcc::Error::State(failure.detail.clone())))
}
