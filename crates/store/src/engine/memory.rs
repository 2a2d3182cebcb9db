//! A disk in memory that knows what has been synced: a crash loses exactly the rest.

use super::{Disk, Engine, Purpose};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tricorn_mvcc::{Change, Cursor, Error, Result, Table, View};

type Rows = BTreeMap<Bytes, Bytes>;

#[derive(Clone, Default)]
struct Tables([Arc<Rows>; Table::ALL.len()]);

impl Tables {
    fn table(&self, table: Table) -> Result<&Arc<Rows>> {
        self.0.get(usize::from(table.0)).ok_or_else(|| Error::State(format!("no table {}", table.0)))
    }
}

#[derive(Default)]
struct MemoryEngine {
    now: RwLock<Tables>,
    synced: Mutex<Tables>,
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
        let contents = self.shared.lock();
        let engines = contents.engines.iter().map(|(name, engine)| {
            engine.dead.store(true, Ordering::Release);
            let synced = engine.synced.lock().clone();
            let survivor = MemoryEngine { now: RwLock::new(synced.clone()), synced: Mutex::new(synced), dead: AtomicBool::new(false) };
            (name.clone(), Arc::new(survivor))
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
        Ok(Box::new(MemoryView(self.now.read().clone())))
    }

    fn write(&self, changes: Vec<Change>, sync: bool) -> io::Result<()> {
        self.alive()?;
        let mut now = self.now.write();
        for change in changes {
            let rows = now.0.get_mut(usize::from(change.table.0)).ok_or_else(|| io::Error::other("no such table"))?;
            let rows = Arc::make_mut(rows);
            match change.value {
                Some(value) => rows.insert(change.key, value),
                None => rows.remove(&change.key),
            };
        }
        if sync {
            *self.synced.lock() = now.clone();
        }
        Ok(())
    }

    fn delete_range(&self, table: Table, start: &[u8], end: &[u8]) -> io::Result<()> {
        self.alive()?;
        let mut now = self.now.write();
        let rows = now.0.get_mut(usize::from(table.0)).ok_or_else(|| io::Error::other("no such table"))?;
        Arc::make_mut(rows).retain(|key, _| key.as_ref() < start || key.as_ref() >= end);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.alive()?;
        *self.synced.lock() = self.now.read().clone();
        Ok(())
    }

    fn size(&self) -> u64 {
        let now = self.now.read();
        let bytes: usize = now.0.iter().flat_map(|rows| rows.iter()).map(|(key, value)| key.len() + value.len()).sum();
        bytes as u64
    }

    fn reclaim(&self) -> io::Result<()> {
        Ok(())
    }
}

struct MemoryView(Tables);

impl View for MemoryView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.table(table)?.get(key).cloned())
    }

    fn scan<'a>(&'a self, table: Table, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        let rows = self.0.table(table)?;
        if end.is_some_and(|end| end <= start) {
            return Ok(Box::new(MemoryCursor { rest: None, row: None }));
        }
        let bounds = (std::ops::Bound::Included(start), end.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded));
        let mut rest = rows.range::<[u8], _>(bounds);
        let row = rest.next();
        Ok(Box::new(MemoryCursor { rest: Some(rest), row }))
    }
}

struct MemoryCursor<'a> {
    rest: Option<std::collections::btree_map::Range<'a, Bytes, Bytes>>,
    row: Option<(&'a Bytes, &'a Bytes)>,
}

impl Cursor for MemoryCursor<'_> {
    fn valid(&self) -> bool {
        self.row.is_some()
    }

    fn key(&self) -> &[u8] {
        self.row.map(|(key, _)| key.as_ref()).unwrap_or_default()
    }

    fn value(&self) -> &[u8] {
        self.row.map(|(_, value)| value.as_ref()).unwrap_or_default()
    }

    fn advance(&mut self) -> Result<()> {
        self.row = self.rest.as_mut().and_then(Iterator::next);
        Ok(())
    }
}
