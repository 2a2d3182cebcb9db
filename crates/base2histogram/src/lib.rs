//! As much as openraft needs of the crate `base2histogram`: how often a number of each magnitude was seen.
//!
//! The crate of that name makes tables for all of its sixteen scales as soon as one of them is used, and keeps them: 26 MiB in every member,
//! of which openraft's scale takes a few KiB. Here a number counts for the power of two below it.

use std::fmt;
use std::marker::PhantomData;

/// One for zero, and one for each bit that can be the highest.
const BUCKETS: usize = u64::BITS as usize + 1;

/// How often numbers of each magnitude were recorded. `T` is nothing; openraft's signatures have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    kind: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// Nothing recorded yet.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: [0; BUCKETS], kind: PhantomData }
    }

    /// Counts a number.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a number `n` times.
    pub fn record_n(&mut self, value: u64, n: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[bucket] = self.counts[bucket].saturating_add(n);
    }

    /// How many numbers were recorded.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The least number that is as large as this share of all, in thousandths, to within a power of two.
    fn at(&self, permille: u64) -> u64 {
        let wanted = self.total().saturating_mul(permille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return if bucket == 0 { 0 } else { 1 << (bucket - 1) };
            }
        }
        0
    }

    /// What lies at some shares of all.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.at(1),
            p1: self.at(10),
            p5: self.at(50),
            p10: self.at(100),
            p50: self.at(500),
            p90: self.at(900),
            p99: self.at(990),
            p99_9: self.at(999),
        }
    }
}

/// What lies at some shares of all numbers of a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "[samples: {samples}, P50: {p50}, P90: {p90}, P99: {p99}, P99.9: {p99_9}]")
    }
}

/// Several histograms, one line each.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    lines: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    /// Without lines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one line more.
    #[must_use]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.lines.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_within_a_power_of_two() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats(), PercentileStats::default());
        (0..1000).for_each(|value| histogram.record(value));
        histogram.record_n(u64::MAX, 1);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p0_1, stats.p10, stats.p50, stats.p99_9), (1001, 1, 64, 256, 512));
        assert_eq!(histogram.at(1000), 1 << 63);
    }
}
