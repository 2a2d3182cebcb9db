//! The log's engine: rows in files that are only ever appended to, with their places in memory.
//!
//! It is made for rows that are written once, read rarely and go in their order: each is written to the disk once, and the space of old
//! ones comes back file by file. Rows of other tables than [`Table::LOG`] are few, and are written again at the beginning of every file.

mod files;
mod record;
mod rows;
#[cfg(test)]
mod tests;

use super::Engine;
use bytes::Bytes;
use files::{BEGIN, Ready, Supply};
use parking_lot::Mutex;
use record::{Batch, Operation};
use rows::{Place, Rows};
use std::collections::btree_map;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use tricorn_mvcc::{Change, Cursor, Error, Result, Table, View};

/// An open log.
pub(super) struct Wal {
    writer: Mutex<Writer>,
    rows: Mutex<Arc<Rows>>,
    _lock: File,
}

/// Where the next batch goes.
struct Writer {
    current: Ready,
    at: usize,
    /// How far the current file is certainly on the disk.
    synced: usize,
    supply: Supply,
}

/// The number of the first file.
const FIRST: u32 = 1;

impl Wal {
    /// Opens the log in a directory, made if it is not there. What a crash cut off is taken away; what is damaged is an error.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let lock = files::lock(dir)?;
        let (rows, writer) = recover(dir)?;
        Ok(Self { writer: Mutex::new(writer), rows: Mutex::new(Arc::new(rows)), _lock: lock })
    }

    fn rows(&self) -> Arc<Rows> {
        self.rows.lock().clone()
    }

    fn append(&self, mut batch: Batch, sync: bool) -> io::Result<()> {
        let mut writer = self.writer.lock();
        if writer.at + batch.size() > writer.current.size as usize {
            self.turn(&mut writer, batch.size())?;
        }
        self.put(&mut writer, &mut batch)?;
        if sync { writer.sync() } else { Ok(()) }
    }

    /// Writes one batch where the current file ends.
    fn put(&self, writer: &mut Writer, batch: &mut Batch) -> io::Result<()> {
        let (current, base) = (&writer.current, writer.at);
        let operations = batch.take_operations();
        let bytes = batch.finish(current.mark, files::offset(writer.synced)?)?;
        current.file.write_all_at(bytes, base as u64)?;
        writer.at += bytes.len();
        Arc::make_mut(&mut self.rows.lock()).apply(current.number, base, bytes, &operations)
    }

    /// Goes on in the next file, which begins with the rows that are not the log's own; then files with no rows can go.
    fn turn(&self, writer: &mut Writer, needed: usize) -> io::Result<()> {
        writer.sync()?;
        let rows = self.rows();
        let mut first = Batch::new();
        for table in Table::ALL.into_iter().filter(|table| *table != Table::LOG) {
            for (key, place) in rows.table(table.0)? {
                first.put(table.0, key, &rows.read(*place)?)?;
            }
        }
        drop(rows);
        let number = writer.current.number + 1;
        let next = writer.supply.take(number, first.size() + needed)?;
        Arc::make_mut(&mut self.rows.lock()).open(number, next.file.clone());
        // The first batch says where the file before it ended.
        (writer.synced, writer.at, writer.current) = (writer.at, BEGIN, next);
        self.put(writer, &mut first)?;
        writer.current.file.sync_data()?;
        writer.synced = writer.at;
        let gone = Arc::make_mut(&mut self.rows.lock()).drop_empty(number);
        writer.supply.give_back(gone)?;
        writer.supply.prepare(number + 1)
    }
}

impl Writer {
    fn sync(&mut self) -> io::Result<()> {
        if self.synced < self.at {
            self.current.file.sync_data()?;
            self.synced = self.at;
        }
        Ok(())
    }
}

/// A file's batches, walked through.
struct Walked {
    /// Where the file before it ended, as its first batch has it.
    before: Option<usize>,
    end: usize,
    /// Where the rest of a batch that a crash cut off ends, or 0.
    looks_to: usize,
}

/// Goes through a file's batches in their order. The error is what is wrong with it.
fn walk(bytes: &[u8], mark: u32, mut each: impl FnMut(&[Operation]) -> io::Result<()>) -> io::Result<Walked> {
    let (mut at, mut before) = (BEGIN, None);
    while let Some(found) = record::read(bytes, at, mark) {
        before.get_or_insert(found.synced as usize);
        each(&found.operations)?;
        at = found.next;
    }
    let behind = record::behind(bytes, at, mark);
    if behind.synced > at {
        return Err(io::Error::other(format!("the batch at {at} is damaged, and was on the disk before later ones were written")));
    }
    Ok(Walked { before, end: at, looks_to: behind.end })
}

/// The count of changes in a file of the log with this number, or what is wrong with it. The zeros at its end may be missing.
pub fn inspect_log(number: u32, bytes: &[u8]) -> io::Result<usize> {
    let (_, mark) = files::begins(bytes, number).ok_or_else(|| io::Error::other("it does not begin like a log file"))?;
    let (mut rows, mut changes) = (Rows::default(), 0);
    let apply = |operations: &[Operation]| {
        changes += operations.len();
        rows.apply(number, 0, bytes, operations)
    };
    walk(bytes, mark, apply)?;
    Ok(changes)
}

/// Reads all files in their order.
fn recover(dir: &Path) -> io::Result<(Rows, Writer)> {
    let numbers = files::list(dir)?;
    let mut rows = Rows::default();
    let mut current: Option<(Ready, usize)> = None;
    let mut spare = None;
    for (place, number) in numbers.iter().copied().enumerate() {
        let damaged = |what: &str| files::damaged(&files::path(dir, number), what);
        let (ready, bytes) = files::open(dir, number)?;
        rows.open(number, ready.file.clone());
        let apply = |operations: &[Operation]| rows.apply(number, 0, &bytes, operations);
        let Walked { before, end: at, looks_to } = walk(&bytes, ready.mark, apply).map_err(|error| damaged(&error.to_string()))?;
        files::wipe(&ready.file, at, looks_to)?;
        match (&current, before) {
            (Some((last, _)), _) if last.number + 1 != number => {
                return Err(damaged(&format!("it follows {:08x}, so that one between them is missing", last.number)));
            }
            // The next one, made ready before it was needed. There are none behind it.
            (Some(_), None) if place + 1 == numbers.len() => spare = Some(ready),
            (Some(_), None) => return Err(damaged("it is empty, and there are files behind it")),
            (Some((last, end)), Some(before)) if *end != before => {
                return Err(damaged(&format!("the file {:08x} before it ends at {end}, and should at {before}", last.number)));
            }
            // The very first may be as empty as the one made ready behind it.
            (None, None) if number != FIRST => return Err(damaged("it is empty")),
            _ => current = Some((ready, at)),
        }
    }
    let mut supply = Supply::new(dir, spare);
    let (current, at) = match current {
        Some(current) => current,
        None => {
            let first = supply.take(FIRST, 0)?;
            rows.open(FIRST, first.file.clone());
            (first, BEGIN)
        }
    };
    // What the process before this one wrote may not have been synced.
    current.file.sync_data()?;
    supply.prepare(current.number + 1)?;
    Ok((rows, Writer { current, at, synced: at, supply }))
}

impl Engine for Wal {
    fn view(&self) -> io::Result<Box<dyn View + '_>> {
        Ok(Box::new(Seen { rows: self.rows() }))
    }

    fn write(&self, changes: Vec<Change>, sync: bool) -> io::Result<()> {
        let mut batch = Batch::new();
        for change in &changes {
            match &change.value {
                Some(value) => batch.put(change.table.0, &change.key, value)?,
                None => batch.delete(change.table.0, &change.key)?,
            }
        }
        self.append(batch, sync)
    }

    fn delete_range(&self, table: Table, start: &[u8], end: &[u8]) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.delete_range(table.0, start, end)?;
        self.append(batch, false)
    }

    fn flush(&self) -> io::Result<()> {
        self.writer.lock().sync()
    }

    fn size(&self) -> u64 {
        self.rows.lock().bytes()
    }

    fn reclaim(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Rows as they stood when it was made.
struct Seen {
    rows: Arc<Rows>,
}

fn state(error: io::Error) -> Error {
    Error::State(error.to_string())
}

impl View for Seen {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        let place = self.rows.table(table.0).map_err(state)?.get(key).copied();
        place.map(|place| self.rows.read(place).map(Bytes::from)).transpose().map_err(state)
    }

    fn scan<'a>(&'a self, table: Table, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        // A range that ends before it begins is empty.
        let end = end.map(|end| end.max(start));
        let bounds = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let rest = if end == Some(start) { None } else { Some(self.rows.table(table.0).map_err(state)?.range::<[u8], _>(bounds)) };
        let mut cursor = Walk { rows: &self.rows, rest, row: None };
        cursor.advance()?;
        Ok(Box::new(cursor))
    }
}

struct Walk<'a> {
    rows: &'a Rows,
    rest: Option<btree_map::Range<'a, Bytes, Place>>,
    row: Option<(&'a [u8], Vec<u8>)>,
}

impl Cursor for Walk<'_> {
    fn valid(&self) -> bool {
        self.row.is_some()
    }

    fn key(&self) -> &[u8] {
        self.row.as_ref().map(|(key, _)| *key).unwrap_or_default()
    }

    fn value(&self) -> &[u8] {
        self.row.as_ref().map(|(_, value)| value.as_slice()).unwrap_or_default()
    }

    fn advance(&mut self) -> Result<()> {
        let next = self.rest.as_mut().and_then(Iterator::next);
        self.row = next.map(|(key, place)| Ok((key.as_ref(), self.rows.read(*place)?))).transpose().map_err(state)?;
        Ok(())
    }
}
