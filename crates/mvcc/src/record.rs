//! How rows are written: fixed big-endian heads, so that byte order is the order of revisions.

use crate::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};
use tricorn_proto::mvccpb::KeyValue;

/// One change: the revision of its transaction, and its place within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Revision {
    pub main: i64,
    pub sub: u32,
}

const HEAD: usize = 36;
const LOG_HEAD: usize = 13;

fn damaged(what: &str) -> Error {
    Error::State(format!("damaged {what} row"))
}

pub(crate) fn read_i64(bytes: &[u8], what: &str) -> Result<i64> {
    let head: [u8; 8] = bytes.get(..8).and_then(|head| head.try_into().ok()).ok_or_else(|| damaged(what))?;
    Ok(i64::from_be_bytes(head))
}

fn read_u32(bytes: &[u8], what: &str) -> Result<u32> {
    let head: [u8; 4] = bytes.get(..4).and_then(|head| head.try_into().ok()).ok_or_else(|| damaged(what))?;
    Ok(u32::from_be_bytes(head))
}

/// A key's value and counters at one revision, borrowed from its row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub create: i64,
    pub modified: Revision,
    pub version: i64,
    pub lease: i64,
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    pub fn decode(row: &'a [u8]) -> Result<Self> {
        if row.len() < HEAD {
            return Err(damaged("record"));
        }
        Ok(Self {
            create: read_i64(row, "record")?,
            modified: Revision { main: read_i64(&row[8..], "record")?, sub: read_u32(&row[16..], "record")? },
            version: read_i64(&row[20..], "record")?,
            lease: read_i64(&row[28..], "record")?,
            value: &row[HEAD..],
        })
    }

    pub fn encode(&self) -> Bytes {
        let mut row = BytesMut::with_capacity(HEAD + self.value.len());
        row.put_i64(self.create);
        row.put_i64(self.modified.main);
        row.put_u32(self.modified.sub);
        row.put_i64(self.version);
        row.put_i64(self.lease);
        row.put_slice(self.value);
        row.freeze()
    }

    /// The wire form, with the value copied.
    pub fn to_key_value(self, key: Bytes, keys_only: bool) -> KeyValue {
        let value = if keys_only { Bytes::new() } else { Bytes::copy_from_slice(self.value) };
        self.with_value(key, value)
    }

    pub fn with_value(self, key: Bytes, value: Bytes) -> KeyValue {
        KeyValue { key, create_revision: self.create, mod_revision: self.modified.main, version: self.version, value, lease: self.lease }
    }
}

/// The wire form of a whole row, sharing the row's bytes.
pub(crate) fn shared_key_value(key: Bytes, row: &Bytes) -> Result<KeyValue> {
    let record = Record::decode(row)?;
    Ok(record.with_value(key, row.slice(HEAD..)))
}

/// Appends `key` so that it ends by itself and sorts as before: 00 becomes 00 FF, the end is 00 00.
fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    for &byte in key {
        out.push(byte);
        if byte == 0 {
            out.push(0xFF);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// The part of an OLD row's key that all versions of `key` share.
pub(crate) fn old_prefix(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 14);
    put_key(&mut out, key);
    out
}

/// The key of an OLD row. Revisions are inverted: a forward scan meets the newest first.
pub(crate) fn old_key(key: &[u8], revision: Revision) -> Vec<u8> {
    let mut out = old_prefix(key);
    out.extend_from_slice(&(!revision.main).to_be_bytes());
    out.extend_from_slice(&(!revision.sub).to_be_bytes());
    // Both are positive, so the inverted sign bit is set throughout and order is kept.
    out
}

/// Takes an OLD row's key apart.
pub(crate) fn split_old_key(row: &[u8]) -> Result<(Vec<u8>, Revision)> {
    let mut key = Vec::with_capacity(row.len());
    let mut rest = row;
    loop {
        match rest {
            [0, 0, tail @ ..] => {
                let main = !read_i64(tail, "history")?;
                let sub = !read_u32(tail.get(8..).unwrap_or_default(), "history")?;
                return Ok((key, Revision { main, sub }));
            }
            [0, 0xFF, tail @ ..] => {
                key.push(0);
                rest = tail;
            }
            [0, ..] | [] => return Err(damaged("history")),
            [byte, tail @ ..] => {
                key.push(*byte);
                rest = tail;
            }
        }
    }
}

/// The key of a LOG row.
pub(crate) fn log_key(revision: Revision) -> [u8; 12] {
    let mut out = [0; 12];
    out[..8].copy_from_slice(&revision.main.to_be_bytes());
    out[8..].copy_from_slice(&revision.sub.to_be_bytes());
    out
}

pub(crate) fn split_log_key(row: &[u8]) -> Result<Revision> {
    Ok(Revision { main: read_i64(row, "log")?, sub: read_u32(row.get(8..).unwrap_or_default(), "log")? })
}

/// What a LOG row says: which key changed, how, and what it was before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogRow<'a> {
    pub deleted: bool,
    /// The version this one superseded; zero when there was none.
    pub previous: Revision,
    pub key: &'a [u8],
}

impl<'a> LogRow<'a> {
    pub fn decode(row: &'a [u8]) -> Result<Self> {
        if row.len() < LOG_HEAD {
            return Err(damaged("log"));
        }
        Ok(Self {
            deleted: row[0] == 1,
            previous: Revision { main: read_i64(&row[1..], "log")?, sub: read_u32(&row[9..], "log")? },
            key: &row[LOG_HEAD..],
        })
    }

    pub fn encode(&self) -> Bytes {
        let mut row = BytesMut::with_capacity(LOG_HEAD + self.key.len());
        row.put_u8(u8::from(self.deleted));
        row.put_i64(self.previous.main);
        row.put_u32(self.previous.sub);
        row.put_slice(self.key);
        row.freeze()
    }
}

/// The key of a LEASE row.
pub(crate) fn lease_key(id: i64) -> [u8; 8] {
    id.to_be_bytes()
}

/// The key of a LEASE_KEY row.
pub(crate) fn attached_key(id: i64, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + key.len());
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(key);
    out
}
