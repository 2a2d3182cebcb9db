//! How a batch of changes lies in a file: a header, its operations, and nothing to a multiple of eight bytes.
//!
//! ```text
//! header     mark of the file | synced | bytes of operations | crc32c of the three before and the operations     4 × u32
//! operation  kind u8 | table u8 | bytes of the key u16 | bytes of the value u32 | key | value
//! ```
//! All numbers are little-endian. `synced` says how far the file was certainly on the disk when the batch was written; in the first batch
//! of a file it speaks of the file before. So what is missing can be told: before that place it was damaged, behind it a crash cut it off.
//! The mark keeps what a file held in an earlier life from being taken for its own, and what a client wrote from being taken for a batch.

use std::io;
use std::ops::Range;

/// Bytes before the operations.
pub(super) const HEADER: usize = 16;
/// Batches begin at multiples of this.
const ALIGNED: usize = 8;
/// Bytes of an operation beside its key and value.
const OPERATION: usize = 8;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

/// One change of the rows. Keys and values are places in the bytes that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    Put {
        table: u8,
        key: Range<usize>,
        value: Range<usize>,
    },
    Delete {
        table: u8,
        key: Range<usize>,
    },
    /// Every row from one key up to but without another.
    DeleteRange {
        table: u8,
        start: Range<usize>,
        end: Range<usize>,
    },
}

/// A batch as it is written.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    operations: Vec<Operation>,
}

impl Batch {
    pub fn new() -> Self {
        Self { bytes: vec![0; HEADER], operations: Vec::new() }
    }

    /// What it does, with places in the bytes of [`Self::finish`].
    pub fn take_operations(&mut self) -> Vec<Operation> {
        std::mem::take(&mut self.operations)
    }

    pub fn put(&mut self, table: u8, key: &[u8], value: &[u8]) -> io::Result<()> {
        let (key, value) = self.operation(PUT, table, key, value)?;
        self.operations.push(Operation::Put { table, key, value });
        Ok(())
    }

    pub fn delete(&mut self, table: u8, key: &[u8]) -> io::Result<()> {
        let (key, _) = self.operation(DELETE, table, key, &[])?;
        self.operations.push(Operation::Delete { table, key });
        Ok(())
    }

    pub fn delete_range(&mut self, table: u8, start: &[u8], end: &[u8]) -> io::Result<()> {
        let (start, end) = self.operation(DELETE_RANGE, table, start, end)?;
        self.operations.push(Operation::DeleteRange { table, start, end });
        Ok(())
    }

    fn operation(&mut self, kind: u8, table: u8, key: &[u8], value: &[u8]) -> io::Result<(Range<usize>, Range<usize>)> {
        let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "a key or a value is too long for the log");
        let (key_bytes, value_bytes) = (u16::try_from(key.len()).map_err(too_long)?, u32::try_from(value.len()).map_err(too_long)?);
        self.bytes.extend_from_slice(&[kind, table]);
        self.bytes.extend_from_slice(&key_bytes.to_le_bytes());
        self.bytes.extend_from_slice(&value_bytes.to_le_bytes());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        Ok((start..start + key.len(), start + key.len()..self.bytes.len()))
    }

    /// Bytes it will take in a file.
    pub fn size(&self) -> usize {
        self.bytes.len().next_multiple_of(ALIGNED)
    }

    /// The bytes to write into the file with this mark.
    pub fn finish(&mut self, mark: u32, synced: u32) -> io::Result<&[u8]> {
        let length = u32::try_from(self.bytes.len() - HEADER);
        let length = length.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "more than the log can write at once"))?;
        for (place, word) in self.bytes.chunks_exact_mut(4).zip([mark, synced, length]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let sum = sum(&self.bytes);
        self.bytes[12..HEADER].copy_from_slice(&sum.to_le_bytes());
        let size = self.size();
        self.bytes.resize(size, 0);
        Ok(&self.bytes)
    }
}

/// The checksum of a batch that begins with its header.
fn sum(batch: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&batch[..12]), &batch[HEADER..])
}

/// A batch that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub synced: u32,
    /// Where the next one begins.
    pub next: usize,
    pub operations: Vec<Operation>,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// What the header at a place says of the batch's operations, if it is one of this file.
fn claimed(bytes: &[u8], at: usize, mark: u32) -> Option<usize> {
    (word(bytes, at)? == mark).then_some(())?;
    usize::try_from(word(bytes, at + 8)?).ok()
}

/// The batch that begins at `at`, if there is one and it is whole.
pub(super) fn read(bytes: &[u8], at: usize, mark: u32) -> Option<Found> {
    let length = claimed(bytes, at, mark)?;
    let end = (at + HEADER).checked_add(length)?;
    let batch = bytes.get(at..end)?;
    (word(batch, 12)? == sum(batch)).then_some(())?;
    let mut operations = Vec::new();
    let mut next = at + HEADER;
    while next < end {
        let (operation, after) = operation(bytes, next, end)?;
        operations.push(operation);
        next = after;
    }
    Some(Found { synced: word(batch, 4)?, next: end.next_multiple_of(ALIGNED), operations })
}

fn operation(bytes: &[u8], at: usize, end: usize) -> Option<(Operation, usize)> {
    let head = bytes.get(at..at + OPERATION).filter(|_| at + OPERATION <= end)?;
    let (kind, table) = (head[0], head[1]);
    let key_bytes = usize::from(u16::from_le_bytes([head[2], head[3]]));
    let value_bytes = usize::try_from(word(head, 4)?).ok()?;
    let key = at + OPERATION..at + OPERATION + key_bytes;
    let value = key.end..key.end.checked_add(value_bytes)?;
    let after = value.end;
    let operation = match kind {
        PUT => Operation::Put { table, key, value },
        DELETE => Operation::Delete { table, key },
        DELETE_RANGE => Operation::DeleteRange { table, start: key, end: value },
        _ => return None,
    };
    (after <= end).then_some((operation, after))
}

/// What lies behind the place where a file's batches end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Behind {
    /// How far the file was certainly on the disk, by batches that came later.
    pub synced: usize,
    /// Where what looks like batches of this file ends; 0 when nothing does.
    pub end: usize,
}

/// Looks behind `at` for what was written after a batch that is not whole.
pub(super) fn behind(bytes: &[u8], at: usize, mark: u32) -> Behind {
    let mut seen = Behind::default();
    for place in (at.next_multiple_of(ALIGNED)..bytes.len()).step_by(ALIGNED) {
        let Some(length) = claimed(bytes, place, mark) else { continue };
        seen.end = seen.end.max((place + HEADER).saturating_add(length).min(bytes.len()));
        if place > at
            && let Some(found) = read(bytes, place, mark)
        {
            seen.synced = seen.synced.max(usize::try_from(found.synced).unwrap_or(usize::MAX));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn batch(key: &[u8], value: &[u8]) -> Batch {
        let mut batch = Batch::new();
        batch.put(2, key, value).unwrap();
        batch
    }

    #[test]
    fn what_is_written_is_read() {
        let mut written = batch(b"key", b"value");
        written.delete(5, b"gone").unwrap();
        written.delete_range(2, b"a", b"c").unwrap();
        let bytes = written.finish(7, 99).unwrap().to_vec();
        assert_eq!(bytes.len(), written.size());
        let found = read(&bytes, 0, 7).unwrap();
        assert_eq!((found.synced, found.next), (99, bytes.len()));
        let text = |range: &Range<usize>| &bytes[range.clone()];
        match &found.operations[..] {
            [
                Operation::Put { table: 2, key, value },
                Operation::Delete { table: 5, key: gone },
                Operation::DeleteRange { table: 2, start, end },
            ] => {
                assert_eq!((text(key), text(value), text(gone)), (&b"key"[..], &b"value"[..], &b"gone"[..]));
                assert_eq!((text(start), text(end)), (&b"a"[..], &b"c"[..]));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(read(&bytes, 0, 8), None, "it is another file's");
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let mut written = batch(b"key", b"value");
        let bytes = written.finish(7, 0).unwrap().to_vec();
        let whole = HEADER + OPERATION + 8;
        for bit in 0..whole * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&flipped, 0, 7), None, "bit {bit}");
        }
        for length in 0..whole {
            assert_eq!(read(&bytes[..length], 0, 7), None, "cut to {length}");
        }
    }

    #[test]
    fn what_came_later_says_how_far_the_file_was_safe() {
        let mut bytes = batch(b"a", &[1; 100]).finish(7, 0).unwrap().to_vec();
        let second = bytes.len();
        bytes.extend_from_slice(batch(b"b", &[2; 50]).finish(7, u32::try_from(second).unwrap()).unwrap());
        let end = bytes.len();
        // What an earlier life has left.
        bytes.extend_from_slice(batch(b"c", &[3; 50]).finish(6, 5000).unwrap());
        assert_eq!(behind(&bytes, end, 7), Behind::default());
        bytes[40] ^= 1;
        let seen = behind(&bytes, 0, 7);
        assert_eq!(seen.synced, second, "the first was on the disk, and is damaged");
        assert!(seen.end > second && seen.end <= end);
    }
}
