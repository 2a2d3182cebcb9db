//! What happened: events read back from the log, for watchers that begin in the past or fell behind.

use crate::read::Reader;
use crate::record::{LogRow, Record, Revision, log_key, old_key, shared_key_value, split_log_key};
use crate::span::Span;
use crate::table::Table;
use crate::{Error, Result};
use bytes::Bytes;
use tricorn_proto::mvccpb::event::EventType;
use tricorn_proto::mvccpb::{Event, KeyValue};

/// When to stop reading: at the end of the revision in which one of these is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Log rows looked at.
    pub rows: usize,
    /// Bytes of keys and values found.
    pub bytes: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { rows: 4096, bytes: 1 << 20 }
    }
}

/// A run of revisions.
#[derive(Debug, Default)]
pub struct History {
    /// Revisions that have matching events, in order, each complete.
    pub revisions: Vec<(i64, Vec<Event>)>,
    /// The first revision that was not looked at.
    pub next: i64,
}

impl Reader<'_> {
    /// The events of `spans` keys from revision `from` on, up to the newest.
    pub fn history(&self, from: i64, span: Span<'_>, limits: HistoryLimits) -> Result<History> {
        if from < self.compacted {
            return Err(Error::Compacted);
        }
        let mut found = History { revisions: Vec::new(), next: self.revision + 1 };
        let mut cursor = self.view.scan(Table::LOG, &log_key(Revision { main: from, sub: 0 }), None)?;
        let (mut rows, mut bytes, mut last) = (0, 0, 0);
        while cursor.valid() {
            let revision = split_log_key(cursor.key())?;
            if revision.main != last && (rows >= limits.rows || bytes >= limits.bytes) {
                found.next = revision.main;
                break;
            }
            last = revision.main;
            rows += 1;
            let row = LogRow::decode(cursor.value())?;
            if span.contains(row.key) {
                let event = self.event(revision, &row)?;
                bytes += row.key.len() + event.kv.as_ref().map_or(0, |kv| kv.value.len());
                match found.revisions.last_mut() {
                    Some((main, events)) if *main == revision.main => events.push(event),
                    _ => found.revisions.push((revision.main, vec![event])),
                }
            }
            cursor.advance()?;
        }
        Ok(found)
    }

    fn event(&self, revision: Revision, row: &LogRow<'_>) -> Result<Event> {
        let key = Bytes::copy_from_slice(row.key);
        let prev_kv = match row.previous.main {
            0 => None,
            _ => match self.view.get(Table::OLD, &old_key(row.key, row.previous))? {
                Some(old) => Some(shared_key_value(key.clone(), &old)?),
                None => None,
            },
        };
        if row.deleted {
            let kv = KeyValue { key, mod_revision: revision.main, ..KeyValue::default() };
            return Ok(Event { r#type: EventType::Delete.into(), kv: Some(kv), prev_kv });
        }
        let record = match self.current(row.key)? {
            Some(current) if Record::decode(&current)?.modified == revision => Some(current),
            _ => self.view.get(Table::OLD, &old_key(row.key, revision))?,
        };
        let Some(record) = record else {
            // Only at the compacted revision itself can a superseded record be gone while its log row stays.
            return Err(Error::Compacted);
        };
        Ok(Event { r#type: EventType::Put.into(), kv: Some(shared_key_value(key, &record)?), prev_kv })
    }
}
