//! The pace of a stream of events: what comes after a rest goes out at once, and what follows closely goes out together.

use std::time::Duration;
use tokio::time::Instant;

/// Keeps a gap between the answers of one stream, so that a busy stream has few large ones in the place of many small ones: waking up a task,
/// encrypting and writing cost more than most events do.
#[derive(Debug)]
pub struct Pacing {
    gap: Duration,
    rested: Instant,
}

impl Pacing {
    /// At most one answer every `gap`.
    #[must_use]
    pub fn new(gap: Duration) -> Self {
        Self { gap, rested: Instant::now() }
    }

    /// Waits until the gap behind the last answer is over. May be dropped and called again.
    pub async fn rest(&self) {
        if Instant::now() < self.rested {
            tokio::time::sleep_until(self.rested).await;
        }
    }

    /// An answer goes out now.
    pub fn sent(&mut self) {
        self.rested = Instant::now() + self.gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_busy_stream_is_held_and_a_rested_one_is_not() {
        let gap = Duration::from_millis(5);
        let begun = Instant::now();
        let mut pacing = Pacing::new(gap);
        for turn in 0..3 {
            pacing.rest().await;
            assert_eq!(begun.elapsed(), gap * turn);
            pacing.sent();
        }
        tokio::time::advance(gap * 10).await;
        let rested = Instant::now();
        pacing.rest().await;
        assert_eq!(rested.elapsed(), Duration::ZERO);
    }
}
