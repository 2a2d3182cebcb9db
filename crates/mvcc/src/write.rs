//! One transaction's writes: all at one revision, each with its own place in it.

use crate::pending::Pending;
use crate::read::{Reader, header};
use crate::record::{LogRow, Record, Revision, attached_key, lease_key, log_key, old_key, shared_key_value};
use crate::span::Span;
use crate::table::{Table, View};
use crate::{Error, Result};
use bytes::Bytes;
use std::ops::ControlFlow;
use tricorn_proto::etcdserverpb::{DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse};
use tricorn_proto::mvccpb::event::EventType;
use tricorn_proto::mvccpb::{Event, KeyValue};

/// Writes rows on top of what is pending.
pub(crate) struct Writer<'p, 'v> {
    pub pending: &'p mut Pending<'v>,
    /// The revision before this transaction.
    pub begin: i64,
    pub compacted: i64,
    pub events: Vec<Event>,
    sub: u32,
}

impl<'p, 'v> Writer<'p, 'v> {
    pub fn new(pending: &'p mut Pending<'v>, begin: i64, compacted: i64) -> Self {
        Self { pending, begin, compacted, events: Vec::new(), sub: 0 }
    }

    /// The revision a read inside the transaction sees.
    pub fn revision(&self) -> i64 {
        if self.sub > 0 { self.begin + 1 } else { self.begin }
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader { view: &*self.pending, revision: self.revision(), compacted: self.compacted }
    }

    fn next(&mut self) -> Revision {
        let revision = Revision { main: self.begin + 1, sub: self.sub };
        self.sub += 1;
        revision
    }

    pub fn put(&mut self, request: &PutRequest) -> Result<PutResponse> {
        let before = self.pending.get(Table::CURRENT, &request.key)?;
        let old = before.as_deref().map(Record::decode).transpose()?;
        // The lease first: so etcd answers, although within a transaction it looks at the key first.
        if request.lease != 0 && self.pending.get(Table::LEASE, &lease_key(request.lease))?.is_none() {
            return Err(Error::LeaseNotFound);
        }
        if (request.ignore_value || request.ignore_lease) && old.is_none() {
            return Err(Error::KeyNotFound);
        }
        let lease = if request.ignore_lease { old.map_or(0, |old| old.lease) } else { request.lease };
        let revision = self.next();
        let record = Record {
            create: old.map_or(revision.main, |old| old.create),
            modified: revision,
            version: old.map_or(0, |old| old.version) + 1,
            lease,
            value: if request.ignore_value { old.map_or(&[][..], |old| old.value) } else { &request.value },
        };
        let row = record.encode();
        let held = old.map_or(0, |old| old.lease);
        if held != lease {
            self.detach(held, &request.key);
            if lease != 0 {
                self.pending.put(Table::LEASE_KEY, attached_key(lease, &request.key).into(), Bytes::new());
            }
        }
        let previous = self.supersede(&request.key, before.as_ref())?;
        self.log(revision, &request.key, previous, false);
        self.pending.put(Table::CURRENT, request.key.clone(), row.clone());
        let prev_kv = before.as_ref().map(|row| shared_key_value(request.key.clone(), row)).transpose()?;
        self.events.push(Event {
            r#type: EventType::Put.into(),
            kv: Some(shared_key_value(request.key.clone(), &row)?),
            prev_kv: prev_kv.clone(),
        });
        Ok(PutResponse { header: header(revision.main), prev_kv: prev_kv.filter(|_| request.prev_kv) })
    }

    pub fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<DeleteRangeResponse> {
        let mut keys = Vec::new();
        let reader = self.reader();
        reader.visit(Span::new(&request.key, &request.range_end), reader.revision, &mut |key, _| {
            keys.push(Bytes::copy_from_slice(key));
            Ok(ControlFlow::Continue(()))
        })?;
        let mut prev_kvs = Vec::new();
        let deleted = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        for key in keys {
            let gone = self.delete(key)?;
            if request.prev_kv {
                prev_kvs.extend(gone);
            }
        }
        Ok(DeleteRangeResponse { header: header(self.revision()), deleted, prev_kvs })
    }

    /// Removes one key, if it is there.
    pub fn delete(&mut self, key: Bytes) -> Result<Option<KeyValue>> {
        let Some(before) = self.pending.get(Table::CURRENT, &key)? else { return Ok(None) };
        let lease = Record::decode(&before)?.lease;
        let revision = self.next();
        self.detach(lease, &key);
        let previous = self.supersede(&key, Some(&before))?;
        self.bury(&key, revision);
        self.log(revision, &key, previous, true);
        self.pending.delete(Table::CURRENT, key.clone());
        let gone = shared_key_value(key.clone(), &before)?;
        self.events.push(Event {
            r#type: EventType::Delete.into(),
            kv: Some(KeyValue { key, mod_revision: revision.main, ..KeyValue::default() }),
            prev_kv: Some(gone.clone()),
        });
        Ok(Some(gone))
    }

    /// Leaves a tombstone.
    pub fn bury(&mut self, key: &[u8], revision: Revision) {
        self.pending.put(Table::OLD, old_key(key, revision).into(), Bytes::new());
    }

    pub fn detach(&mut self, lease: i64, key: &[u8]) {
        if lease != 0 {
            self.pending.delete(Table::LEASE_KEY, attached_key(lease, key).into());
        }
    }

    /// Moves the latest record to the old ones, and says which it was.
    pub fn supersede(&mut self, key: &[u8], before: Option<&Bytes>) -> Result<Revision> {
        let Some(before) = before else { return Ok(Revision::default()) };
        let revision = Record::decode(before)?.modified;
        self.pending.put(Table::OLD, old_key(key, revision).into(), before.clone());
        Ok(revision)
    }

    pub fn log(&mut self, revision: Revision, key: &[u8], previous: Revision, deleted: bool) {
        let row = LogRow { deleted, previous, key }.encode();
        self.pending.put(Table::LOG, Bytes::copy_from_slice(&log_key(revision)), row);
    }
}
