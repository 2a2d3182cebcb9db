//! What a cache holds: the objects, and a bounded ring of the latest changes. No I/O.
//!
//! The ring serves two purposes: a watcher is a cursor in it, so that no watcher has a queue of its own, and an older snapshot is today's
//! objects with the ring's changes taken back.

use super::change::{Change, ChangeKind};
use crate::object::Object;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// The ring keeps at most this many changes.
const RING_CHANGES: usize = 8192;
/// The ring keeps at most about this many bytes of serialized objects, in all encodings, but never fewer changes than `RING_FLOOR`.
const RING_BYTES: usize = 32 << 20;
const RING_FLOOR: usize = 64;

/// The place of a watcher: the number of the next change that it has not seen. Numbers only grow and survive a refill.
pub(crate) type Position = u64;

/// A change in the ring, and how many bytes of it have been counted.
#[derive(Debug)]
struct Entry {
    change: Arc<Change>,
    bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    ring: VecDeque<Entry>,
    ring_bytes: usize,
    /// The change that is measured again next, by its place in the ring.
    measured: usize,
    /// The number of the ring's first change.
    first: Position,
    /// The ring holds every change after this revision.
    complete_since: i64,
    revision: i64,
}

impl State {
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    pub(crate) fn complete_since(&self) -> i64 {
        self.complete_since
    }

    pub(crate) fn object(&self, key: &str) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = Arc<Object>> + '_ {
        self.objects.values().cloned()
    }

    /// Replaces everything with what the store holds at `revision`. Those who watch see the differences as changes.
    pub(crate) fn fill(&mut self, revision: i64, fresh: Vec<Arc<Object>>) {
        let first_time = self.revision == 0;
        let mut old = std::mem::take(&mut self.objects);
        let mut changes = Vec::new();
        for object in fresh {
            let previous = old.remove(object.key());
            let changed = previous.as_ref().is_none_or(|previous| previous.revision() != object.revision());
            if changed && !first_time {
                let kind = if previous.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
                changes.push(Change::new(object.revision(), kind, object.clone(), previous));
            }
            self.objects.insert(object.key().clone(), object);
        }
        for gone in old.into_values() {
            if let Ok(last) = gone.at(revision) {
                changes.push(Change::new(revision, ChangeKind::Deleted, Arc::new(last), Some(gone)));
            }
        }
        changes.sort_by_key(|change| change.revision);
        for change in changes {
            self.remember(Arc::new(change));
        }
        // What happened in between is not known: nobody may start to watch before this revision from the ring.
        self.complete_since = revision;
        self.revision = revision;
    }

    /// An object was written.
    pub(crate) fn put(&mut self, object: Arc<Object>) {
        let previous = self.objects.insert(object.key().clone(), object.clone());
        let kind = if previous.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        self.remember(Arc::new(Change::new(object.revision(), kind, object, previous)));
    }

    /// An object was deleted by `revision`.
    pub(crate) fn delete(&mut self, key: &str, revision: i64) {
        if let Some(previous) = self.objects.remove(key) {
            match previous.at(revision) {
                Ok(last) => self.remember(Arc::new(Change::new(revision, ChangeKind::Deleted, Arc::new(last), Some(previous)))),
                Err(error) => tracing::error!(key, %error, "a deleted object cannot be written down; its watchers are not told"),
            }
        }
    }

    /// Everything up to `revision` has been seen.
    pub(crate) fn advance(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
    }

    fn remember(&mut self, change: Arc<Change>) {
        let bytes = change.bytes();
        self.ring_bytes += bytes;
        self.ring.push_back(Entry { change, bytes });
        self.measure_again();
        while self.ring.len() > RING_CHANGES || (self.ring_bytes > RING_BYTES && self.ring.len() > RING_FLOOR) {
            if let Some(oldest) = self.ring.pop_front() {
                self.ring_bytes -= oldest.bytes;
                self.complete_since = self.complete_since.max(oldest.change.revision);
                self.first += 1;
                self.measured = self.measured.saturating_sub(1);
            }
        }
    }

    /// Changes grow while they are in the ring, as watchers ask for encodings: most of them soon, so a change is measured again when it has
    /// the floor behind it, and some much later, so all are, one each time.
    fn measure_again(&mut self) {
        let settled = self.ring.len().checked_sub(RING_FLOOR);
        self.measured = if self.measured < self.ring.len() { self.measured } else { 0 };
        for at in settled.into_iter().chain([self.measured]) {
            if let Some(entry) = self.ring.get_mut(at) {
                let bytes = entry.change.bytes();
                self.ring_bytes = self.ring_bytes - entry.bytes + bytes;
                entry.bytes = bytes;
            }
        }
        self.measured += 1;
    }

    /// The place behind the latest change.
    pub(crate) fn end(&self) -> Position {
        self.first + self.ring.len() as u64
    }

    /// The place of the first change after `revision`; `None`: the ring no longer holds all of them.
    pub(crate) fn position_after(&self, revision: i64) -> Option<Position> {
        if revision < self.complete_since {
            return None;
        }
        Some(self.first + self.ring.partition_point(|entry| entry.change.revision <= revision) as u64)
    }

    /// Up to `limit` changes from `position` on; `None`: the ring has moved past it.
    pub(crate) fn changes_from(&self, position: Position, limit: usize) -> Option<Vec<Arc<Change>>> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        Some(self.ring.iter().skip(skip).take(limit).map(|entry| entry.change.clone()).collect())
    }

    /// The objects under `scope` from `start` on (both whole keys) as they were at `revision`, in key order; `None`: too long ago.
    pub(crate) fn snapshot<'a>(
        &'a self,
        scope: &'a str,
        start: &str,
        revision: i64,
    ) -> Option<Box<dyn Iterator<Item = &'a Arc<Object>> + 'a>> {
        let from = Bound::Included(start.max(scope));
        let present = self.objects.range::<str, _>((from, Bound::Unbounded)).take_while(move |(key, _)| key.starts_with(scope));
        if revision >= self.revision {
            return Some(Box::new(present.map(|(_, object)| object)));
        }
        if revision < self.complete_since {
            return None;
        }
        // Newest first, so that the oldest change after the revision has the last word.
        let mut past: BTreeMap<&Arc<str>, Option<&Arc<Object>>> = BTreeMap::new();
        for change in self.ring.iter().rev().map(|entry| &entry.change).take_while(|change| change.revision > revision) {
            let key = change.object.key();
            if key.starts_with(scope) && key.as_ref() >= start {
                past.insert(key, change.previous.as_ref());
            }
        }
        let mut merged: BTreeMap<&Arc<str>, &Arc<Object>> = present.filter(|(key, _)| !past.contains_key(key)).collect();
        merged.extend(past.into_iter().filter_map(|(key, object)| Some((key, object?))));
        Some(Box::new(merged.into_values()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn object(name: &str, revision: i64) -> Arc<Object> {
        let stored = format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}}}}"#);
        Arc::new(Object::decode(format!("/registry/pods/ns/{name}").into(), stored.as_bytes(), revision).unwrap())
    }

    fn names(state: &State, revision: i64) -> Vec<String> {
        let objects = state.snapshot("/registry/pods/", "", revision).unwrap();
        objects.map(|object| format!("{}@{}", object.name(), object.revision())).collect()
    }

    fn filled() -> State {
        let mut state = State::default();
        state.fill(5, vec![object("a", 3), object("b", 5)]);
        state.put(object("a", 6));
        state.advance(6);
        state.delete("/registry/pods/ns/b", 7);
        state.advance(7);
        state.put(object("c", 8));
        state.advance(8);
        state
    }

    #[test]
    fn an_older_snapshot_is_the_present_with_changes_taken_back() {
        let state = filled();
        assert_eq!(names(&state, 8), ["a@6", "c@8"]);
        assert_eq!(names(&state, 7), ["a@6"]);
        assert_eq!(names(&state, 6), ["a@6", "b@5"]);
        assert_eq!(names(&state, 5), ["a@3", "b@5"]);
        assert!(state.snapshot("/registry/pods/", "", 4).is_none());
    }

    #[test]
    fn a_watcher_is_a_cursor_in_the_ring() {
        let state = filled();
        let at = state.position_after(6).unwrap();
        let seen: Vec<_> = state.changes_from(at, 10).unwrap().iter().map(|change| (change.kind, change.revision)).collect();
        assert_eq!(seen, [(ChangeKind::Deleted, 7), (ChangeKind::Added, 8)]);
        assert!(state.position_after(4).is_none(), "what happened before the cache was filled is not known");
    }

    #[test]
    fn a_watcher_that_falls_behind_the_ring_is_told() {
        let mut state = filled();
        let at = state.position_after(5).unwrap();
        for revision in 9..(9 + RING_CHANGES as i64) {
            state.put(object("a", revision));
        }
        assert!(state.changes_from(at, 10).is_none());
        assert!(state.position_after(8).is_some());
        assert!(state.position_after(7).is_none());
    }

    #[test]
    fn what_watchers_ask_for_takes_its_room_in_the_ring() {
        const CHANGES: usize = 400;
        let large = bytes::Bytes::from(vec![0; RING_BYTES / 100]);
        let mut state = State::default();
        state.fill(1, Vec::new());
        for revision in 2..(2 + CHANGES as i64) {
            let object = object("a", revision);
            state.put(object.clone());
            // A watcher that follows closely.
            object.encoded(crate::Encoding::Protobuf, |_| Ok::<_, ()>(large.clone())).unwrap();
        }
        assert!(state.ring.len() <= 100 + RING_FLOOR, "{} changes are kept", state.ring.len());
        assert!(state.ring.len() >= RING_FLOOR);
        // One that comes late, and asks for another encoding of all.
        for entry in &state.ring {
            entry.change.object.encoded(crate::Encoding::Cbor, |_| Ok::<_, ()>(large.clone())).unwrap();
        }
        for revision in 1000..1200 {
            state.put(object("b", revision));
        }
        let held: usize = state.ring.iter().map(|entry| entry.change.bytes()).sum();
        assert!(held <= RING_BYTES && state.ring_bytes >= held, "{held} bytes are held, {} counted", state.ring_bytes);
    }

    #[test]
    fn a_refill_shows_the_differences() {
        let mut state = filled();
        let at = state.end();
        state.fill(20, vec![object("a", 6), object("d", 15)]);
        let seen: Vec<_> =
            state.changes_from(at, 10).unwrap().iter().map(|change| (change.kind, change.object.name().to_owned())).collect();
        assert_eq!(seen, [(ChangeKind::Added, "d".to_owned()), (ChangeKind::Deleted, "c".to_owned())]);
    }
}
