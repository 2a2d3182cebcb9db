//! What the store counts about itself.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long something took: totals and etcd's exponential buckets.
#[derive(Debug, Default)]
pub struct Timing {
    cells: Mutex<TimingSnapshot>,
}

/// Upper bounds of the buckets, in seconds: 1 ms doubling up to about 8 s.
pub const BUCKETS: [f64; 14] = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192];

/// A [`Timing`] at one moment.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct TimingSnapshot {
    /// Occurrences that took no longer than the bound of the same place in [`BUCKETS`], and no less than the one before.
    pub buckets: [u64; BUCKETS.len()],
    /// All occurrences.
    pub count: u64,
    /// Seconds altogether.
    pub sum: f64,
}

impl Timing {
    pub(crate) fn record(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut cells = self.cells.lock();
        cells.count += 1;
        cells.sum += seconds;
        if let Some(at) = BUCKETS.iter().position(|bound| seconds <= *bound)
            && let Some(bucket) = cells.buckets.get_mut(at)
        {
            *bucket += 1;
        }
    }

    /// The totals now.
    #[must_use]
    pub fn snapshot(&self) -> TimingSnapshot {
        self.cells.lock().clone()
    }
}

/// Counts and timings that only grow, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Synced writes of the log.
    pub fsync: Timing,
    /// Batches written to the state.
    pub commit: Timing,
    pub(crate) leader_changes: AtomicU64,
    pub(crate) applied_commands: AtomicU64,
    pub(crate) applied_bytes: AtomicU64,
    pub(crate) failed_proposals: AtomicU64,
    pub(crate) slow_watchers: AtomicU64,
    pub(crate) peer_sent_bytes: AtomicU64,
    pub(crate) peer_received_bytes: AtomicU64,
}

impl Counters {
    /// Times a new leader was seen.
    #[must_use]
    pub fn leader_changes(&self) -> u64 {
        self.leader_changes.load(Ordering::Relaxed)
    }

    /// Commands applied.
    #[must_use]
    pub fn applied_commands(&self) -> u64 {
        self.applied_commands.load(Ordering::Relaxed)
    }

    /// Proposals that got no answer.
    #[must_use]
    pub fn failed_proposals(&self) -> u64 {
        self.failed_proposals.load(Ordering::Relaxed)
    }

    /// Times a watcher fell behind and was sent to read history.
    #[must_use]
    pub fn slow_watchers(&self) -> u64 {
        self.slow_watchers.load(Ordering::Relaxed)
    }

    /// Bytes of requests sent to other members.
    #[must_use]
    pub fn peer_sent_bytes(&self) -> u64 {
        self.peer_sent_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of requests received from other members.
    #[must_use]
    pub fn peer_received_bytes(&self) -> u64 {
        self.peer_received_bytes.load(Ordering::Relaxed)
    }
}

pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
