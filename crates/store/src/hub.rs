//! Who watches what: every applied revision is handed, once and shared, to those whose keys it touched.
//!
//! Each watcher has a bounded queue. One that does not keep up is taken off the live feed and reads history until it has
//! caught up; it never holds up apply, and it misses nothing.

use crate::counters::{Counters, add};
use crate::events::Events;
use crate::mutation::{Mutation, active};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;
use tricorn_mvcc::Span;
use tricorn_proto::mvccpb::Event;

/// Revisions a watcher may be behind before it is sent to read history.
const QUEUE: usize = 512;

/// One applied revision.
pub(crate) struct Published {
    pub revision: i64,
    pub events: Events,
}

#[derive(Clone)]
pub(crate) enum Item {
    Events(i64, Events),
    Progress(i64),
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// On the live feed: everything from `next` on will be queued.
    live: bool,
    /// The first revision that is neither queued nor delivered.
    next: i64,
    progress_wanted: bool,
    closed: bool,
}

/// What one watcher is fed from.
pub(crate) struct Feed {
    id: u64,
    key: Bytes,
    range_end: Bytes,
    queue: Mutex<Queue>,
    pub wake: Notify,
}

/// What a watcher should do next.
pub(crate) enum Step {
    Deliver(Item),
    /// Read history from this revision on.
    CatchUp(i64),
    Wait,
    Closed,
}

impl Feed {
    pub fn span(&self) -> Span<'_> {
        Span::new(&self.key, &self.range_end)
    }

    pub fn step(&self) -> Step {
        let mut queue = self.queue.lock();
        if let Some(item) = queue.items.pop_front() {
            return Step::Deliver(item);
        }
        if queue.closed {
            Step::Closed
        } else if queue.live {
            Step::Wait
        } else {
            Step::CatchUp(queue.next)
        }
    }

    /// History has been read up to but without `next`.
    pub fn caught_up_to(&self, next: i64) {
        let mut queue = self.queue.lock();
        queue.next = queue.next.max(next);
    }

    fn push(&self, item: Item, revision: i64, counters: &Counters) {
        {
            let mut queue = self.queue.lock();
            if !queue.live || revision < queue.next {
                return;
            }
            if queue.items.len() >= QUEUE {
                queue.live = false;
                add(&counters.slow_watchers, 1);
            } else {
                queue.items.push_back(item);
                queue.next = revision + 1;
            }
        }
        self.wake.notify_one();
    }
}

#[derive(Default)]
struct Inner {
    revision: i64,
    next_id: u64,
    closed: bool,
    exact: HashMap<Bytes, Vec<Arc<Feed>>>,
    /// Watchers of the same range share one look at each event.
    ranges: BTreeMap<(Bytes, Bytes), Vec<Arc<Feed>>>,
    /// Watchers of a time to come that want to hear of progress: there is none before they begin.
    early: Vec<Arc<Feed>>,
}

impl Inner {
    /// Queues a progress report behind every event before it, or notes that it is wanted: of a time before it begins a watch is told
    /// nothing, and one that reads history is told when it has read it. Whether it was queued.
    fn report_progress(&mut self, feed: &Arc<Feed>, queue: &mut Queue) -> bool {
        let early = queue.live && queue.next > self.revision + 1;
        if early && !queue.progress_wanted {
            self.early.push(feed.clone());
        }
        let now = queue.live && !early && queue.items.len() < QUEUE;
        queue.progress_wanted = !now;
        if now {
            queue.items.push_back(Item::Progress(self.revision));
        }
        now
    }

    /// Tells those whose time has come.
    fn report_to_early(&mut self) {
        for feed in std::mem::take(&mut self.early) {
            let mut queue = feed.queue.lock();
            if std::mem::take(&mut queue.progress_wanted) && self.report_progress(&feed, &mut queue) {
                feed.wake.notify_one();
            }
        }
    }
}

/// All watchers of one member.
pub(crate) struct Hub {
    inner: Mutex<Inner>,
    counters: Arc<Counters>,
}

impl Hub {
    pub fn new(revision: i64, counters: Arc<Counters>) -> Self {
        Self { inner: Mutex::new(Inner { revision, ..Inner::default() }), counters }
    }

    /// Feeds a new watcher from `start` on; 0 for what happens from now on.
    pub fn add(&self, key: Bytes, range_end: Bytes, start: i64) -> Arc<Feed> {
        let mut inner = self.inner.lock();
        inner.next_id += 1;
        let next = if start > 0 { start } else { inner.revision + 1 };
        let queue = Queue { live: next > inner.revision, next, closed: inner.closed, ..Queue::default() };
        let feed = Arc::new(Feed { id: inner.next_id, key, range_end, queue: Mutex::new(queue), wake: Notify::new() });
        let group = if feed.range_end.is_empty() {
            inner.exact.entry(feed.key.clone()).or_default()
        } else {
            inner.ranges.entry((feed.key.clone(), feed.range_end.clone())).or_default()
        };
        group.push(feed.clone());
        feed
    }

    pub fn remove(&self, feed: &Feed) {
        let mut inner = self.inner.lock();
        inner.early.retain(|early| early.id != feed.id);
        if feed.range_end.is_empty() {
            let empty = inner.exact.get_mut(&feed.key).is_some_and(|group| leave(group, feed.id));
            if empty {
                inner.exact.remove(&feed.key);
            }
        } else {
            let name = (feed.key.clone(), feed.range_end.clone());
            let empty = inner.ranges.get_mut(&name).is_some_and(|group| leave(group, feed.id));
            if empty {
                inner.ranges.remove(&name);
            }
        }
    }

    /// Takes a feed that has read all of history back on the live one. False when more has happened meanwhile.
    pub fn attach(&self, feed: &Arc<Feed>) -> bool {
        let mut inner = self.inner.lock();
        let mut queue = feed.queue.lock();
        if queue.next <= inner.revision {
            return false;
        }
        queue.live = true;
        if std::mem::take(&mut queue.progress_wanted) {
            inner.report_progress(feed, &mut queue);
        }
        true
    }

    /// Queues a progress report behind every event before it.
    pub fn request_progress(&self, feed: &Arc<Feed>) {
        self.inner.lock().report_progress(feed, &mut feed.queue.lock());
        feed.wake.notify_one();
    }

    /// How far an idle watcher has come; none when it is not idle.
    pub fn idle_progress(&self, feed: &Feed) -> Option<i64> {
        let inner = self.inner.lock();
        let queue = feed.queue.lock();
        (queue.live && queue.items.is_empty() && queue.next <= inner.revision + 1).then_some(inner.revision)
    }

    pub fn watchers(&self) -> usize {
        let inner = self.inner.lock();
        inner.exact.values().chain(inner.ranges.values()).map(Vec::len).sum()
    }

    /// Hands out what has been applied, in order.
    pub fn publish(&self, batch: &[Published]) {
        let mut inner = self.inner.lock();
        for published in batch {
            inner.revision = published.revision;
            for ((key, range_end), group) in &inner.ranges {
                let span = Span::new(key, range_end);
                if let Some(events) = matching(&published.events, span) {
                    for feed in group {
                        feed.push(Item::Events(published.revision, events.clone()), published.revision, &self.counters);
                    }
                }
            }
            if !inner.exact.is_empty() {
                self.publish_exact(&inner, published);
            }
        }
        inner.report_to_early();
    }

    fn publish_exact(&self, inner: &Inner, published: &Published) {
        let mut seen: Vec<&Bytes> = Vec::new();
        for event in published.events.iter() {
            let Some(key) = event.kv.as_ref().map(|kv| &kv.key) else { continue };
            let Some(group) = inner.exact.get(key) else { continue };
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            if let Some(events) = matching(&published.events, Span::One(key)) {
                for feed in group {
                    feed.push(Item::Events(published.revision, events.clone()), published.revision, &self.counters);
                }
            }
        }
    }

    /// The state has been replaced by a snapshot: everybody reads history from where they are.
    pub fn replaced(&self, revision: i64) {
        let mut inner = self.inner.lock();
        let before = inner.revision;
        inner.revision = revision;
        if active(Mutation::WatchMissesSnapshot) {
            return;
        }
        for feed in inner.exact.values().chain(inner.ranges.values()).flatten() {
            let mut queue = feed.queue.lock();
            if queue.live {
                queue.next = queue.next.max(before + 1);
                queue.live = false;
            }
            drop(queue);
            feed.wake.notify_one();
        }
    }

    /// Ends every watch.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        for feed in inner.exact.values().chain(inner.ranges.values()).flatten() {
            feed.queue.lock().closed = true;
            feed.wake.notify_one();
        }
    }
}

/// Takes the feed out of its group; whether the group is empty now.
fn leave(group: &mut Vec<Arc<Feed>>, id: u64) -> bool {
    group.retain(|feed| feed.id != id);
    group.is_empty()
}

/// The events inside `span`: shared when that is all of them.
fn matching(events: &Events, span: Span<'_>) -> Option<Events> {
    let inside = |event: &&Event| event.kv.as_ref().is_some_and(|kv| span.contains(&kv.key));
    let count = events.iter().filter(inside).count();
    match count {
        0 => None,
        all if all == events.len() => Some(events.clone()),
        _ => Some(events.iter().filter(inside).cloned().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_of_a_time_to_come_hears_of_no_time_before_it_though_a_snapshot_came() {
        let hub = Hub::new(5, Arc::new(Counters::default()));
        let feed = hub.add(Bytes::from_static(b"k"), Bytes::new(), 20);
        hub.replaced(8);
        assert!(matches!(feed.step(), Step::CatchUp(20)));
        hub.request_progress(&feed);
        assert!(hub.attach(&feed));
        assert!(matches!(feed.step(), Step::Wait), "revision 8 is before it begins");
        let quiet = |revision| Published { revision, events: Events::from(Vec::new()) };
        hub.publish(&[quiet(18)]);
        assert!(matches!(feed.step(), Step::Wait));
        hub.publish(&[quiet(19)]);
        assert!(matches!(feed.step(), Step::Deliver(Item::Progress(19))));
        assert!(matches!(feed.step(), Step::Wait), "once");
    }
}
