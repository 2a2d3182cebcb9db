//! What can go wrong with keys and certificates.

use std::path::PathBuf;

/// A failure of this crate; says which operation failed and on what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or key could not be made.
    #[error("cannot make {what}: {reason}")]
    Make {
        /// What was to be made.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A PEM block or DER document could not be read.
    #[error("cannot read {what}: {reason}")]
    Read {
        /// What was to be read.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A token of ours does not have the form it should have.
    #[error("malformed join token: {0}")]
    JoinToken(&'static str),
    /// The certificate authority shown is not the one that the token names.
    #[error("the server's certificate authority has hash {found}, the join token expects {expected}: wrong server, or somebody in between")]
    WrongAuthority {
        /// Hash in the token.
        expected: String,
        /// Hash of what was shown.
        found: String,
    },
    /// A key file could not be written or read.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// "read" or "write".
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn make(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Make { what: what.into(), reason: reason.to_string() }
    }

    pub(crate) fn read(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Read { what: what.into(), reason: reason.to_string() }
    }
}
