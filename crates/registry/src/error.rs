//! What a failure of the store means to a client of the Kubernetes API.

use tricorn_meta::Status;
use tricorn_store::Error;

/// A failed store operation as a Status. `operation` and `key` go into the message.
pub(crate) fn store_error(operation: &str, key: &str, error: &Error) -> Status {
    match error {
        Error::Refused(tricorn_mvcc::Error::Compacted) => too_old(0),
        Error::Refused(tricorn_mvcc::Error::FutureRevision) => Status::bad_request(format!("{operation} {key}: {error}")),
        Error::Refused(tricorn_mvcc::Error::RequestTooLarge) => Status::too_large(format_args!("{operation} {key}: {error}")),
        Error::Timeout | Error::LeaderChanged => Status::timeout(format_args!("{operation} {key}: {error}"), 1),
        Error::NoLeader | Error::Stopped | Error::NotLeader => Status::service_unavailable(format!("{operation} {key}: {error}")),
        Error::TooManyRequests => Status::too_many_requests(format!("{operation} {key}: {error}"), 1),
        // A stale leader's write changed nothing and must not be tried again with the same term.
        Error::Fenced { .. } | Error::Refused(tricorn_mvcc::Error::Fenced { .. }) => {
            Status::custom(409, tricorn_meta::Reason::Conflict, format!("{operation} {key}: {error}"), None)
        }
        _ => Status::internal(format_args!("{operation} {key}: {error}")),
    }
}

/// The revision that a client wants has been compacted. `oldest` is the oldest that there is; 0: not known.
pub(crate) fn too_old(oldest: i64) -> Status {
    if oldest > 0 {
        Status::expired(format!("The resourceVersion for the provided watch is too old: the oldest is {oldest}."))
    } else {
        Status::expired("The resourceVersion for the provided list is too old.")
    }
}

/// The server has not got as far as the client wants.
pub(crate) fn too_new(wanted: i64, reached: i64) -> Status {
    let cause = tricorn_meta::StatusCause {
        reason: "ResourceVersionTooLarge".to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    };
    let details = tricorn_meta::StatusDetails { causes: vec![cause], retry_after_seconds: 1, ..Default::default() };
    let message = format!("Timeout: Too large resource version: {wanted}, current: {reached}");
    Status::custom(504, tricorn_meta::Reason::Timeout, message, Some(details))
}
