//! Which rows there are, and where in which file each lies.

use super::files::offset;
use super::record::Operation;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tricorn_mvcc::Table;

/// A row's value in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    number: u32,
    offset: u32,
    length: u32,
    sum: u32,
}

/// A file, and how many rows lie in it.
#[derive(Debug, Clone)]
struct Holder {
    file: Arc<File>,
    rows: usize,
}

/// The rows at one moment. Cheap to share, copied when it is changed while somebody looks at it.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    tables: [BTreeMap<Bytes, Place>; Table::ALL.len()],
    files: BTreeMap<u32, Holder>,
    bytes: u64,
}

fn no_table(number: u8) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no table {number}"))
}

impl Rows {
    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn table(&self, number: u8) -> io::Result<&BTreeMap<Bytes, Place>> {
        self.tables.get(usize::from(number)).ok_or_else(|| no_table(number))
    }

    /// A file that rows may lie in from now on.
    pub fn open(&mut self, number: u32, file: Arc<File>) {
        self.files.insert(number, Holder { file, rows: 0 });
    }

    /// Takes the operations of a batch. `bytes` hold them, and lie at `base` in the file.
    pub fn apply(&mut self, number: u32, base: usize, bytes: &[u8], operations: &[Operation]) -> io::Result<()> {
        for operation in operations {
            match operation {
                Operation::Put { table, key, value } => {
                    let (offset, length) = (offset(base + value.start)?, offset(value.len())?);
                    let place = Place { number, offset, length, sum: crc32c::crc32c(&bytes[value.clone()]) };
                    self.put(*table, Bytes::copy_from_slice(&bytes[key.clone()]), place)?;
                }
                Operation::Delete { table, key } => {
                    let old = self.table_mut(*table)?.remove(&bytes[key.clone()]);
                    self.left(old);
                }
                Operation::DeleteRange { table, start, end } => {
                    let (start, end) = (&bytes[start.clone()], &bytes[end.clone()]);
                    if start >= end {
                        continue;
                    }
                    let rows = self.table_mut(*table)?;
                    let bounds = (Bound::Included(start), Bound::Excluded(end));
                    let keys: Vec<Bytes> = rows.range::<[u8], _>(bounds).map(|(key, _)| key.clone()).collect();
                    for key in keys {
                        let old = self.table_mut(*table)?.remove(&key);
                        self.left(old);
                    }
                }
            }
        }
        Ok(())
    }

    fn table_mut(&mut self, number: u8) -> io::Result<&mut BTreeMap<Bytes, Place>> {
        self.tables.get_mut(usize::from(number)).ok_or_else(|| no_table(number))
    }

    fn put(&mut self, table: u8, key: Bytes, place: Place) -> io::Result<()> {
        let old = self.table_mut(table)?.insert(key, place);
        self.bytes += u64::from(place.length);
        if let Some(holder) = self.files.get_mut(&place.number) {
            holder.rows += 1;
        }
        self.left(old);
        Ok(())
    }

    fn left(&mut self, old: Option<Place>) {
        let Some(old) = old else { return };
        self.bytes -= u64::from(old.length);
        if let Some(holder) = self.files.get_mut(&old.number) {
            holder.rows -= 1;
        }
    }

    /// Reads a value, and sees that it is what was written.
    pub fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        let holder = self.files.get(&place.number).ok_or_else(|| io::Error::other("a row of a log file that has gone"))?;
        let mut value = vec![0; usize::try_from(place.length).map_err(io::Error::other)?];
        holder.file.read_exact_at(&mut value, u64::from(place.offset))?;
        if crc32c::crc32c(&value) != place.sum {
            let what = format!("Corruption: log file {:08x}, checksum mismatch at {}", place.number, place.offset);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(value)
    }

    /// Takes out the oldest files, as long as no row lies in them and they are older than `current`.
    pub fn drop_empty(&mut self, current: u32) -> Vec<(u32, Arc<File>)> {
        let mut gone = Vec::new();
        while let Some(oldest) = self.files.first_entry() {
            if oldest.get().rows > 0 || *oldest.key() >= current {
                break;
            }
            let (number, holder) = oldest.remove_entry();
            gone.push((number, holder.file));
        }
        gone
    }
}
