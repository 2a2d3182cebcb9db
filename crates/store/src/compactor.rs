//! Compacts by itself what nobody asks about any more: by revision, or by age, as etcd does.

use crate::config::AutoCompaction;
use crate::leases::command;
use crate::node::Node;
use crate::ticks::Ticks;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tricorn_proto::etcdserverpb::CompactionRequest;
use tricorn_proto::peer::command::Op;

/// How often revisions are counted. More often than etcd does, so that each time there is little to drop.
const BY_REVISION: Duration = Duration::from_secs(30);
/// An age is looked at this many times.
const STEPS: u32 = 10;
/// However long the age is, at least this often.
const LONGEST_STEP: Duration = Duration::from_secs(60);

/// What has been seen of the past: which revision was the newest when.
struct Past {
    keep: AutoCompaction,
    seen: VecDeque<(Instant, i64)>,
}

impl Past {
    fn new(keep: AutoCompaction) -> Self {
        Self { keep, seen: VecDeque::new() }
    }

    fn period(&self) -> Option<Duration> {
        match self.keep {
            AutoCompaction::Off => None,
            AutoCompaction::Revisions(_) => Some(BY_REVISION),
            AutoCompaction::Age(age) => Some((age / STEPS).clamp(Duration::from_millis(10), LONGEST_STEP)),
        }
    }

    /// The newest revision that need not be readable any more, now that `revision` is the newest.
    fn due(&mut self, now: Instant, revision: i64) -> Option<i64> {
        match self.keep {
            AutoCompaction::Off => None,
            AutoCompaction::Revisions(kept) => Some(revision.saturating_sub(kept)).filter(|due| *due > 0),
            AutoCompaction::Age(age) => {
                self.seen.push_back((now, revision));
                let mut due = None;
                while self.seen.front().is_some_and(|(at, _)| now.duration_since(*at) >= age) {
                    due = self.seen.pop_front().map(|(_, old)| old);
                }
                due
            }
        }
    }
}

/// Every member looks, so that a new leader knows the past; the leader compacts.
pub(crate) async fn drive(node: Arc<Node>, keep: AutoCompaction) {
    let mut past = Past::new(keep);
    let Some(period) = past.period() else { return };
    let mut ticks = Ticks::every(period, &node.stop);
    while ticks.next().await {
        let revision = node.state.applied.borrow().revision;
        let Some(due) = past.due(Instant::now(), revision) else { continue };
        if due <= node.state.compacted() || !node.leadership.borrow().is_leader {
            continue;
        }
        let request = CompactionRequest { revision: due, physical: false };
        match node.propose(&command(Op::Compact(request), None)).await {
            Ok(_) => tracing::debug!(revision = due, "compacted"),
            // Somebody was faster, or there is no quorum: the next look will see.
            Err(error) => tracing::debug!(revision = due, %error, "not compacted"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn so_many_revisions_are_kept() {
        let mut past = Past::new(AutoCompaction::Revisions(100));
        let now = Instant::now();
        assert_eq!(past.due(now, 50), None);
        assert_eq!(past.due(now, 100), None);
        assert_eq!(past.due(now, 150), Some(50));
    }

    #[test]
    fn what_is_younger_than_the_age_is_kept() {
        let mut past = Past::new(AutoCompaction::Age(Duration::from_secs(100)));
        assert_eq!(past.period(), Some(Duration::from_secs(10)));
        let begun = Instant::now();
        let mut dues = Vec::new();
        for step in 0..=20_u32 {
            dues.extend(past.due(begun + Duration::from_secs(10) * step, i64::from(step) * 7));
        }
        // At 100 s what was the newest at 0 s, and so on.
        assert_eq!(dues, (0..=10).map(|step| step * 7).collect::<Vec<i64>>());
        assert!(past.seen.len() <= 10);
    }

    #[test]
    fn after_a_pause_the_newest_that_is_old_enough_counts() {
        let mut past = Past::new(AutoCompaction::Age(Duration::from_secs(100)));
        let begun = Instant::now();
        for step in 0..5_u32 {
            assert_eq!(past.due(begun + Duration::from_secs(10) * step, i64::from(step)), None);
        }
        assert_eq!(past.due(begun + Duration::from_secs(500), 9), Some(4));
    }
}
