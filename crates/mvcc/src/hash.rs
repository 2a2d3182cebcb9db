//! A checksum over all readable revisions, computed as etcd computes it, so that two members, or a member and an etcd that
//! was given the same writes, can be compared.

use crate::read::Reader;
use crate::record::{Record, Revision, split_old_key};
use crate::table::Table;
use crate::{Error, Result};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use tricorn_proto::mvccpb::KeyValue;

/// A checksum and what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvHash {
    /// CRC-32C.
    pub hash: u32,
    /// Revisions before this one count only as far as they can still be read.
    pub compacted: i64,
    /// The last revision that counts.
    pub revision: i64,
}

/// The rows that count, in the order of revisions: whether it is a tombstone, and the marshalled key and value.
type Rows = BTreeMap<Revision, (bool, Vec<u8>)>;

/// Sorts rows into those that count and those that do not.
///
/// What is younger than the compaction counts always. What is older counts only if it can still be read at the revision asked for;
/// and when nothing at all can be read there, everything that the compaction left counts. Tombstones as old as the compaction do not
/// count. These are etcd's rules (`HashByRev`), odd corner and all.
struct Sorter {
    at: i64,
    compacted: i64,
    counted: Rows,
    left: Rows,
    nothing_readable: bool,
}

impl Sorter {
    /// `superseded`: the revision that replaced or deleted the row.
    fn add(&mut self, key: Bytes, revision: Revision, record: Option<Record<'_>>, superseded: Option<Revision>) {
        if revision.main > self.at {
            return;
        }
        let (old, tombstone) = (revision.main <= self.compacted, record.is_none());
        let outlives = |moment: i64| superseded.is_none_or(|by| by.main > moment);
        let readable = !tombstone && outlives(self.at);
        self.nothing_readable &= !readable;
        let kept = !tombstone && outlives(self.compacted) || tombstone && revision.main == self.compacted;
        if old && !kept {
            return;
        }
        let kv = match record {
            Some(record) => record.to_key_value(key, false),
            None => KeyValue { key, ..KeyValue::default() },
        };
        let rows = if old && !readable { &mut self.left } else { &mut self.counted };
        rows.insert(revision, (tombstone, kv.encode_to_vec()));
    }

    fn rows(mut self) -> Rows {
        if self.nothing_readable {
            self.counted.append(&mut self.left);
        }
        self.counted
    }
}

impl Reader<'_> {
    /// The checksum up to `revision`; 0 for the newest.
    pub fn hash(&self, revision: i64) -> Result<KvHash> {
        if revision > 0 && revision < self.compacted {
            return Err(Error::Compacted);
        }
        let at = self.resolve(revision)?;
        let compacted = self.compacted;
        let mut sorter = Sorter { at, compacted, counted: Rows::new(), left: Rows::new(), nothing_readable: true };
        self.sort_current(&mut sorter)?;
        self.sort_old(&mut sorter)?;
        let mut hash = crc32c::crc32c(b"key");
        for (revision, (tombstone, value)) in sorter.rows() {
            let mut key = Vec::with_capacity(18);
            key.extend_from_slice(&revision.main.to_be_bytes());
            key.push(b'_');
            key.extend_from_slice(&u64::from(revision.sub).to_be_bytes());
            if tombstone {
                key.push(b't');
            }
            hash = crc32c::crc32c_append(hash, &key);
            hash = crc32c::crc32c_append(hash, &value);
        }
        Ok(KvHash { hash, compacted, revision: at })
    }

    /// The checksum of every row that is kept: of keys, their past, leases, users and roles, as etcd's `Hash` sums up its database
    /// file. Members that have applied the same, and have given the same compacted rows back, have the same.
    pub fn hash_everything(&self) -> Result<u32> {
        let mut hash = 0;
        // Counters are left out: among them stands what only this member knows.
        for table in Table::ALL.into_iter().filter(|table| *table != Table::META) {
            hash = crc32c::crc32c_append(hash, table.name().as_bytes());
            let mut cursor = self.view.scan(table, &[], None)?;
            while cursor.valid() {
                hash = crc32c::crc32c_append(hash, cursor.key());
                hash = crc32c::crc32c_append(hash, cursor.value());
                cursor.advance()?;
            }
        }
        Ok(hash)
    }

    fn sort_current(&self, sorter: &mut Sorter) -> Result<()> {
        let mut cursor = self.view.scan(Table::CURRENT, &[], None)?;
        while cursor.valid() {
            let record = Record::decode(cursor.value())?;
            sorter.add(Bytes::copy_from_slice(cursor.key()), record.modified, Some(record), None);
            cursor.advance()?;
        }
        Ok(())
    }

    fn sort_old(&self, sorter: &mut Sorter) -> Result<()> {
        let mut cursor = self.view.scan(Table::OLD, &[], None)?;
        // Within a key the newest comes first: what superseded a row is the row before it, or the current record.
        let mut newer: Option<(Vec<u8>, Revision)> = None;
        while cursor.valid() {
            let (key, revision) = split_old_key(cursor.key())?;
            let superseded = match &newer {
                Some((same, by)) if *same == key => Some(*by),
                _ => match self.current(&key)? {
                    Some(row) => Some(Record::decode(&row)?.modified),
                    None => None,
                },
            };
            let record = if cursor.value().is_empty() { None } else { Some(Record::decode(cursor.value())?) };
            sorter.add(Bytes::copy_from_slice(&key), revision, record, superseded);
            newer = Some((key, revision));
            cursor.advance()?;
        }
        Ok(())
    }
}
