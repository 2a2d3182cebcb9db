//! What happened, in order: a hash of all of it, to see that a seed always plays the same, and its last lines, for people.

use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::time::Instant;

/// Lines that are kept.
const LINES: usize = 400;

struct Inner {
    began: Instant,
    hash: u64,
    count: u64,
    lines: VecDeque<String>,
    loud: bool,
}

/// The record of one run.
pub struct Trace {
    inner: Mutex<Inner>,
}

impl Trace {
    /// Begins now; a loud one also prints every line at once.
    #[must_use]
    pub fn new(loud: bool) -> Self {
        let inner = Inner { began: Instant::now(), hash: 0xcbf2_9ce4_8422_2325, count: 0, lines: VecDeque::new(), loud };
        Self { inner: Mutex::new(inner) }
    }

    /// Milliseconds of simulated time since the beginning.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.inner.lock().began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds a line.
    pub fn note(&self, what: &str) {
        let mut inner = self.inner.lock();
        let line = format!("{:>7} {what}", inner.began.elapsed().as_millis());
        for byte in line.bytes() {
            inner.hash = (inner.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        inner.count += 1;
        if inner.loud {
            eprintln!("{line}");
        }
        if inner.lines.len() == LINES {
            inner.lines.pop_front();
        }
        inner.lines.push_back(line);
    }

    /// The hash of every line so far, and how many there were.
    #[must_use]
    pub fn hash(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.hash, inner.count)
    }

    /// The last `count` lines.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<String> {
        let inner = self.inner.lock();
        inner.lines.iter().skip(inner.lines.len().saturating_sub(count)).cloned().collect()
    }
}
