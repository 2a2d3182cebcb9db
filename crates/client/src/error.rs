//! One error for a request to the API: which operation, on which object, and why it failed.

use kube::core::Status;

/// A request to the API server that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}: {}", reason(.source))]
pub struct RequestError {
    /// What was tried, such as "create" or "update status".
    pub operation: &'static str,
    /// The object it was tried on, such as "Pod default/web-1".
    pub object: String,
    /// What the client or the server answered.
    #[source]
    pub source: kube::Error,
}

/// The server's own words where it answered, the client's otherwise.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl RequestError {
    fn status(&self) -> Option<&Status> {
        match &self.source {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }

    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    /// An object of that name exists already.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    /// Somebody else changed the object in between: read again and retry.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(Status::is_conflict)
    }

    /// The server refuses the object as it stands: trying again unchanged is useless.
    pub fn is_invalid(&self) -> bool {
        self.status().is_some_and(Status::is_invalid)
    }

    /// The caller may not do this, or admission or quota said no.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(Status::is_forbidden)
    }

    /// The namespace that the object was to be made in is being deleted.
    pub fn is_namespace_terminating(&self) -> bool {
        self.status()
            .and_then(|status| status.details.as_ref())
            .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating"))
    }
}

/// Gives a bare client error the operation and the object that it belongs to.
pub trait Context<T> {
    /// Names what was tried, and on what.
    fn context(self, operation: &'static str, object: impl FnOnce() -> String) -> Result<T, RequestError>;
}

impl<T> Context<T> for Result<T, kube::Error> {
    fn context(self, operation: &'static str, object: impl FnOnce() -> String) -> Result<T, RequestError> {
        self.map_err(|source| RequestError { operation, object: object(), source })
    }
}
