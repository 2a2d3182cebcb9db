//! The time of leases. Every member knows what was granted; only the leader keeps deadlines, and proposes what must end.

use crate::mutation::{Mutation, active};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use tricorn_mvcc::{Lease, LeaseChange};
use tricorn_proto::etcdserverpb::LeaseCheckpoint;

/// Seconds of a lease's life that are written down even if that is less than half of it.
const MARK_SECONDS: i64 = 5;

struct Kept {
    lease: Lease,
    /// Known to the leader only.
    deadline: Option<Instant>,
    /// Its end has been proposed.
    ending: bool,
    /// A rest shorter than its full time is written down, or on its way to be.
    marked: bool,
}

impl From<Lease> for Kept {
    fn from(lease: Lease) -> Self {
        Self { lease, deadline: None, ending: false, marked: lease.remaining > 0 }
    }
}

#[derive(Default)]
struct Inner {
    /// In order, so that the same things happen in the same order everywhere.
    leases: BTreeMap<i64, Kept>,
    leading: bool,
    /// Rests are being written down: nobody knows yet whether they will be.
    marking: bool,
}

/// All leases of one member.
#[derive(Default)]
pub(crate) struct Lessor {
    inner: Mutex<Inner>,
}

/// What keeping a lease alive came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// There is no such lease.
    Gone,
    /// It lives for so many seconds more; `marked` says that a shorter rest is written down and must be cleared first.
    Renewed { seconds: i64, marked: bool },
}

fn seconds(seconds: i64) -> Duration {
    // Centuries are enough, and a later deadline would overflow.
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(9_000_000_000))
}

fn rest(deadline: Instant, now: Instant) -> i64 {
    let left = deadline.saturating_duration_since(now);
    i64::try_from(left.as_secs()).unwrap_or(i64::MAX) + i64::from(left.subsec_nanos() > 0)
}

impl Lessor {
    /// Starts over with what the state holds.
    pub fn replace(&self, leases: Vec<Lease>) {
        let mut inner = self.inner.lock();
        inner.leases = leases.into_iter().map(|lease| (lease.id, Kept::from(lease))).collect();
        if inner.leading {
            inner.lead(Instant::now());
        }
    }

    /// What apply has done.
    pub fn changed(&self, changes: &[LeaseChange]) {
        if changes.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        for change in changes {
            match change {
                LeaseChange::Granted(lease) => {
                    let deadline = inner.leading.then(|| Instant::now() + seconds(lease.granted));
                    inner.leases.insert(lease.id, Kept { deadline, ..Kept::from(*lease) });
                }
                LeaseChange::Revoked(id) => {
                    inner.leases.remove(id);
                }
                LeaseChange::Marked(lease) => {
                    let marking = inner.marking;
                    if let Some(kept) = inner.leases.get_mut(&lease.id) {
                        kept.lease = *lease;
                        kept.marked = lease.remaining > 0 || (kept.marked && marking);
                    }
                }
            }
        }
    }

    /// Takes over: every lease gets what was left of it.
    pub fn lead(&self) {
        self.inner.lock().lead(Instant::now());
    }

    /// Hands over: whoever leads now keeps the time.
    pub fn follow(&self) {
        let mut inner = self.inner.lock();
        inner.leading = false;
        for kept in inner.leases.values_mut() {
            kept.deadline = None;
            kept.ending = false;
        }
    }

    /// Gives a lease its full time again. Only the leader may.
    pub fn renew(&self, id: i64) -> Renewal {
        let mut inner = self.inner.lock();
        let Some(kept) = inner.leases.get_mut(&id) else { return Renewal::Gone };
        if kept.ending {
            return Renewal::Gone;
        }
        kept.deadline = Some(Instant::now() + seconds(kept.lease.granted));
        Renewal::Renewed { seconds: kept.lease.granted, marked: kept.marked }
    }

    /// Granted and remaining seconds.
    pub fn time_left(&self, id: i64) -> Option<(i64, i64)> {
        let inner = self.inner.lock();
        let kept = inner.leases.get(&id)?;
        let left = kept.deadline.map_or_else(|| kept.lease.left(), |deadline| rest(deadline, Instant::now()));
        Some((kept.lease.granted, left))
    }

    pub fn ids(&self) -> Vec<i64> {
        self.inner.lock().leases.keys().copied().collect()
    }

    /// Leases whose time is up, at most `limit`; each is named until [`Lessor::retry`] or its end.
    pub fn take_expired(&self, limit: usize) -> Vec<i64> {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        if !inner.leading || active(Mutation::ExpiredLeaseKept) {
            return Vec::new();
        }
        let due = inner.leases.values_mut().filter(|kept| !kept.ending && kept.deadline.is_some_and(|deadline| deadline <= now));
        due.take(limit)
            .map(|kept| {
                kept.ending = true;
                kept.lease.id
            })
            .collect()
    }

    /// The end of a lease could not be proposed: it is due again.
    pub fn retry(&self, id: i64) {
        if let Some(kept) = self.inner.lock().leases.get_mut(&id) {
            kept.ending = false;
        }
    }

    /// What should be written down: leases much further on than the log knows. A renewal from now on clears it again, after it has
    /// been written; [`Lessor::marks_written`] says that nothing is on its way any more.
    pub fn marks(&self, limit: usize) -> Vec<LeaseCheckpoint> {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let marks = inner.leases.values_mut().filter_map(|kept| {
            let left = rest(kept.deadline?, now);
            let behind = kept.lease.left() - left > MARK_SECONDS.max(kept.lease.granted / 2).min(300);
            (behind && left > 0).then(|| {
                kept.marked = true;
                LeaseCheckpoint { id: kept.lease.id, remaining_ttl: left }
            })
        });
        let marks: Vec<LeaseCheckpoint> = marks.take(limit).collect();
        inner.marking = !marks.is_empty();
        marks
    }

    /// The log has taken what [`Lessor::marks`] gave out, or refused it, or nobody knows.
    pub fn marks_written(&self) {
        self.inner.lock().marking = false;
    }
}

impl Inner {
    fn lead(&mut self, now: Instant) {
        self.leading = true;
        for kept in self.leases.values_mut() {
            kept.ending = false;
            kept.deadline = Some(now + seconds(kept.lease.left()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_renewal_clears_a_rest_that_is_on_its_way_to_the_log() {
        let lessor = Lessor::default();
        let lease = Lease { id: 7, granted: 60, remaining: 0 };
        lessor.changed(&[LeaseChange::Granted(lease)]);
        lessor.lead();
        assert_eq!(lessor.renew(7), Renewal::Renewed { seconds: 60, marked: false });
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(lessor.marks(10), [LeaseCheckpoint { id: 7, remaining_ttl: 20 }]);
        // The log has not taken it yet; what was cleared before says nothing about it.
        assert_eq!(lessor.renew(7), Renewal::Renewed { seconds: 60, marked: true });
        lessor.changed(&[LeaseChange::Marked(lease)]);
        assert_eq!(lessor.renew(7), Renewal::Renewed { seconds: 60, marked: true });
        lessor.changed(&[LeaseChange::Marked(Lease { remaining: 20, ..lease })]);
        lessor.marks_written();
        assert_eq!(lessor.renew(7), Renewal::Renewed { seconds: 60, marked: true });
        lessor.changed(&[LeaseChange::Marked(lease)]);
        assert_eq!(lessor.renew(7), Renewal::Renewed { seconds: 60, marked: false });
    }
}
