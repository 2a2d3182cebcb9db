//! Doubling delays, told the time by the caller.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// First delay of restarts and pulls.
pub const FIRST: Duration = Duration::from_secs(10);
/// Longest delay.
pub const MOST: Duration = Duration::from_secs(300);

/// How long to wait before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the latest attempt.
    pub delay: Duration,
    /// When the delay was last set.
    pub updated: Timestamp,
}

impl Backoff {
    /// The delay that follows an attempt made at `now`, given what came before. A long quiet time starts over.
    pub fn next(previous: Option<Self>, now: Timestamp) -> Self {
        let delay = match previous {
            Some(previous) if since(previous.updated, now) <= MOST * 2 => (previous.delay * 2).min(MOST),
            _ => FIRST,
        };
        Self { delay, updated: now }
    }

    /// Whether an event at `event` still keeps one waiting at `now`; until when.
    pub fn until(self, event: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if since(self.updated, now) > MOST * 2 {
            return None;
        }
        let end = event.checked_add(self.delay).ok()?;
        (now < end).then_some(end)
    }
}

fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(earlier)).unwrap_or_default()
}

/// A duration as Go prints it: `10s`, `1m20s`, `5m0s`.
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_five_minutes_and_start_over_after_ten_quiet_ones() {
        let mut now = Timestamp::UNIX_EPOCH;
        let mut backoff = None;
        let mut delays = Vec::new();
        for _ in 0..7 {
            let next = Backoff::next(backoff, now);
            delays.push(go_duration(next.delay));
            backoff = Some(next);
            now += next.delay;
        }
        assert_eq!(delays, ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]);
        now += Duration::from_secs(601);
        assert_eq!(Backoff::next(backoff, now).delay, FIRST);
    }
}
