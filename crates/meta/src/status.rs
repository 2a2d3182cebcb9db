//! The answer that is not an object: metav1 `Status`, which is also the error type of the whole API side.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::field::{FieldError, aggregate};
use crate::gvk::qualify;

/// Why a request was refused, for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum Reason {
    /// Nothing more is known than the code.
    #[default]
    #[serde(rename = "")]
    Unknown,
    /// No or bad credentials.
    Unauthorized,
    /// Not allowed.
    Forbidden,
    /// Not there.
    NotFound,
    /// There already.
    AlreadyExists,
    /// The object changed meanwhile, or fields belong to somebody else.
    Conflict,
    /// Was there once; the resource version is too old.
    Gone,
    /// The object breaks rules of its kind.
    Invalid,
    /// The server could not finish in time, and a retry may help.
    ServerTimeout,
    /// The request ran out of time.
    Timeout,
    /// Too many requests at once.
    TooManyRequests,
    /// The request makes no sense.
    BadRequest,
    /// The verb does not fit the resource.
    MethodNotAllowed,
    /// No representation fits what the client accepts.
    NotAcceptable,
    /// The body is larger than the server takes.
    RequestEntityTooLarge,
    /// The body's format is not known.
    UnsupportedMediaType,
    /// The server failed.
    InternalError,
    /// The continue token or resource version is too old.
    Expired,
    /// The server cannot serve this now.
    ServiceUnavailable,
}

/// One reason among several, usually one field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusCause {
    /// Machine-readable reason of this cause.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Text for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field, where there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// What the request was about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StatusDetails {
    /// Name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Group of the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Kind or, mostly, the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UID of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The causes, field by field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// Seconds after which a retry makes sense; 0 says nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A refusal (or, rarely, a success without an object).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    code: u16,
    reason: Reason,
    message: String,
    details: Option<Box<StatusDetails>>,
    success: bool,
}

impl Status {
    fn failure(code: u16, reason: Reason, message: impl Into<String>, details: Option<StatusDetails>) -> Self {
        Self { code, reason, message: message.into(), details: details.map(Box::new), success: false }
    }

    fn about(group: &str, kind: &str, name: &str) -> StatusDetails {
        StatusDetails { group: group.to_owned(), kind: kind.to_owned(), name: name.to_owned(), ..StatusDetails::default() }
    }

    /// Code 200 with `status: Success`, as deletions answer; `details` may name what was deleted.
    pub fn success(details: Option<StatusDetails>) -> Self {
        Self { code: 200, reason: Reason::Unknown, message: String::new(), details: details.map(Box::new), success: true }
    }

    /// A refusal put together by hand, for what the constructors below do not cover (such as an answer of another server).
    pub fn custom(code: u16, reason: Reason, message: impl Into<String>, details: Option<StatusDetails>) -> Self {
        Self::failure(code, reason, message, details)
    }

    /// 404: no such object.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualify(resource, group));
        Self::failure(404, Reason::NotFound, message, Some(Self::about(group, resource, name)))
    }

    /// 404: no such path.
    pub fn path_not_found() -> Self {
        Self::failure(404, Reason::NotFound, "the server could not find the requested resource", Some(StatusDetails::default()))
    }

    /// 409: an object of this name is there already.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualify(resource, group));
        Self::failure(409, Reason::AlreadyExists, message, Some(Self::about(group, resource, name)))
    }

    /// 409: every name that was generated is taken.
    pub fn generate_name_conflict(group: &str, resource: &str, name: &str) -> Self {
        let message = format!(
            "{} {name:?} already exists, the server was not able to generate a unique name for the object",
            qualify(resource, group)
        );
        Self::failure(409, Reason::AlreadyExists, message, Some(Self::about(group, resource, name)))
    }

    /// 409: the operation does not fit the object's state; `why` says so.
    pub fn conflict(group: &str, resource: &str, name: &str, why: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualify(resource, group));
        Self::failure(409, Reason::Conflict, message, Some(Self::about(group, resource, name)))
    }

    /// 409: the resource version that was sent is not the current one.
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(group, resource, name, "the object has been modified; please apply your changes to the latest version and try again")
    }

    /// 409: fields that an apply wants belong to other managers.
    pub fn apply_conflict(message: impl Into<String>, causes: Vec<StatusCause>) -> Self {
        Self::failure(409, Reason::Conflict, message, Some(StatusDetails { causes, ..StatusDetails::default() }))
    }

    /// 422: the object breaks rules of its kind.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: Vec<FieldError>) -> Self {
        let mut message = format!("{} {name:?} is invalid", qualify(kind, group));
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&aggregate(&errors));
        }
        let causes = errors
            .iter()
            .map(|e| StatusCause { reason: e.kind.reason().to_owned(), message: e.body(), field: e.path.as_str().to_owned() })
            .collect();
        let details = StatusDetails { causes, ..Self::about(group, kind, name) };
        Self::failure(422, Reason::Invalid, message, Some(details))
    }

    /// 403: not allowed; `why` says so.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: impl fmt::Display) -> Self {
        let message = if resource.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{} is forbidden: {why}", qualify(resource, group))
        } else {
            format!("{} {name:?} is forbidden: {why}", qualify(resource, group))
        };
        Self::failure(403, Reason::Forbidden, message, Some(Self::about(group, resource, name)))
    }

    /// 401: no or bad credentials.
    pub fn unauthorized(why: impl Into<String>) -> Self {
        let why = why.into();
        Self::failure(401, Reason::Unauthorized, if why.is_empty() { "Unauthorized".to_owned() } else { why }, None)
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, Reason::BadRequest, message, None)
    }

    /// 405: the verb does not fit the resource.
    pub fn method_not_supported(group: &str, resource: &str, action: &str) -> Self {
        let message = format!("{action} is not supported on resources of kind {:?}", qualify(resource, group));
        Self::failure(405, Reason::MethodNotAllowed, message, Some(Self::about(group, resource, "")))
    }

    /// 405: the path takes no such HTTP method.
    pub fn method_not_allowed() -> Self {
        Self::failure(
            405,
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
            Some(StatusDetails::default()),
        )
    }

    /// 410: the resource version or continue token is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, Reason::Expired, message, None)
    }

    /// 410: it was there once and will not come back.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, Reason::Gone, message, None)
    }

    /// 413: the body is too large.
    pub fn too_large(message: impl fmt::Display) -> Self {
        Self::failure(413, Reason::RequestEntityTooLarge, format!("Request entity is too large: {message}"), None)
    }

    /// 429: come back after `retry_after` seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after: u32) -> Self {
        let details = StatusDetails { retry_after_seconds: retry_after, ..StatusDetails::default() };
        Self::failure(429, Reason::TooManyRequests, message, Some(details))
    }

    /// 500: the server failed.
    pub fn internal(why: impl fmt::Display) -> Self {
        let why = why.to_string();
        let causes = vec![StatusCause { message: why.clone(), ..StatusCause::default() }];
        let details = StatusDetails { causes, ..StatusDetails::default() };
        Self::failure(500, Reason::InternalError, format!("Internal error occurred: {why}"), Some(details))
    }

    /// 501: this server has no such thing.
    pub fn not_implemented(what: impl fmt::Display) -> Self {
        Self::failure(501, Reason::Unknown, format!("{what} is not implemented"), None)
    }

    /// 504: the request ran out of time.
    pub fn timeout(message: impl fmt::Display, retry_after: u32) -> Self {
        let details = StatusDetails { retry_after_seconds: retry_after, ..StatusDetails::default() };
        Self::failure(504, Reason::Timeout, format!("Timeout: {message}"), Some(details))
    }

    /// 500: the operation could not be finished in time; a retry may help.
    pub fn server_timeout(group: &str, resource: &str, operation: &str, retry_after: u32) -> Self {
        let message = format!(
            "The {operation} operation against {} could not be completed at this time, please try again.",
            qualify(resource, group)
        );
        let details = StatusDetails { retry_after_seconds: retry_after, ..Self::about(group, resource, operation) };
        Self::failure(500, Reason::ServerTimeout, message, Some(details))
    }

    /// 406: none of the representations the client accepts is served.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", accepted.join(", "));
        Self::failure(406, Reason::NotAcceptable, message, None)
    }

    /// 415: the body's format is not one of those understood.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!("the body of the request was in an unknown format - accepted media types include: {}", accepted.join(", "));
        Self::failure(415, Reason::UnsupportedMediaType, message, None)
    }

    /// 503: not now.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, Reason::ServiceUnavailable, message, None)
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The machine-readable reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The text for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the request was about, where known.
    pub fn details(&self) -> Option<&StatusDetails> {
        self.details.as_deref()
    }

    /// Seconds that a `Retry-After` header should carry, where there is such advice.
    pub fn retry_after(&self) -> Option<u32> {
        self.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0)
    }

    /// Whether this says that the object is not there.
    pub fn is_not_found(&self) -> bool {
        self.reason == Reason::NotFound
    }

    /// Whether this says that the object changed meanwhile.
    pub fn is_conflict(&self) -> bool {
        self.reason == Reason::Conflict
    }

    /// Whether this says that an object of the name is there already.
    pub fn is_already_exists(&self) -> bool {
        self.reason == Reason::AlreadyExists
    }

    /// The body of the answer.
    pub fn to_json(&self) -> Value {
        let mut out =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": if self.success { "Success" } else { "Failure" }});
        if !self.message.is_empty() {
            out["message"] = Value::from(self.message.as_str());
        }
        if self.reason != Reason::Unknown {
            out["reason"] = Value::from(format!("{:?}", self.reason));
        }
        if let Some(details) = &self.details {
            out["details"] = serde_json::to_value(details.as_ref()).unwrap_or_default();
        }
        if !self.success {
            out["code"] = Value::from(self.code);
        }
        out
    }

    /// Reads a Status that another server sent; `None` when the value is not one.
    pub fn from_json(value: &Value) -> Option<Self> {
        if value.get("kind").and_then(Value::as_str) != Some("Status") {
            return None;
        }
        let code = value.get("code").and_then(Value::as_u64).and_then(|c| u16::try_from(c).ok());
        let success = value.get("status").and_then(Value::as_str) == Some("Success");
        Some(Self {
            code: code.unwrap_or(if success { 200 } else { 500 }),
            reason: value.get("reason").and_then(|r| serde_json::from_value(r.clone()).ok()).unwrap_or_default(),
            message: value.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            details: value.get("details").and_then(|d| serde_json::from_value(d.clone()).ok()),
            success,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldPath;

    #[test]
    fn an_invalid_object_names_every_field() {
        let errors = vec![FieldError::required(&FieldPath::new("spec").child("selector"), "")];
        let status = Status::invalid("apps", "Deployment", "web", errors);
        assert_eq!(
            status.to_json(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "Deployment.apps \"web\" is invalid: spec.selector: Required value",
                "reason": "Invalid",
                "details": {"name": "web", "group": "apps", "kind": "Deployment",
                    "causes": [{"reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector"}]},
                "code": 422
            })
        );
    }

    #[test]
    fn messages_are_the_ones_clients_match() {
        let cases = [
            (Status::not_found("", "pods", "a"), 404, "pods \"a\" not found"),
            (Status::already_exists("apps", "deployments", "a"), 409, "deployments.apps \"a\" already exists"),
            (Status::forbidden("", "pods", "", "why"), 403, "pods is forbidden: why"),
            (Status::method_not_supported("", "pods", "delete"), 405, "delete is not supported on resources of kind \"pods\""),
            (Status::internal("x"), 500, "Internal error occurred: x"),
            (Status::unauthorized(""), 401, "Unauthorized"),
        ];
        for (status, code, message) in cases {
            assert_eq!((status.code(), status.message()), (code, message));
            assert_eq!(Status::from_json(&status.to_json()), Some(status));
        }
    }
}
