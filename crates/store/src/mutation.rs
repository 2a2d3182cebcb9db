//! Bugs on purpose, to see whether the simulation finds them. Without the feature `mutations` none of them exists; with it,
//! each sleeps until it is chosen.

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutation {
    /// A linearizable read is answered from what this member has.
    StaleRead = 1,
    /// Log entries are acknowledged before they are synced.
    AckBeforeFsync,
    /// A truncation of the log does not reach the disk.
    LostTruncation,
    /// A lease whose time is up is kept.
    ExpiredLeaseKept,
    /// Watch events of a batch with a compaction in it are dropped.
    WatchDroppedAtCompaction,
    /// A read is answered with a read index that was asked for before it came.
    ReadIndexTooEarly,
    /// A vote is not synced, so that a restart forgets it.
    VoteForgotten,
    /// The term that a write is made for is not looked at.
    FenceIgnored,
    /// What was written down of a lease's end is not cleared when it is renewed.
    MarkNotCleared,
    /// The state does not say how far it has been applied.
    PositionForgotten,
    /// The log is purged without the state having been made durable.
    SnapshotWithoutFlush,
    /// Watchers are not told that a snapshot has replaced the state.
    WatchMissesSnapshot,
    /// A forwarded write without an answer is sent again.
    ForwardedTwice,
    /// Whoever is asked as the leader renews leases, cut off or deposed.
    DeposedRenews,
    /// The log is written on after a write has failed.
    WriteAfterFailure,
}

/// Every planted bug.
#[cfg(feature = "mutations")]
pub const MUTATIONS: [Mutation; 15] = [
    Mutation::StaleRead,
    Mutation::AckBeforeFsync,
    Mutation::LostTruncation,
    Mutation::ExpiredLeaseKept,
    Mutation::WatchDroppedAtCompaction,
    Mutation::ReadIndexTooEarly,
    Mutation::VoteForgotten,
    Mutation::FenceIgnored,
    Mutation::MarkNotCleared,
    Mutation::PositionForgotten,
    Mutation::SnapshotWithoutFlush,
    Mutation::WatchMissesSnapshot,
    Mutation::ForwardedTwice,
    Mutation::DeposedRenews,
    Mutation::WriteAfterFailure,
];

#[cfg(feature = "mutations")]
mod chosen {
    use super::Mutation;
    use std::sync::atomic::{AtomicU8, Ordering};

    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    /// Wakes one bug in this process, or lets all sleep.
    pub fn choose(mutation: Option<Mutation>) {
        CHOSEN.store(mutation.map_or(0, |mutation| mutation as u8), Ordering::Relaxed);
    }

    pub(crate) fn active(mutation: Mutation) -> bool {
        CHOSEN.load(Ordering::Relaxed) == mutation as u8
    }
}

#[cfg(feature = "mutations")]
pub(crate) use chosen::active;
#[cfg(feature = "mutations")]
pub use chosen::choose;

#[cfg(not(feature = "mutations"))]
pub(crate) const fn active(_mutation: Mutation) -> bool {
    false
}
