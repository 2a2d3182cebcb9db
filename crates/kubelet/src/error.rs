//! What can go wrong on a node. Every error names the operation and the object it was about.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A failed operation of the kubelet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, directory, mount or process operation failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried, such as "write".
        operation: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The container runtime refused or failed a call.
    #[error("{operation} {object}: {}", status.message())]
    Runtime {
        /// The CRI or containerd call.
        operation: &'static str,
        /// The image, sandbox or container.
        object: String,
        /// The runtime's answer.
        status: Box<tonic::Status>,
    },
    /// The API server refused or failed a request.
    #[error("{operation} {object}: {source}")]
    Api {
        /// The verb.
        operation: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// What the client said.
        source: Box<kube::Error>,
    },
    /// Something took longer than it may.
    #[error("{operation} {object}: no answer within {limit:?}")]
    Deadline {
        /// What was waited for.
        operation: &'static str,
        /// The object it was about.
        object: String,
        /// How long it was given.
        limit: Duration,
    },
    /// A feature that the pod asks for is not there.
    #[error("{0}: not implemented")]
    NotImplemented(String),
    /// Input that cannot be used.
    #[error("{0}")]
    Invalid(String),
}

/// The result of a kubelet operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps an operating-system error with its operation and path.
    pub fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { operation, path, source }
    }

    /// Wraps a runtime's answer with the call and the object.
    pub fn runtime(operation: &'static str, object: &str) -> impl FnOnce(tonic::Status) -> Error {
        let object = object.to_owned();
        move |status| Error::Runtime { operation, object, status: Box::new(status) }
    }

    /// Wraps an API error with the verb and the object.
    pub fn api(operation: &'static str, object: String) -> impl FnOnce(kube::Error) -> Error {
        move |source| Error::Api { operation, object, source: Box::new(source) }
    }

    /// Whether the API server says that the object does not exist.
    pub fn is_api_not_found(&self) -> bool {
        matches!(self, Error::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 404))
    }

    /// Whether the runtime says that the object does not exist.
    pub fn is_runtime_not_found(&self) -> bool {
        matches!(self, Error::Runtime { status, .. } if status.code() == tonic::Code::NotFound)
    }
}
