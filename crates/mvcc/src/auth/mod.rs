//! Users, roles, and what a client may do: etcd's rules, as functions of rows.
//!
//! [`Access`] is what one caller may do at one moment; a command is checked against it when it is applied, a read against
//! the rows that it is read from. Passwords arrive hashed and tokens arrive made: nothing here knows dice or a clock.

mod access;
mod change;
mod read;
mod rights;
pub(crate) mod rows;

pub use access::Access;
pub use change::TokenChange;
pub(crate) use change::run;
pub use rights::{Rights, RightsCache};
pub use rows::AuthState;
