//! Tables in memory, and a machine that runs on them.
#![allow(dead_code)]

use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use tricorn_mvcc::{Applied, Cursor, Error, Machine, Pending, Place, Reader, Result, Table, View};
use tricorn_proto::etcdserverpb::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op};
use tricorn_proto::peer::Command;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::command::Op;

#[derive(Default, Clone)]
pub struct Rows(BTreeMap<(u8, Bytes), Bytes>);

impl Rows {
    pub fn count(&self, table: Table) -> usize {
        self.0.keys().filter(|(at, _)| *at == table.0).count()
    }
}

impl View for Rows {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.get(&(table.0, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan<'a>(&'a self, table: Table, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        let end = end.map_or(Bound::Excluded((table.0 + 1, Bytes::new())), |end| Bound::Excluded((table.0, Bytes::copy_from_slice(end))));
        let start = (table.0, Bytes::copy_from_slice(start));
        if let Bound::Excluded(end) = &end
            && *end <= start
        {
            return Ok(Box::new(Walk(Vec::new(), 0)));
        }
        let rows = self.0.range((Bound::Included(start), end)).map(|((_, key), value)| (key, value)).collect();
        Ok(Box::new(Walk(rows, 0)))
    }
}

struct Walk<'a>(Vec<(&'a Bytes, &'a Bytes)>, usize);

impl Cursor for Walk<'_> {
    fn valid(&self) -> bool {
        self.1 < self.0.len()
    }
    fn key(&self) -> &[u8] {
        self.0[self.1].0
    }
    fn value(&self) -> &[u8] {
        self.0[self.1].1
    }
    fn advance(&mut self) -> Result<()> {
        self.1 += 1;
        Ok(())
    }
}

pub struct Host {
    pub rows: Rows,
    pub machine: Machine,
}

impl Host {
    pub fn new() -> Self {
        let rows = Rows::default();
        Self { machine: Machine::load(&rows).unwrap(), rows }
    }

    pub fn apply(&mut self, op: Op) -> Applied {
        self.apply_in(Command { op: Some(op), ..Command::default() }, 1)
    }

    pub fn apply_in(&mut self, command: Command, term: u64) -> Applied {
        let mut pending = Pending::new(&self.rows);
        let applied = self.machine.apply(&mut pending, &command, Place { term, index: 7 });
        self.store(pending.into_changes().collect());
        assert_eq!(self.machine, Machine::load(&self.rows).unwrap(), "the counters are in the rows");
        applied
    }

    pub fn sweep(&mut self, rows: usize) -> bool {
        let mut pending = Pending::new(&self.rows);
        let done = pending.sweep(rows).unwrap();
        self.store(pending.into_changes().collect());
        done
    }

    fn store(&mut self, changes: Vec<tricorn_mvcc::Change>) {
        for change in changes {
            match change.value {
                Some(value) => self.rows.0.insert((change.table.0, change.key), value),
                None => self.rows.0.remove(&(change.table.0, change.key)),
            };
        }
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader::open(&self.rows).unwrap()
    }

    pub fn put(&mut self, key: &str, value: &str) -> Applied {
        self.apply(Op::Put(put(key, value)))
    }

    pub fn delete(&mut self, key: &str, end: &str) -> Applied {
        self.apply(Op::DeleteRange(delete(key, end)))
    }

    pub fn txn(&mut self, txn: TxnRequest) -> std::result::Result<tricorn_proto::etcdserverpb::TxnResponse, Error> {
        match self.apply(Op::Txn(txn)).answer? {
            Reply::Txn(response) => Ok(response),
            other => panic!("{other:?}"),
        }
    }

    pub fn range(&self, key: &str, end: &str, revision: i64) -> Result<Vec<(String, String)>> {
        let response = self.reader().range(&RangeRequest { revision, ..range(key, end) })?;
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        Ok(response.kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))).collect())
    }
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() }
}

pub fn range(key: &str, end: &str) -> RangeRequest {
    RangeRequest { key: bytes(key), range_end: bytes(end), ..RangeRequest::default() }
}

pub fn delete(key: &str, end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: bytes(key), range_end: bytes(end), prev_kv: true }
}

pub fn op(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

pub fn txn(compare: Vec<Compare>, success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare, success, failure }
}
