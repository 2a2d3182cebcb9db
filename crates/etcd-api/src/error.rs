//! The store's errors in etcd's codes and texts: clients match on both.

use std::net::SocketAddr;

use tonic::{Code, Status};
use tricorn_store::{Error, mvcc};

/// Why the door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for etcd clients: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The JSON gateway names a call that there is not: a fault of this program.
    #[error("the JSON gateway does not fit the services: {0}")]
    Gateway(String),
}

/// The gRPC status that etcd would answer with.
pub fn status_of(error: &Error) -> Status {
    let code = match error {
        Error::Refused(refused) => refused_code(refused.code()),
        Error::Fenced { .. } | Error::NotLeader | Error::BadTransferee | Error::MemberExists | Error::PeerUrlExists => {
            Code::FailedPrecondition
        }
        Error::NotLearner | Error::LearnerNotReady => Code::FailedPrecondition,
        Error::NoLeader | Error::LeaderChanged | Error::Timeout | Error::Stopped => Code::Unavailable,
        // The details of these two are for the log: clients compare the text.
        Error::Unhealthy(detail) => {
            tracing::warn!(%detail, "a change of membership was refused");
            return Status::unavailable("etcdserver: unhealthy cluster");
        }
        Error::InvalidUrl(detail) => {
            tracing::debug!(%detail, "member URLs were refused");
            return Status::invalid_argument("etcdserver: given member URLs are invalid");
        }
        Error::TooManyRequests => Code::Unknown,
        Error::MemberNotFound => Code::NotFound,
        Error::DataDir { .. } | Error::Disk { .. } | Error::Snapshot(_) | Error::Config(_) | Error::Raft(_) => Code::Internal,
    };
    Status::new(code, error.to_string())
}

fn refused_code(code: mvcc::Code) -> Code {
    match code {
        mvcc::Code::InvalidArgument => Code::InvalidArgument,
        mvcc::Code::OutOfRange => Code::OutOfRange,
        mvcc::Code::NotFound => Code::NotFound,
        mvcc::Code::FailedPrecondition => Code::FailedPrecondition,
        mvcc::Code::ResourceExhausted => Code::ResourceExhausted,
        mvcc::Code::PermissionDenied => Code::PermissionDenied,
        mvcc::Code::Unauthenticated => Code::Unauthenticated,
        mvcc::Code::Unknown => Code::Unknown,
        mvcc::Code::Internal => Code::Internal,
    }
}
