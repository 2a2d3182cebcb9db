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

/// Checksum of one revision's row, in the order of revisions.
type Rows = BTreeMap<Revision, (bool, Vec<u8>)>;

impl Reader<'_> {
    /// The checksum up to `revision`; 0 for the newest.
    pub fn hash(&self, revision: i64) -> Result<KvHash> {
        if revision > 0 && revision < self.compacted {
            return Err(Error::Compacted);
        }
        let at = self.resolve(revision)?;
        let mut rows = Rows::new();
        self.hash_current(at, &mut rows)?;
        self.hash_old(at, &mut rows)?;
        let mut hash = crc32c::crc32c(b"key");
        for (revision, (tombstone, value)) in rows {
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
        Ok(KvHash { hash, compacted: self.compacted, revision: at })
    }

    fn hash_current(&self, at: i64, rows: &mut Rows) -> Result<()> {
        let mut cursor = self.view.scan(Table::CURRENT, &[], None)?;
        while cursor.valid() {
            let record = Record::decode(cursor.value())?;
            if record.modified.main <= at {
                let kv = record.to_key_value(Bytes::copy_from_slice(cursor.key()), false);
                rows.insert(record.modified, (false, kv.encode_to_vec()));
            }
            cursor.advance()?;
        }
        Ok(())
    }

    fn hash_old(&self, at: i64, rows: &mut Rows) -> Result<()> {
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
            let tombstone = cursor.value().is_empty();
            let outlived = superseded.is_none_or(|by| by.main > self.compacted) && !tombstone;
            if revision.main <= at && (outlived || tombstone && revision.main >= self.compacted) {
                let key = Bytes::from(key.clone());
                let kv = if tombstone {
                    KeyValue { key, ..KeyValue::default() }
                } else {
                    Record::decode(cursor.value())?.to_key_value(key, false)
                };
                rows.insert(revision, (tombstone, kv.encode_to_vec()));
            }
            newer = Some((key, revision));
            cursor.advance()?;
        }
        Ok(())
    }
}
