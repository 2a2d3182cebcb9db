//! What can be wrong with a request, in etcd's words: its clients match on them.

use thiserror::Error;

/// The answer of everything that reads or changes the tables.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The gRPC status a client of etcd expects beside the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The request itself is wrong.
    InvalidArgument,
    /// A revision or a time outside what there is.
    OutOfRange,
    /// What was named does not exist.
    NotFound,
    /// The state does not allow it.
    FailedPrecondition,
    /// The database is full.
    ResourceExhausted,
    /// The user may not.
    PermissionDenied,
    /// Nobody knows who is asking.
    Unauthenticated,
    /// etcd has no code for it.
    Unknown,
    /// The member itself is in trouble.
    Internal,
}

/// Why a command or a read was refused. The texts are etcd's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A key is missing in the request.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// `ignore_value` or `ignore_lease` on a key that is not there, or an empty operation in a transaction.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A value beside `ignore_value`.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A lease beside `ignore_lease`.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// A transaction longer than the limit.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// One transaction changes a key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A sort order or target that does not exist.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// A revision older than the last compaction.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// A revision that has not happened yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// No such lease.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// The id of the lease is taken.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// More seconds than a lease may have.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// More bytes than a request may have.
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// The quota is used up.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// Authentication cannot be switched on without a user `root`.
    #[error("etcdserver: root user does not exist")]
    RootUserNotFound,
    /// Authentication cannot be switched on while `root` has not got the role `root`.
    #[error("etcdserver: root user does not have root role")]
    RootRoleNotGranted,
    /// The name is taken.
    #[error("etcdserver: user name already exists")]
    UserExists,
    /// A name is missing, or the client has not said who it is.
    #[error("etcdserver: user name is empty")]
    UserEmpty,
    /// No such user.
    #[error("etcdserver: user name not found")]
    UserNotFound,
    /// The name is taken.
    #[error("etcdserver: role name already exists")]
    RoleExists,
    /// A name is missing.
    #[error("etcdserver: role name is empty")]
    RoleEmpty,
    /// No such role.
    #[error("etcdserver: role name not found")]
    RoleNotFound,
    /// Wrong name or wrong password.
    #[error("etcdserver: authentication failed, invalid user ID or password")]
    AuthFailed,
    /// The user has no password, so that none is right.
    #[error("auth: authentication failed, password was given for no password user")]
    NoPasswordUser,
    /// A password longer than the hash looks at.
    #[error("bcrypt: password length exceeds 72 bytes")]
    PasswordTooLong,
    /// A grant without saying of what.
    #[error("etcdserver: permission not given")]
    PermissionNotGiven,
    /// The user's roles do not allow it.
    #[error("etcdserver: permission denied")]
    PermissionDenied,
    /// The user has not got the role.
    #[error("etcdserver: role is not granted to the user")]
    RoleNotGranted,
    /// The role has not got the permission.
    #[error("etcdserver: permission is not granted to the role")]
    PermissionNotGranted,
    /// Nobody can log in while authentication is off.
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    /// A token that nobody has been given, or whose time is up.
    #[error("etcdserver: invalid auth token")]
    InvalidAuthToken,
    /// A change that would lock everybody out, or a permission of no keys.
    #[error("etcdserver: invalid auth management")]
    InvalidAuthManagement,
    /// Users or roles have changed since it was found out who asks.
    #[error("etcdserver: revision of auth store is old")]
    AuthOldRevision,
    /// The command was meant for another leader's term than the one it was appended in.
    #[error("etcdserver: leader changed: the command was fenced to term {fence} and reached the log in term {term}")]
    Fenced {
        /// The term the proposer held.
        fence: u64,
        /// The term of the entry.
        term: u64,
    },
    /// The rows could not be read, or are not what they should be.
    #[error("etcdserver: state: {0}")]
    State(String),
}

impl Error {
    /// The status code that goes with the text.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::EmptyKey
            | Self::KeyNotFound
            | Self::ValueProvided
            | Self::LeaseProvided
            | Self::TooManyOps
            | Self::DuplicateKey
            | Self::InvalidSortOption
            | Self::RequestTooLarge
            | Self::UserEmpty
            | Self::RoleEmpty
            | Self::AuthFailed
            | Self::PermissionNotGiven
            | Self::InvalidAuthManagement
            | Self::AuthOldRevision => Code::InvalidArgument,
            Self::Compacted | Self::FutureRevision | Self::LeaseTtlTooLarge => Code::OutOfRange,
            Self::LeaseNotFound => Code::NotFound,
            Self::LeaseExists
            | Self::RootUserNotFound
            | Self::RootRoleNotGranted
            | Self::UserExists
            | Self::UserNotFound
            | Self::RoleExists
            | Self::RoleNotFound
            | Self::RoleNotGranted
            | Self::PermissionNotGranted
            | Self::AuthNotEnabled
            | Self::Fenced { .. } => Code::FailedPrecondition,
            Self::NoSpace => Code::ResourceExhausted,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::InvalidAuthToken => Code::Unauthenticated,
            Self::NoPasswordUser | Self::PasswordTooLong => Code::Unknown,
            Self::State(_) => Code::Internal,
        }
    }
}
