//! etcd's state machine: revisions, transactions, leases, users and roles, history and compaction, as a function of what it is handed.
//!
//! [`Machine::apply`] takes one replicated [`Command`](tricorn_proto::peer::Command) and the tables as they stand, and
//! leaves behind pending rows, an answer and events. [`Reader`] answers every question that changes nothing. Both reach
//! their rows through [`View`] and never learn what is behind it.
//!
//! This crate must never know a clock, a socket, a file, a source of randomness or a runtime: time and ids arrive in the
//! command, so that every member computes the same result from the same log.

mod auth;
mod check;
mod compact;
mod error;
mod hash;
mod history;
mod import;
mod lease;
mod machine;
mod page;
mod pending;
mod read;
mod record;
mod span;
mod table;
mod txn;
mod write;

pub use auth::{Access, AuthState, Rights, RightsCache, TokenChange};
pub use check::{Limits, check_command, check_range, is_read_only, is_serializable};
pub use error::{Code, Error, Result};
pub use hash::KvHash;
pub use history::{History, HistoryLimits};
pub use import::{Import, bump};
pub use lease::Lease;
pub use machine::{Applied, LeaseChange, Machine, Place, takes_space};
pub use pending::{Change, Pending};
pub use read::Reader;
pub use span::Span;
pub use table::{Cursor, Table, View};
