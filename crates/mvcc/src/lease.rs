//! Leases as the log knows them: granted seconds, and what was left of them when the leader last wrote it down.

use crate::pending::Pending;
use crate::read::{Reader, header};
use crate::record::{lease_key, read_i64};
use crate::table::{Table, View};
use crate::write::Writer;
use crate::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};
use tricorn_proto::etcdserverpb::{LeaseCheckpoint, LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeResponse};

/// The longest a lease may live, in seconds.
pub(crate) const MAX_TTL: i64 = 9_000_000_000;

/// One lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: i64,
    /// Seconds it was granted for, and is renewed to.
    pub granted: i64,
    /// Seconds that were left at the last checkpoint; 0 when it was full.
    pub remaining: i64,
}

impl Lease {
    /// Seconds a new leader gives it.
    #[must_use]
    pub fn left(&self) -> i64 {
        if self.remaining > 0 { self.remaining.min(self.granted) } else { self.granted }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut row = BytesMut::with_capacity(16);
        row.put_i64(self.granted);
        row.put_i64(self.remaining);
        row.freeze()
    }

    fn decode(id: i64, row: &[u8]) -> Result<Self> {
        let remaining = read_i64(row.get(8..).unwrap_or_default(), "lease")?;
        Ok(Self { id, granted: read_i64(row, "lease")?, remaining })
    }
}

impl Reader<'_> {
    /// A lease by its id.
    pub fn lease(&self, id: i64) -> Result<Option<Lease>> {
        self.view.get(Table::LEASE, &lease_key(id))?.map(|row| Lease::decode(id, &row)).transpose()
    }

    /// All leases, by id.
    pub fn leases(&self) -> Result<Vec<Lease>> {
        let mut all = Vec::new();
        let mut cursor = self.view.scan(Table::LEASE, &[], None)?;
        while cursor.valid() {
            all.push(Lease::decode(read_i64(cursor.key(), "lease")?, cursor.value())?);
            cursor.advance()?;
        }
        Ok(all)
    }

    /// The keys that hang on a lease, sorted.
    pub fn lease_keys(&self, id: i64) -> Result<Vec<Bytes>> {
        let mut keys = Vec::new();
        let start = lease_key(id);
        let mut cursor = self.view.scan(Table::LEASE_KEY, &start, None)?;
        while cursor.valid() && cursor.key().starts_with(&start) {
            keys.push(Bytes::copy_from_slice(&cursor.key()[start.len()..]));
            cursor.advance()?;
        }
        Ok(keys)
    }
}

pub(crate) fn grant(pending: &mut Pending<'_>, revision: i64, request: &LeaseGrantRequest) -> Result<(LeaseGrantResponse, Lease)> {
    if request.id == 0 {
        return Err(Error::LeaseNotFound);
    }
    if request.ttl > MAX_TTL {
        return Err(Error::LeaseTtlTooLarge);
    }
    let key = lease_key(request.id);
    if pending.get(Table::LEASE, &key)?.is_some() {
        return Err(Error::LeaseExists);
    }
    let lease = Lease { id: request.id, granted: request.ttl.max(1), remaining: 0 };
    pending.put(Table::LEASE, Bytes::copy_from_slice(&key), lease.encode());
    Ok((LeaseGrantResponse { header: header(revision), id: lease.id, ttl: lease.granted, error: String::new() }, lease))
}

/// Writes down what is left; returns the leases that exist.
pub(crate) fn checkpoint(pending: &mut Pending<'_>, marks: &[LeaseCheckpoint]) -> Result<Vec<Lease>> {
    let mut changed = Vec::new();
    for mark in marks {
        let key = lease_key(mark.id);
        let Some(row) = pending.get(Table::LEASE, &key)? else { continue };
        let lease = Lease { remaining: mark.remaining_ttl.max(0), ..Lease::decode(mark.id, &row)? };
        pending.put(Table::LEASE, Bytes::copy_from_slice(&key), lease.encode());
        changed.push(lease);
    }
    Ok(changed)
}

impl Writer<'_, '_> {
    /// Ends a lease and deletes its keys, in order, at one revision.
    pub fn revoke(&mut self, id: i64) -> Result<LeaseRevokeResponse> {
        if self.reader().lease(id)?.is_none() {
            return Err(Error::LeaseNotFound);
        }
        for key in self.reader().lease_keys(id)? {
            self.delete(key)?;
        }
        self.pending.delete(Table::LEASE, Bytes::copy_from_slice(&lease_key(id)));
        Ok(LeaseRevokeResponse { header: header(self.revision()) })
    }
}
