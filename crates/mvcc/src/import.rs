//! Taking over the history of another etcd, revision by revision, as its database has it.

use crate::auth::{AuthState, rows};
use crate::lease::Lease;
use crate::pending::Pending;
use crate::read::{COMPACTED, REVISION, counter};
use crate::record::{Record, Revision, attached_key, lease_key};
use crate::table::{Table, View};
use crate::write::Writer;
use crate::{Error, Result};
use bytes::Bytes;
use tricorn_proto::authpb::{Role, User};
use tricorn_proto::mvccpb::KeyValue;

/// The length of a revision's key in etcd's database, without the mark of a deletion.
const KEY: usize = 17;
const DELETED: u8 = b't';

/// What has been taken over so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Import {
    /// The newest revision; 0 before the first row.
    last: Revision,
    rows: u64,
}

impl Import {
    /// Rows of history so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes one row of etcd's `key` bucket; they come in the order of their keys, which is that of revisions.
    pub fn row(&mut self, pending: &mut Pending<'_>, key: &[u8], kv: KeyValue) -> Result<()> {
        let (revision, deleted) = split(key)?;
        if revision <= self.last {
            return Err(Error::State(format!(
                "revision {}.{} comes after {}.{}",
                revision.main, revision.sub, self.last.main, self.last.sub
            )));
        }
        if kv.key.is_empty() {
            return Err(Error::State(format!("revision {}.{} has no key", revision.main, revision.sub)));
        }
        self.last = revision;
        self.rows += 1;
        let record = (!deleted).then_some(Record {
            create: kv.create_revision,
            modified: revision,
            version: kv.version,
            lease: kv.lease,
            value: &kv.value,
        });
        Writer::new(pending, revision.main, 0).adopt(&kv.key, revision, record)
    }

    /// Takes one lease over; `remaining` seconds are left of it, 0 when it is full.
    pub fn lease(&self, pending: &mut Pending<'_>, id: i64, granted: i64, remaining: i64) {
        let lease = Lease { id, granted: granted.max(1), remaining: remaining.max(0) };
        pending.put(Table::LEASE, Bytes::copy_from_slice(&lease_key(id)), lease.encode());
    }

    /// Takes a user over, as etcd's `authUsers` bucket has it.
    pub fn user(&self, pending: &mut Pending<'_>, user: &User) {
        rows::put(pending, user);
    }

    /// Takes a role over, as etcd's `authRoles` bucket has it.
    pub fn role(&self, pending: &mut Pending<'_>, role: &Role) {
        rows::put(pending, role);
    }

    /// Takes over whether users and roles count.
    pub fn auth(&self, pending: &mut Pending<'_>, state: AuthState) {
        state.write(pending);
    }

    /// Ends it: `compacted` is the revision of the last compaction, -1 when there was none. The newest revision is returned.
    pub fn finish(self, pending: &mut Pending<'_>, compacted: i64) -> i64 {
        let revision = self.last.main.max(compacted).max(1);
        pending.put(Table::META, Bytes::from_static(REVISION), Bytes::copy_from_slice(&revision.to_be_bytes()));
        if compacted >= 0 {
            pending.put(Table::META, Bytes::from_static(COMPACTED), Bytes::copy_from_slice(&compacted.to_be_bytes()));
        }
        revision
    }
}

/// Moves the newest revision `by` forward, as if that many writes had been made, and with `compacted` makes all before it unreadable:
/// whoever has watched a state that a backup does not have must begin anew, and does when its revision is too old. The newest revision
/// is returned.
pub fn bump(pending: &mut Pending<'_>, by: i64, compacted: bool) -> Result<i64> {
    let revision = counter(pending, REVISION, 1)?.saturating_add(by.max(0));
    let row = Bytes::copy_from_slice(&revision.to_be_bytes());
    pending.put(Table::META, Bytes::from_static(REVISION), row.clone());
    if compacted {
        pending.put(Table::META, Bytes::from_static(COMPACTED), row);
    }
    Ok(revision)
}

/// A revision of etcd's database: eight bytes, `_`, eight bytes, and `t` when it is a deletion.
fn split(key: &[u8]) -> Result<(Revision, bool)> {
    let damaged = || Error::State(format!("a revision's key of {} bytes", key.len()));
    let number = |at: usize| key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes).ok_or_else(damaged);
    let deleted = match key.get(KEY..) {
        Some([]) => false,
        Some([DELETED]) => true,
        _ => return Err(damaged()),
    };
    let (main, sub) = (number(0)?, u32::try_from(number(9)?).map_err(|_| damaged())?);
    if main < 1 { Err(damaged()) } else { Ok((Revision { main, sub }, deleted)) }
}

impl Writer<'_, '_> {
    /// Puts a revision that was made elsewhere on top of what is there; none is a deletion.
    fn adopt(&mut self, key: &Bytes, revision: Revision, record: Option<Record<'_>>) -> Result<()> {
        let before = self.pending.get(Table::CURRENT, key)?;
        let held = before.as_deref().map(Record::decode).transpose()?.map_or(0, |old| old.lease);
        let lease = record.map_or(0, |record| record.lease);
        if held != lease {
            self.detach(held, key);
            if lease != 0 {
                self.pending.put(Table::LEASE_KEY, attached_key(lease, key).into(), Bytes::new());
            }
        }
        let previous = self.supersede(key, before.as_ref())?;
        self.log(revision, key, previous, record.is_none());
        match record {
            Some(record) => self.pending.put(Table::CURRENT, key.clone(), record.encode()),
            None => {
                self.bury(key, revision);
                self.pending.delete(Table::CURRENT, key.clone());
            }
        }
        Ok(())
    }
}
