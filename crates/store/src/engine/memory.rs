//! A disk in memory that knows what has been synced: a crash loses the rest, or as much of it as the caller likes.
//!
//! Rows that a view may still see are kept beside newer ones, and what is not synced is remembered as what it replaced, so that
//! neither a view nor a sync copies anything.

use super::{Disk, Engine, Purpose};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tricorn_mvcc::{Change, Cursor, Error, Result, Table, View};

/// A value, or none, and the write that put it there.
type Version = (u64, Option<Bytes>);

struct Cell {
    newest: Version,
    /// Older ones that a view may still see, oldest first.
    older: Vec<Version>,
}

impl Cell {
    fn at(&self, write: u64) -> Option<&Bytes> {
        let versions = std::iter::once(&self.newest).chain(self.older.iter().rev());
        versions.into_iter().find(|version| version.0 <= write).and_then(|version| version.1.as_ref())
    }
}

type Rows = BTreeMap<Bytes, Cell>;

/// What one write replaced.
type Undo = Vec<(usize, Bytes, Option<Bytes>)>;

#[derive(Default)]
struct Tables {
    rows: [Rows; Table::ALL.len()],
    /// The last write.
    write: u64,
    /// Writes up to which views see, and how many views do.
    pinned: BTreeMap<u64, usize>,
    /// Rows with versions that only views needed.
    litter: Vec<(usize, Bytes)>,
    /// What every write since the last sync replaced.
    unsynced: Vec<Undo>,
    bytes: usize,
}

fn length(key: &Bytes, value: Option<&Bytes>) -> usize {
    value.map_or(0, |value| key.len() + value.len())
}

impl Tables {
    /// Sets or removes one row as part of the present write; returns what was there.
    fn set(&mut self, table: usize, key: Bytes, value: Option<Bytes>) -> io::Result<Option<Bytes>> {
        let rows = self.rows.get_mut(table).ok_or_else(|| io::Error::other("no such table"))?;
        let seen = self.pinned.last_key_value().map(|(write, _)| *write);
        self.bytes += length(&key, value.as_ref());
        match rows.entry(key) {
            Entry::Vacant(entry) => {
                if value.is_some() {
                    entry.insert(Cell { newest: (self.write, value), older: Vec::new() });
                }
                Ok(None)
            }
            Entry::Occupied(mut entry) => {
                let gone = value.is_none();
                let cell = entry.get_mut();
                let old = std::mem::replace(&mut cell.newest, (self.write, value));
                let before = old.1.clone();
                if seen.is_some_and(|seen| seen >= old.0) {
                    cell.older.push(old);
                    self.litter.push((table, entry.key().clone()));
                }
                self.bytes -= length(entry.key(), before.as_ref());
                if gone && entry.get().older.is_empty() {
                    entry.remove();
                }
                Ok(before)
            }
        }
    }

    fn commit(&mut self, changes: impl IntoIterator<Item = (usize, Bytes, Option<Bytes>)>) -> io::Result<()> {
        self.write += 1;
        let mut undo = Vec::new();
        for (table, key, value) in changes {
            let before = self.set(table, key.clone(), value)?;
            undo.push((table, key, before));
        }
        self.unsynced.push(undo);
        Ok(())
    }

    fn unpin(&mut self, write: u64) {
        if let Entry::Occupied(mut entry) = self.pinned.entry(write) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        if !self.pinned.is_empty() {
            return;
        }
        for (table, key) in std::mem::take(&mut self.litter) {
            if let Some(rows) = self.rows.get_mut(table)
                && let Entry::Occupied(mut entry) = rows.entry(key)
            {
                entry.get_mut().older.clear();
                if entry.get().newest.1.is_none() {
                    entry.remove();
                }
            }
        }
    }

    /// The rows as they are after a crash that leaves the first `keep` of the unsynced writes.
    fn survivor(&self, keep: usize) -> io::Result<Self> {
        let newest = |rows: &Rows| {
            let live = rows.iter().filter(|(_, cell)| cell.newest.1.is_some());
            live.map(|(key, cell)| (key.clone(), Cell { newest: (0, cell.newest.1.clone()), older: Vec::new() })).collect()
        };
        let mut left = Self { rows: self.rows.each_ref().map(newest), bytes: self.bytes, ..Self::default() };
        for undo in self.unsynced.iter().skip(keep).rev() {
            for (table, key, before) in undo.iter().rev() {
                left.set(*table, key.clone(), before.clone())?;
            }
        }
        Ok(left)
    }
}

#[derive(Default)]
struct MemoryEngine {
    tables: RwLock<Tables>,
    /// Set when the machine it ran on has crashed: whoever still holds it writes to nowhere.
    dead: AtomicBool,
}

/// Engines and files in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Contents>>,
}

#[derive(Default)]
struct Contents {
    engines: BTreeMap<String, Arc<MemoryEngine>>,
    files: BTreeMap<String, Vec<u8>>,
}

impl MemoryDisk {
    /// The disk as a power cut leaves it: only what was synced. The old one's engines stop taking writes.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.crash_keeping(|_, _| 0)
    }

    /// The same, when some of what was not synced has reached the disk all the same: of each engine, by its name and the number
    /// of its unsynced writes, as many of the first ones as `keep` says. Writes are kept whole or not at all.
    #[must_use]
    pub fn crash_keeping(&self, mut keep: impl FnMut(&str, usize) -> usize) -> Self {
        let contents = self.shared.lock();
        let engines = contents.engines.iter().filter_map(|(name, engine)| {
            engine.dead.store(true, Ordering::Release);
            let tables = engine.tables.read();
            let kept = keep(name, tables.unsynced.len());
            // Only a row of an unknown table could fail, and those were never written.
            let tables = tables.survivor(kept).ok()?;
            Some((name.clone(), Arc::new(MemoryEngine { tables: RwLock::new(tables), dead: AtomicBool::new(false) })))
        });
        let engines = engines.collect();
        Self { shared: Arc::new(Mutex::new(Contents { engines, files: contents.files.clone() })) }
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str, _purpose: Purpose) -> io::Result<Arc<dyn Engine>> {
        Ok(self.shared.lock().engines.entry(name.to_owned()).or_default().clone())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.shared.lock().engines.remove(name);
        Ok(())
    }

    fn engines(&self) -> io::Result<Vec<String>> {
        Ok(self.shared.lock().engines.keys().cloned().collect())
    }

    fn read(&self, file: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.shared.lock().files.get(file).cloned())
    }

    fn replace(&self, file: &str, content: &[u8]) -> io::Result<()> {
        self.shared.lock().files.insert(file.to_owned(), content.to_vec());
        Ok(())
    }

    fn location(&self) -> String {
        "memory".into()
    }
}

impl MemoryEngine {
    fn alive(&self) -> io::Result<()> {
        if self.dead.load(Ordering::Acquire) { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl Engine for MemoryEngine {
    fn view(&self) -> io::Result<Box<dyn View + '_>> {
        let mut tables = self.tables.write();
        let write = tables.write;
        *tables.pinned.entry(write).or_default() += 1;
        Ok(Box::new(MemoryView { engine: self, write }))
    }

    fn write(&self, changes: Vec<Change>, sync: bool) -> io::Result<()> {
        self.alive()?;
        let mut tables = self.tables.write();
        tables.commit(changes.into_iter().map(|change| (usize::from(change.table.0), change.key, change.value)))?;
        if sync {
            tables.unsynced.clear();
        }
        Ok(())
    }

    fn delete_range(&self, table: Table, start: &[u8], end: &[u8]) -> io::Result<()> {
        self.alive()?;
        let mut tables = self.tables.write();
        let number = usize::from(table.0);
        let rows = tables.rows.get(number).ok_or_else(|| io::Error::other("no such table"))?;
        if start >= end {
            return Ok(());
        }
        let bounds = (Bound::Included(start), Bound::Excluded(end));
        let gone: Vec<_> = rows.range::<[u8], _>(bounds).map(|(key, _)| (number, key.clone(), None)).collect();
        tables.commit(gone)
    }

    fn flush(&self) -> io::Result<()> {
        self.alive()?;
        self.tables.write().unsynced.clear();
        Ok(())
    }

    fn size(&self) -> u64 {
        self.tables.read().bytes as u64
    }

    fn reclaim(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Sees what had been written when it was made.
struct MemoryView<'a> {
    engine: &'a MemoryEngine,
    write: u64,
}

impl MemoryView<'_> {
    /// The first row inside the bounds.
    fn first(&self, table: Table, start: Bound<&[u8]>, end: Option<&Bytes>) -> Result<Option<(Bytes, Bytes)>> {
        let tables = self.engine.tables.read();
        let rows = tables.rows.get(usize::from(table.0)).ok_or_else(|| Error::State(format!("no table {}", table.0)))?;
        let bounds = (start, end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.as_ref())));
        let mut rows = rows.range::<[u8], _>(bounds);
        Ok(rows.find_map(|(key, cell)| Some((key.clone(), cell.at(self.write)?.clone()))))
    }
}

impl Drop for MemoryView<'_> {
    fn drop(&mut self) {
        self.engine.tables.write().unpin(self.write);
    }
}

impl View for MemoryView<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        let tables = self.engine.tables.read();
        let rows = tables.rows.get(usize::from(table.0)).ok_or_else(|| Error::State(format!("no table {}", table.0)))?;
        Ok(rows.get(key).and_then(|cell| cell.at(self.write)).cloned())
    }

    fn scan<'a>(&'a self, table: Table, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        let row = if end.is_some_and(|end| end <= start) {
            None
        } else {
            self.first(table, Bound::Included(start), end.map(Bytes::copy_from_slice).as_ref())?
        };
        Ok(Box::new(MemoryCursor { view: self, table, end: end.map(Bytes::copy_from_slice), row }))
    }
}

struct MemoryCursor<'a> {
    view: &'a MemoryView<'a>,
    table: Table,
    end: Option<Bytes>,
    row: Option<(Bytes, Bytes)>,
}

impl Cursor for MemoryCursor<'_> {
    fn valid(&self) -> bool {
        self.row.is_some()
    }

    fn key(&self) -> &[u8] {
        self.row.as_ref().map(|(key, _)| key.as_ref()).unwrap_or_default()
    }

    fn value(&self) -> &[u8] {
        self.row.as_ref().map(|(_, value)| value.as_ref()).unwrap_or_default()
    }

    fn advance(&mut self) -> Result<()> {
        if let Some((key, _)) = self.row.take() {
            // A range may not be empty and open at both ends.
            let past_end = self.end.as_ref().is_some_and(|end| *end <= key);
            self.row = if past_end { None } else { self.view.first(self.table, Bound::Excluded(key.as_ref()), self.end.as_ref())? };
        }
        Ok(())
    }
}
