//! Counting and timing: what one run of one load came to.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::process::{Usage, usage};

/// What one run of one load came to.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Name of the load.
    pub workload: String,
    /// Operations that succeeded.
    pub operations: u64,
    /// Operations that failed; not timed.
    pub errors: u64,
    /// The first error's text.
    pub first_error: Option<String>,
    /// Length of the run.
    pub seconds: f64,
    /// Operations a second.
    pub per_second: f64,
    /// Half of the operations took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took no longer, in milliseconds.
    pub p99_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
    /// Processor time of all given servers an operation, in microseconds.
    pub cpu_us_per_operation: Option<f64>,
    /// Memory of all given servers after the run, in bytes.
    pub rss_bytes: Option<u64>,
}

/// What one client has done; merged with the others' at the end.
#[derive(Default)]
pub(crate) struct Tally {
    /// Microseconds of each operation.
    times: Vec<u32>,
    errors: u64,
    first_error: Option<String>,
}

impl Tally {
    pub fn success(&mut self, took: Duration) {
        self.times.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn failure(&mut self, error: impl ToString) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    pub fn merge(&mut self, other: Self) {
        self.times.extend(other.times);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// A run that has begun.
pub(crate) struct Run {
    begun: Instant,
    before: Option<Usage>,
    pids: Vec<u32>,
}

impl Run {
    pub fn begin(pids: &[u32]) -> Self {
        Self { before: usage(pids), pids: pids.to_vec(), begun: Instant::now() }
    }

    pub fn end(self, workload: &str, mut tally: Tally) -> Measurement {
        let seconds = self.begun.elapsed().as_secs_f64();
        let after = usage(&self.pids);
        tally.times.sort_unstable();
        let operations = tally.times.len();
        // Counts and times of a run fit into the 53 bits many times over.
        #[allow(clippy::cast_precision_loss)]
        let count = operations as f64;
        let cpu = self.before.zip(after).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
        let millis = |share| at_share(&tally.times, share).map_or(0.0, |micros| f64::from(micros) / 1000.0);
        Measurement {
            workload: workload.to_owned(),
            operations: operations as u64,
            errors: tally.errors,
            first_error: tally.first_error,
            seconds,
            per_second: count / seconds.max(1e-9),
            p50_ms: millis(0.50),
            p99_ms: millis(0.99),
            max_ms: millis(1.0),
            cpu_us_per_operation: cpu.filter(|_| operations > 0).map(|cpu| cpu.as_secs_f64() * 1e6 / count),
            rss_bytes: after.map(|usage| usage.rss_bytes),
        }
    }
}

/// The value that this share of all, which are sorted, does not exceed; none of nothing.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn at_share<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_operations() {
        let mut tally = Tally::default();
        (1..=100u64).rev().for_each(|n| tally.success(Duration::from_millis(n)));
        tally.failure("first");
        tally.failure("second");
        let measured = Run::begin(&[]).end("w", tally);
        assert_eq!((measured.p50_ms, measured.p99_ms, measured.max_ms), (50.0, 99.0, 100.0));
        assert_eq!((measured.operations, measured.errors, measured.first_error.as_deref()), (100, 2, Some("first")));
        let nothing = Run::begin(&[]).end("w", Tally::default());
        assert_eq!((nothing.p99_ms, nothing.cpu_us_per_operation), (0.0, None));
    }
}
