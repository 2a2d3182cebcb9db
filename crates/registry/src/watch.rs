//! Watching one resource: a cursor in its cache's ring.

use crate::cache::{Cache, Change, ChangeKind, Position};
use crate::list::Predicate;
use crate::object::Object;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tricorn_meta::Status;
use tricorn_store::Pacing;

/// A watcher takes at most this many changes from the ring at once.
const BATCH: usize = 256;
/// What follows a batch this closely is gathered for the next one.
const GAP: Duration = Duration::from_millis(5);

/// One thing that a watcher is told.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// What happened, as far as this watcher can see.
    pub kind: ChangeKind,
    /// The object to show.
    pub object: Arc<Object>,
}

/// What a watcher is told at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// In revision order; empty when the store only moved on.
    pub events: Vec<WatchEvent>,
    /// The watcher has seen everything up to this revision.
    pub revision: i64,
}

/// A watch of one resource, or of a part of it. Dropping it ends it.
pub struct Watch {
    cache: Arc<Cache>,
    reached: watch::Receiver<i64>,
    position: Position,
    /// Changes from before the ring, read from the store's history.
    history: VecDeque<Arc<Change>>,
    scope: String,
    predicate: Predicate,
    seen: i64,
    pacing: Pacing,
}

impl Watch {
    pub(crate) fn new(
        cache: Arc<Cache>,
        position: Position,
        history: VecDeque<Arc<Change>>,
        scope: String,
        predicate: Predicate,
        seen: i64,
    ) -> Self {
        let mut reached = cache.changes();
        reached.mark_changed();
        Self { cache, reached, position, history, scope, predicate, seen, pacing: Pacing::new(GAP) }
    }

    /// The next events, or an empty batch when only the revision moved. An error means that the watcher was too slow and must list again.
    pub async fn next(&mut self) -> Result<Batch, Status> {
        if !self.history.is_empty() {
            let mut batch = Batch { events: Vec::new(), revision: self.seen };
            let take = self.history.len().min(BATCH);
            let changes: Vec<_> = self.history.drain(..take).collect();
            self.collect(&changes, &mut batch);
            self.seen = batch.revision;
            return Ok(batch);
        }
        loop {
            self.pacing.rest().await;
            if self.reached.changed().await.is_err() {
                return Err(Status::service_unavailable("the server is shutting down".to_owned()));
            }
            let reached = *self.reached.borrow_and_update();
            let (changes, end) = {
                let state = self.cache.state.read();
                let changes = state.changes_from(self.position, BATCH);
                (changes.ok_or_else(|| Status::expired("too old resource version: the watch fell behind".to_owned()))?, state.end())
            };
            let more = self.position + (changes.len() as u64) < end;
            let mut batch = Batch { events: Vec::new(), revision: self.seen };
            self.collect(&changes, &mut batch);
            self.position += changes.len() as u64;
            if more {
                self.reached.mark_changed();
            } else {
                batch.revision = batch.revision.max(reached);
            }
            if !batch.events.is_empty() && !more {
                self.pacing.sent();
            }
            if batch.revision > self.seen || !batch.events.is_empty() {
                self.seen = batch.revision;
                return Ok(batch);
            }
        }
    }

    /// Asks the store how far it has come; the answer arrives as an empty batch.
    pub fn want_progress(&self) {
        self.cache.want_progress();
    }

    fn collect(&self, changes: &[Arc<Change>], batch: &mut Batch) {
        for change in changes {
            batch.revision = batch.revision.max(change.revision);
            if change.object.key().starts_with(&self.scope)
                && let Some(event) = seen_through(change, &self.predicate)
            {
                batch.events.push(event);
            }
        }
    }
}

/// What a watcher that only sees objects which match is told of a change.
fn seen_through(change: &Change, predicate: &Predicate) -> Option<WatchEvent> {
    let seen_as = |kind: ChangeKind, object: &Arc<Object>| WatchEvent { kind, object: object.clone() };
    let after = change.kind != ChangeKind::Deleted && predicate.matches(&change.object);
    let before = change.previous.as_ref().is_some_and(|previous| predicate.matches(previous));
    match (before, after) {
        (false, false) => None,
        (true, true) => Some(seen_as(change.kind, &change.object)),
        (false, true) => Some(seen_as(ChangeKind::Added, &change.object)),
        (true, false) if change.kind == ChangeKind::Deleted => Some(seen_as(change.kind, &change.object)),
        (true, false) => {
            let last = change.previous.as_ref()?.at(change.revision).ok()?;
            Some(seen_as(ChangeKind::Deleted, &Arc::new(last)))
        }
    }
}
