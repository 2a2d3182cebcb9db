//! The tables of the state machine and the trait they are read through.

use crate::Result;
use bytes::Bytes;

/// One ordered map of byte strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table(pub u8);

impl Table {
    /// Key to its latest record: what a read of the newest revision scans, and nothing else.
    pub const CURRENT: Self = Self(0);
    /// Key and revision to a superseded record or a tombstone, newest first within a key.
    pub const OLD: Self = Self(1);
    /// Revision to what it changed: watch history, and the walk of compaction.
    pub const LOG: Self = Self(2);
    /// Lease to its granted and remaining seconds.
    pub const LEASE: Self = Self(3);
    /// Lease and key, for every key that hangs on a lease.
    pub const LEASE_KEY: Self = Self(4);
    /// Counters of the machine, and whatever its host wants to change together with them.
    pub const META: Self = Self(5);
    /// Users, roles, and whether they count.
    pub const AUTH: Self = Self(6);
    /// Every table, in order.
    pub const ALL: [Self; 7] = [Self::CURRENT, Self::OLD, Self::LOG, Self::LEASE, Self::LEASE_KEY, Self::META, Self::AUTH];

    /// A stable name, for files and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CURRENT => "current",
            Self::OLD => "old",
            Self::LOG => "log",
            Self::LEASE => "lease",
            Self::LEASE_KEY => "lease_key",
            Self::AUTH => "auth",
            _ => "meta",
        }
    }
}

/// Rows as they stood at one moment: everything read through one view belongs together.
pub trait View {
    /// One row.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>>;

    /// The rows from `start` on, in byte order, up to but without `end`; to the table's end when there is none.
    fn scan<'a>(&'a self, table: Table, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>>;
}

/// A place in an ordered run of rows. It begins at the first one.
pub trait Cursor {
    /// Whether there is a row here. Key and value may be asked for only then.
    fn valid(&self) -> bool;
    /// Its key; empty past the end.
    fn key(&self) -> &[u8];
    /// Its value; empty past the end.
    fn value(&self) -> &[u8];
    /// Goes to the next row.
    fn advance(&mut self) -> Result<()>;
}
