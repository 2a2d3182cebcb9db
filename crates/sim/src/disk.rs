//! A member's disk: the store's own memory disk, with faults, and with an eye on everything that is written.

use crate::event::{Event, LogRow};
use crate::tower::Tower;
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tricorn_mvcc::{Change, Cursor, Error, Result, Table, View};
use tricorn_proto::peer;
use tricorn_store::{Disk, Engine, MemoryDisk, Purpose};

/// The engine that holds the Raft log.
const LOG: &str = "raft";
/// The file that names the engine that holds the state.
const CURRENT: &str = "state.current";
const VOTE: &[u8] = b"vote";
const PURGED: &[u8] = b"purged";
const POSITION: &[u8] = b"raft";

/// What is to go wrong.
#[derive(Default)]
struct Faults {
    /// Synced writes until one fails; 0 for never.
    fail_sync_in: u64,
    /// What could not be synced is not there afterwards.
    loses_failed: bool,
    /// Reads of this engine find damage.
    damaged: Option<String>,
}

struct Inner {
    memory: MemoryDisk,
    faults: Mutex<Faults>,
    tower: Arc<Tower>,
    member: usize,
    /// How far each engine says that it has been applied.
    positions: Mutex<BTreeMap<String, peer::SnapshotMeta>>,
}

/// The disk of one member between two crashes. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    inner: Arc<Inner>,
}

impl SimDisk {
    /// An empty one.
    #[must_use]
    pub fn new(member: usize, tower: Arc<Tower>) -> Self {
        Self::on(MemoryDisk::default(), member, tower)
    }

    fn on(memory: MemoryDisk, member: usize, tower: Arc<Tower>) -> Self {
        let inner = Inner { memory, faults: Mutex::default(), tower, member, positions: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// What a power cut leaves: everything synced, and of the rest as many writes as `keep` says.
    #[must_use]
    pub fn crash(&self, keep: impl FnMut(&str, usize) -> usize) -> Self {
        let inner = &self.inner;
        Self::on(inner.memory.crash_keeping(keep), inner.member, inner.tower.clone())
    }

    /// Index and term of every entry that a log begun here would find, behind what has been purged.
    #[must_use]
    pub fn log(&self) -> Vec<(u64, u64)> {
        self.read_log().unwrap_or_default()
    }

    fn read_log(&self) -> Option<Vec<(u64, u64)>> {
        // To open one that is not there would make it.
        if !self.inner.memory.engines().ok()?.iter().any(|name| name == LOG) {
            return None;
        }
        let engine = self.inner.memory.open(LOG, Purpose::Log).ok()?;
        let view = engine.view().ok()?;
        let purged = view.get(Table::META, PURGED).ok()?.and_then(|row| peer::LogId::decode(row).ok());
        let first = purged.map_or(0, |purged| purged.index + 1);
        let mut found: Vec<(u64, u64)> = purged.map(|purged| (purged.index, purged.term)).into_iter().collect();
        let mut cursor = view.scan(Table::LOG, &first.to_be_bytes(), None).ok()?;
        while cursor.valid() {
            let index = u64::from_be_bytes(cursor.key().try_into().ok()?);
            found.push((index, term_of(Bytes::copy_from_slice(cursor.value()))?));
            cursor.advance().ok()?;
        }
        Some(found)
    }

    /// Has a synced write fail, after so many that succeed, or none; what was to be written is lost with it, or not.
    pub fn fail_sync_in(&self, writes: Option<u64>, loses: bool) {
        let mut faults = self.inner.faults.lock();
        faults.fail_sync_in = writes.map_or(0, |writes| writes + 1);
        faults.loses_failed = loses;
    }

    /// Damages rows, so that whoever reads them is told.
    pub fn damage(&self) {
        self.inner.faults.lock().damaged = Some(LOG.into());
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str, purpose: Purpose) -> io::Result<Arc<dyn Engine>> {
        let engine = self.inner.memory.open(name, purpose)?;
        Ok(Arc::new(SimEngine { name: name.to_owned(), engine, disk: self.inner.clone() }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.memory.remove(name)
    }

    fn engines(&self) -> io::Result<Vec<String>> {
        self.inner.memory.engines()
    }

    fn read(&self, file: &str) -> io::Result<Option<Vec<u8>>> {
        self.inner.memory.read(file)
    }

    fn replace(&self, file: &str, content: &[u8]) -> io::Result<()> {
        self.inner.memory.replace(file, content)?;
        if file == CURRENT {
            let position = self.inner.positions.lock().get(named(content)).cloned();
            if let Some(meta) = position.filter(|meta| meta.last.is_some()) {
                self.inner.tower.see(&Event::Installed { member: self.inner.member, meta });
            }
        }
        Ok(())
    }

    fn location(&self) -> String {
        format!("disk of member {}", self.inner.member)
    }
}

struct SimEngine {
    name: String,
    engine: Arc<dyn Engine>,
    disk: Arc<Inner>,
}

/// The name in the file that names the current engine; its checksum follows it.
fn named(content: &[u8]) -> &str {
    std::str::from_utf8(content).ok().and_then(|content| content.split(' ').next()).unwrap_or_default()
}

fn term_of(row: Bytes) -> Option<u64> {
    Some(peer::Entry::decode(row).ok()?.id?.term)
}

impl SimEngine {
    fn term_at(&self, index: u64) -> Option<u64> {
        term_of(self.engine.view().ok()?.get(Table::LOG, &index.to_be_bytes()).ok()??)
    }

    /// The term of the entry that stands before `index` in this log, when that is known.
    fn term_before(&self, index: u64) -> Option<u64> {
        let before = index.checked_sub(1)?;
        let view = self.engine.view().ok()?;
        if let Some(row) = view.get(Table::LOG, &before.to_be_bytes()).ok()? {
            return term_of(row);
        }
        let purged = peer::LogId::decode(view.get(Table::META, PURGED).ok()??).ok()?;
        (purged.index == before).then_some(purged.term)
    }

    /// What a write to the log means; called once it has been written.
    fn log_written(&self, changes: &[Change]) -> Vec<Event> {
        let member = self.disk.member;
        let mut events = Vec::new();
        let mut rows: Vec<LogRow> = Vec::new();
        for change in changes {
            let Some(value) = &change.value else { continue };
            if change.table == Table::META && change.key.as_ref() == VOTE {
                events.extend(peer::Vote::decode(value.clone()).ok().map(|vote| Event::Voted { member, vote }));
            }
            if change.table != Table::LOG {
                continue;
            }
            let Ok(entry) = peer::Entry::decode(value.clone()) else { continue };
            let Some(id) = entry.id else { continue };
            let before = rows.last().filter(|row| row.index + 1 == id.index).map(|row| row.term);
            let before = before.or_else(|| self.term_before(id.index));
            rows.push(LogRow { index: id.index, term: id.term, before, entry: value.clone(), behind: None });
        }
        if let Some(last) = rows.last_mut() {
            last.behind = self.term_at(last.index + 1);
        }
        if !rows.is_empty() {
            events.push(Event::Logged { member, rows });
        }
        events
    }

    /// What a write to the state means.
    fn state_written(&self, changes: &[Change]) -> Option<Event> {
        let meta = changes.iter().find(|change| change.table == Table::META && change.key.as_ref() == POSITION)?;
        let meta = peer::SnapshotMeta::decode(meta.value.clone()?).ok()?;
        self.disk.positions.lock().insert(self.name.clone(), meta.clone());
        let current = self.disk.memory.read(CURRENT).ok().flatten()?;
        if named(&current) != self.name || meta.last.is_none() {
            return None;
        }
        let revision = changes.iter().find(|change| change.table == Table::META && change.key.as_ref() == b"revision");
        let revision = revision.and_then(|change| Some(i64::from_be_bytes(change.value.as_ref()?.as_ref().try_into().ok()?)));
        Some(Event::Applied { member: self.disk.member, meta, revision })
    }

    fn sync_fails(&self) -> bool {
        let mut faults = self.disk.faults.lock();
        if faults.fail_sync_in == 0 {
            return false;
        }
        faults.fail_sync_in -= 1;
        faults.fail_sync_in == 0
    }
}

impl Engine for SimEngine {
    fn view(&self) -> io::Result<Box<dyn View + '_>> {
        let view = self.engine.view()?;
        let damaged = self.disk.faults.lock().damaged.as_ref() == Some(&self.name);
        Ok(if damaged { Box::new(Damaged) } else { view })
    }

    fn write(&self, changes: Vec<Change>, sync: bool) -> io::Result<()> {
        let log = self.name == LOG;
        if sync && self.sync_fails() {
            // It has been written and may or may not reach the disk; or the page it was in is dropped, and it never does.
            if self.disk.faults.lock().loses_failed {
                return Err(io::Error::other("simulated: input/output error, nothing was written"));
            }
            self.engine.write(changes, false)?;
            self.disk.tower.trace.note(&format!("s{} a sync fails", self.disk.member));
            return Err(io::Error::other("simulated: input/output error"));
        }
        let copy = changes.clone();
        self.engine.write(changes, sync)?;
        if log {
            for event in self.log_written(&copy) {
                self.disk.tower.see(&event);
            }
        } else if let Some(event) = self.state_written(&copy) {
            self.disk.tower.see(&event);
        }
        Ok(())
    }

    fn delete_range(&self, table: Table, start: &[u8], end: &[u8]) -> io::Result<()> {
        self.engine.delete_range(table, start, end)
    }

    fn flush(&self) -> io::Result<()> {
        if self.sync_fails() {
            self.disk.tower.trace.note(&format!("s{} a flush fails", self.disk.member));
            return Err(io::Error::other("simulated: input/output error"));
        }
        self.engine.flush()
    }

    fn size(&self) -> u64 {
        self.engine.size()
    }

    fn reclaim(&self) -> io::Result<()> {
        self.engine.reclaim()
    }
}

/// Rows whose checksums do not match.
struct Damaged;

impl View for Damaged {
    fn get(&self, _table: Table, _key: &[u8]) -> Result<Option<Bytes>> {
        Err(Error::State("simulated: block checksum mismatch".into()))
    }

    fn scan<'a>(&'a self, _table: Table, _start: &[u8], _end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        Err(Error::State("simulated: block checksum mismatch".into()))
    }
}
