//! A queue of keys to look at: each at most once in the queue and in one pair of hands, with back-off.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::error::RequestError;

/// First pause after a failure; it doubles with each one that follows.
const BACKOFF_FIRST_MS: u64 = 10;
/// Longest pause between two tries of the same key.
const BACKOFF_MAX_MS: u64 = 60_000;

/// What to do with a key whose work went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something changes.
    Done,
    /// Look again after this time, or earlier if something changes.
    After(Duration),
}

struct State<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    working: HashSet<K>,
    /// Keys that came back while they were being worked on.
    again: HashSet<K>,
    timers: BTreeMap<(Instant, u64), K>,
    timer_of: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    sequence: u64,
}

struct Inner<K> {
    name: &'static str,
    state: Mutex<State<K>>,
    wake: Notify,
}

/// A queue of keys. It holds a key at most once, so it is bounded by the number of objects.
pub struct Queue<K> {
    inner: Arc<Inner<K>>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<K: Clone + Eq + Hash + Debug> Queue<K> {
    /// An empty queue; `name` is what its log lines say.
    pub fn new(name: &'static str) -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            working: HashSet::new(),
            again: HashSet::new(),
            timers: BTreeMap::new(),
            timer_of: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
        };
        Self { inner: Arc::new(Inner { name, state: Mutex::new(state), wake: Notify::new() }) }
    }

    /// Asks for a look at `key` now.
    pub fn add(&self, key: K) {
        let mut state = self.inner.state.lock();
        if state.working.contains(&key) {
            state.again.insert(key);
        } else if state.queued.insert(key.clone()) {
            state.ready.push_back(key);
            self.inner.wake.notify_one();
        }
    }

    /// Asks for a look at `key` after `delay`; the earliest of several wins.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = Instant::now() + delay;
        let mut state = self.inner.state.lock();
        if let Some(known) = state.timer_of.get(&key).copied() {
            if known.0 <= at {
                return;
            }
            state.timers.remove(&known);
        }
        state.sequence += 1;
        let slot = (at, state.sequence);
        state.timers.insert(slot, key.clone());
        state.timer_of.insert(key, slot);
        self.inner.wake.notify_one();
    }

    /// How many keys wait for their turn, delayed ones not counted.
    pub fn len(&self) -> usize {
        self.inner.state.lock().ready.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key, which is then in the caller's hands until [`Queue::done`].
    pub async fn next(&self) -> K {
        loop {
            let wait_until = {
                let mut state = self.inner.state.lock();
                state.release_due(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.queued.remove(&key);
                    state.working.insert(key.clone());
                    return key;
                }
                state.timers.keys().next().map(|(at, _)| *at)
            };
            match wait_until {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, self.inner.wake.notified()).await;
                }
                None => self.inner.wake.notified().await,
            }
        }
    }

    /// Gives a key back; it is queued again at once if somebody asked for it meanwhile.
    pub fn done(&self, key: &K) {
        let mut state = self.inner.state.lock();
        state.working.remove(key);
        if state.again.remove(key) && state.queued.insert(key.clone()) {
            state.ready.push_back(key.clone());
            self.inner.wake.notify_one();
        }
    }

    /// Forgets the failures of a key.
    pub fn forget(&self, key: &K) {
        self.inner.state.lock().failures.remove(key);
    }

    /// Counts one failure of `key` and asks for another look after the back-off; returns the count.
    pub fn retry(&self, key: K) -> u32 {
        let failures = {
            let mut state = self.inner.state.lock();
            let count = state.failures.entry(key.clone()).or_insert(0);
            *count += 1;
            *count
        };
        let pause = (BACKOFF_FIRST_MS << (failures - 1).min(20)).min(BACKOFF_MAX_MS);
        self.add_after(key, Duration::from_millis(pause));
        failures
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn release_due(&mut self, now: Instant) {
        while let Some((slot, _)) = self.timers.first_key_value().filter(|((at, _), _)| *at <= now) {
            let slot = *slot;
            if let Some(key) = self.timers.remove(&slot) {
                self.timer_of.remove(&key);
                if self.working.contains(&key) {
                    self.again.insert(key);
                } else if self.queued.insert(key.clone()) {
                    self.ready.push_back(key);
                }
            }
        }
    }
}

impl<K: Clone + Eq + Hash + Debug + Display + Send + Sync + 'static> Queue<K> {
    /// Works the queue until `shutdown`: at most `concurrency` keys at a time, a failed one again after a back-off,
    /// its error logged once in a row. Work in progress is dropped at its next wait when `shutdown` comes.
    pub async fn run<F, R>(self, concurrency: usize, shutdown: CancellationToken, work: F)
    where
        F: Fn(K) -> R,
        R: Future<Output = Result<Next, RequestError>> + Send + 'static,
    {
        let mut hands: JoinSet<(K, Result<Next, RequestError>)> = JoinSet::new();
        loop {
            let free = hands.len() < concurrency;
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(finished) = hands.join_next(), if !hands.is_empty() => match finished {
                    Ok((key, outcome)) => self.settle(key, outcome),
                    Err(error) => warn!(queue = self.inner.name, %error, "a worker was lost"),
                },
                key = self.next(), if free => {
                    let task = work(key.clone());
                    hands.spawn(async move { (key, task.await) });
                }
            }
        }
        hands.shutdown().await;
    }

    fn settle(&self, key: K, outcome: Result<Next, RequestError>) {
        match outcome {
            Ok(next) => {
                self.forget(&key);
                if let Next::After(delay) = next {
                    self.add_after(key.clone(), delay);
                }
            }
            Err(error) => {
                let failures = self.retry(key.clone());
                // A conflict only means that the cache was behind.
                if failures == 1 && !error.is_conflict() || failures == 8 {
                    warn!(queue = self.inner.name, %key, %error, "will be tried again");
                } else {
                    debug!(queue = self.inner.name, %key, %error, failures, "will be tried again");
                }
            }
        }
        self.done(&key);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_key_is_queued_once_and_worked_by_one() {
        let queue = Queue::new("test");
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert_eq!(queue.next().await, "b");
        assert_eq!(queue.len(), 0, "a is in somebody's hands");
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test]
    async fn the_earliest_delay_wins() {
        let queue = Queue::new("test");
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(30));
        queue.add_after("a", Duration::from_millis(20));
        queue.add_after("a", Duration::from_secs(60));
        assert_eq!(queue.next().await, "a");
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn failures_back_off_and_success_forgets() {
        let queue: Queue<String> = Queue::new("test");
        let calls = Arc::new(AtomicUsize::new(0));
        let shutdown = CancellationToken::new();
        queue.add("a".to_owned());
        let (seen, stop) = (calls.clone(), shutdown.clone());
        let start = Instant::now();
        queue
            .clone()
            .run(2, shutdown, move |_| {
                let (seen, stop) = (seen.clone(), stop.clone());
                async move {
                    if seen.fetch_add(1, Ordering::SeqCst) < 3 {
                        let source = kube::Error::LinesCodecMaxLineLengthExceeded;
                        return Err(RequestError { operation: "get", object: "x".into(), source });
                    }
                    stop.cancel();
                    Ok(Next::Done)
                }
            })
            .await;
        assert_eq!(calls.load(Ordering::SeqCst), 4);
        assert!(start.elapsed() >= Duration::from_millis(10 + 20 + 40));
    }
}
