//! What keeps one cache up to date: reads the resource once, then follows the store's watch; begins again where that breaks.

use super::Cache;
use super::change::{Change, ChangeKind};
use crate::error::store_error;
use crate::keys::prefix_end;
use crate::object::Object;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tricorn_meta::Status;
use tricorn_proto::etcdserverpb::RangeRequest;
use tricorn_proto::mvccpb::event::EventType;
use tricorn_proto::mvccpb::{Event, KeyValue};
use tricorn_store::{Store, WatchMessage, WatchOptions};

/// Pause before the cache is filled again after its watch broke.
const REFILL_PAUSE: Duration = Duration::from_millis(200);

/// Feeds the cache until the task is dropped.
pub(crate) async fn run(store: Store, cache: Arc<Cache>) {
    loop {
        if let Err(error) = follow(&store, &cache).await {
            tracing::warn!(prefix = %cache.resource.prefix, %error, "the cache lost its watch of the store and is filled again");
        }
        tokio::time::sleep(REFILL_PAUSE).await;
    }
}

async fn follow(store: &Store, cache: &Cache) -> Result<(), Status> {
    let prefix = Bytes::copy_from_slice(cache.resource.prefix.as_bytes());
    let range_end = Bytes::from(prefix_end(&prefix));
    // What this member has is enough: the watch goes on from there, and readers wait for the revision they need.
    let request = RangeRequest { key: prefix.clone(), range_end: range_end.clone(), serializable: true, ..RangeRequest::default() };
    let answer = store.range(request).await.map_err(|error| store_error("read", &cache.resource.prefix, &error))?;
    let revision = answer.header.map_or(0, |header| header.revision);
    let objects = answer.kvs.into_iter().filter_map(|kv| read(kv).map(Arc::new)).collect();
    // The watch exists before the first reader is let in, so that nobody waits for a revision that it would not report.
    let options = WatchOptions { key: prefix, range_end, start_revision: revision + 1, ..WatchOptions::default() };
    let mut watcher = store.watch(options);
    let handle = watcher.handle();
    cache.change(|state| state.fill(revision, objects));
    loop {
        let message = tokio::select! {
            message = watcher.next() => message,
            () = cache.progress_wanted() => {
                handle.request_progress();
                continue;
            }
        };
        match message {
            Some(WatchMessage::Events { revision, events }) => take(cache, revision, &events),
            Some(WatchMessage::Progress { revision }) => cache.change(|state| state.advance(revision)),
            Some(WatchMessage::Canceled { reason, .. }) => return Err(Status::internal(reason)),
            None => return Err(Status::internal("the watch ended")),
        }
    }
}

fn take(cache: &Cache, revision: i64, events: &[Event]) {
    // Parsing is done before the lock is taken.
    let parsed: Vec<_> = events
        .iter()
        .filter_map(|event| {
            let kv = event.kv.clone()?;
            match event.r#type() {
                EventType::Put => Some((None, Some(Arc::new(read(kv)?)))),
                EventType::Delete => Some((Some(key_text(&kv.key)?), None)),
            }
        })
        .collect();
    cache.change(|state| {
        for (deleted, written) in parsed {
            if let Some(object) = written {
                state.put(object);
            } else if let Some(key) = deleted {
                state.delete(&key, revision);
            }
        }
        state.advance(revision);
    });
}

/// An object out of the store; one that cannot be read is reported and left out.
pub(crate) fn read(kv: KeyValue) -> Option<Object> {
    let key = key_text(&kv.key)?;
    match Object::decode(key.as_str().into(), &kv.value, kv.mod_revision) {
        Ok(object) => Some(object),
        Err(error) => {
            tracing::error!(key, %error, "what the store holds is not a JSON object; it is not served");
            None
        }
    }
}

fn key_text(key: &Bytes) -> Option<String> {
    String::from_utf8(key.to_vec()).ok()
}

/// An event of the store's history, with what was there before, as a change.
pub(crate) fn event_change(event: &Event) -> Option<Change> {
    let kv = event.kv.clone()?;
    let revision = kv.mod_revision;
    let previous = event.prev_kv.clone().and_then(read).map(Arc::new);
    match event.r#type() {
        EventType::Put => {
            let kind = if kv.version == 1 { ChangeKind::Added } else { ChangeKind::Modified };
            Some(Change::new(revision, kind, Arc::new(read(kv)?), previous))
        }
        EventType::Delete => {
            let previous = previous?;
            let last = previous.at(revision).ok()?;
            Some(Change::new(revision, ChangeKind::Deleted, Arc::new(last), Some(previous)))
        }
    }
}
