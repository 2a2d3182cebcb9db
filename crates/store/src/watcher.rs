//! One watch: live events, history when it begins in the past or fell behind, and how far it has come.

use crate::error::{Error, Result};
use crate::events::Events;
use crate::host;
use crate::hub::{Feed, Hub, Item, Step};
use crate::state::State;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tricorn_mvcc::{History, HistoryLimits};
use tricorn_proto::mvccpb::Event;
use tricorn_proto::mvccpb::event::EventType;

/// What to watch.
#[derive(Debug, Clone, Default)]
pub struct WatchOptions {
    /// The key, or the first of a range.
    pub key: Bytes,
    /// As in a Range: empty for one key, one zero byte for all that follow.
    pub range_end: Bytes,
    /// First revision wanted; 0 for what happens from now on.
    pub start_revision: i64,
    /// Events carry what the key was before.
    pub prev_kv: bool,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletions out.
    pub no_delete: bool,
    /// Report progress when nothing has happened for this long.
    pub progress: Option<Duration>,
}

/// What a watch says.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchMessage {
    /// All matching changes of one revision.
    Events {
        /// The revision.
        revision: i64,
        /// The changes, in order.
        events: Events,
    },
    /// Everything up to this revision has been delivered.
    Progress {
        /// The revision.
        revision: i64,
    },
    /// The watch has ended.
    Canceled {
        /// Not 0: the revisions it wanted are gone, and this is the oldest that can be watched.
        compact_revision: i64,
        /// Why.
        reason: String,
    },
}

/// A running watch; dropping it ends it.
pub struct Watcher {
    hub: Arc<Hub>,
    state: Arc<State>,
    feed: Arc<Feed>,
    options: WatchOptions,
    ready: VecDeque<WatchMessage>,
    ended: bool,
}

/// Asks things of a watch whose messages somebody else is waiting for.
#[derive(Clone)]
pub struct WatchHandle {
    hub: Arc<Hub>,
    feed: Arc<Feed>,
}

impl WatchHandle {
    /// Has the watch say how far it has come, once it has said everything before that.
    pub fn request_progress(&self) {
        self.hub.request_progress(&self.feed);
    }
}

impl Watcher {
    pub(crate) fn new(hub: Arc<Hub>, state: Arc<State>, options: WatchOptions) -> Self {
        let feed = hub.add(options.key.clone(), options.range_end.clone(), options.start_revision);
        Self { hub, state, feed, options, ready: VecDeque::new(), ended: false }
    }

    /// A handle for requests beside the messages.
    #[must_use]
    pub fn handle(&self) -> WatchHandle {
        WatchHandle { hub: self.hub.clone(), feed: self.feed.clone() }
    }

    /// The next message; none after the watch has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<WatchMessage> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            if self.ended {
                return None;
            }
            match self.feed.step() {
                Step::Deliver(Item::Events(revision, events)) => {
                    if let Some(events) = self.wanted(&events) {
                        return Some(WatchMessage::Events { revision, events });
                    }
                }
                Step::Deliver(Item::Progress(revision)) => return Some(WatchMessage::Progress { revision }),
                Step::CatchUp(from) => self.catch_up(from).await,
                Step::Wait => {
                    if let Some(message) = self.wait().await {
                        return Some(message);
                    }
                }
                Step::Closed => return self.end(0, Error::Stopped.to_string()),
            }
        }
    }

    async fn wait(&self) -> Option<WatchMessage> {
        let woken = self.feed.wake.notified();
        let Some(period) = self.options.progress else {
            woken.await;
            return None;
        };
        match tokio::time::timeout(period, woken).await {
            Ok(()) => None,
            Err(_) => self.hub.idle_progress(&self.feed).map(|revision| WatchMessage::Progress { revision }),
        }
    }

    async fn catch_up(&mut self, from: i64) {
        if self.hub.attach(&self.feed) {
            return;
        }
        let (state, feed) = (self.state.clone(), self.feed.clone());
        let read = host::blocking(move || read_history(&state, &feed, from)).await;
        match read {
            Ok(Ok(history)) => {
                for (revision, events) in history.revisions {
                    let events = Events::from(events);
                    if let Some(events) = self.wanted(&events) {
                        self.ready.push_back(WatchMessage::Events { revision, events });
                    }
                }
                self.feed.caught_up_to(history.next);
            }
            Ok(Err(Error::Refused(tricorn_mvcc::Error::Compacted))) => {
                let compacted = self.state.compacted();
                let last = self.end(compacted, tricorn_mvcc::Error::Compacted.to_string());
                self.ready.extend(last);
            }
            Ok(Err(error)) => {
                let last = self.end(0, error.to_string());
                self.ready.extend(last);
            }
            Err(error) => {
                let last = self.end(0, error.to_string());
                self.ready.extend(last);
            }
        }
    }

    fn end(&mut self, compact_revision: i64, reason: String) -> Option<WatchMessage> {
        self.ended = true;
        Some(WatchMessage::Canceled { compact_revision, reason })
    }

    /// What the filters leave; shared when that is everything.
    fn wanted(&self, events: &Events) -> Option<Events> {
        let options = &self.options;
        let keep = |event: &Event| match event.r#type() {
            EventType::Put => !options.no_put,
            EventType::Delete => !options.no_delete,
        };
        let all = !(options.no_put || options.no_delete) || events.iter().all(keep);
        let events = if options.prev_kv { events.clone() } else { events.without_previous() };
        if all {
            return Some(events);
        }
        let left: Events = events.iter().filter(|event| keep(event)).cloned().collect();
        (!left.is_empty()).then_some(left)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.remove(&self.feed);
    }
}

fn read_history(state: &State, feed: &Feed, from: i64) -> Result<History> {
    state.read(|reader| reader.history(from, feed.span(), HistoryLimits::default()))
}
