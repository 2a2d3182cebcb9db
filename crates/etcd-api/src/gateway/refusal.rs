//! Errors as the gateway says them.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;
use tonic::{Code, Status};

/// The answer to a call that has failed. `error` says the same as `message`: older clients read the one, newer the other.
pub(crate) fn refused(status: &Status) -> Response {
    let message = status.message();
    let body = json!({ "error": message, "message": message, "code": i32::from(status.code()) });
    (http_status(status.code()), [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// What a stream says last when it has failed; clients of the old and of the new gateway find what they look for.
pub(crate) fn chunk(status: &Status) -> Vec<u8> {
    let http = http_status(status.code());
    let code = i32::from(status.code());
    let error = json!({
        "grpc_code": code,
        "http_code": http.as_u16(),
        "message": status.message(),
        "http_status": http.canonical_reason().unwrap_or_default(),
        "code": code,
    });
    let mut line = json!({ "error": error }).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// HTTP's status for gRPC's, as the gateway of etcd 3.6 maps them.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // There is no name for it, and the client has gone.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
