//! What can be said about a request without looking at any row.

use crate::span::Span;
use crate::{Error, Result};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeSet;
use tricorn_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use tricorn_proto::peer::Command;
use tricorn_proto::peer::command::Op;

/// How large a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Operations, or comparisons, in one list of a transaction.
    pub txn_ops: usize,
    /// Bytes of an encoded request.
    pub request_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { txn_ops: 128, request_bytes: 1_572_864 }
    }
}

/// Refuses a command that could never be applied.
pub fn check_command(command: &Command, limits: Limits) -> Result<()> {
    match &command.op {
        Some(Op::Put(put)) => check_put(put)?,
        Some(Op::DeleteRange(delete)) => check_delete(delete)?,
        Some(Op::Txn(txn)) => check_txn(txn, limits.txn_ops)?,
        _ => {}
    }
    if command.encoded_len() > limits.request_bytes + 4096 {
        return Err(Error::RequestTooLarge);
    }
    Ok(())
}

/// Refuses a range that cannot be read.
pub fn check_range(range: &RangeRequest) -> Result<()> {
    if range.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    SortOrder::try_from(range.sort_order).map_err(|_| Error::InvalidSortOption)?;
    SortTarget::try_from(range.sort_target).map_err(|_| Error::InvalidSortOption)?;
    Ok(())
}

fn check_put(put: &PutRequest) -> Result<()> {
    if put.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

fn check_delete(delete: &DeleteRangeRequest) -> Result<()> {
    if delete.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

/// Checks a transaction, and all within it, before it is proposed or read.
pub fn check_txn(txn: &TxnRequest, max_ops: usize) -> Result<()> {
    check_ops(txn, max_ops)?;
    for branch in [&txn.success, &txn.failure] {
        touched(branch)?;
    }
    Ok(())
}

fn check_ops(txn: &TxnRequest, max_ops: usize) -> Result<()> {
    let ops = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    if ops > max_ops {
        return Err(Error::TooManyOps);
    }
    if txn.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(range)?,
            Some(Request::RequestPut(put)) => check_put(put)?,
            Some(Request::RequestDeleteRange(delete)) => check_delete(delete)?,
            Some(Request::RequestTxn(inner)) => check_ops(inner, max_ops - ops)?,
            None => return Err(Error::KeyNotFound),
        }
    }
    Ok(())
}

/// The keys one branch puts, and the ranges it deletes.
#[derive(Default)]
struct Touched<'a> {
    puts: BTreeSet<&'a Bytes>,
    deletes: Vec<Span<'a>>,
}

impl<'a> Touched<'a> {
    fn add_put(&mut self, key: &'a Bytes) -> Result<()> {
        if self.deletes.iter().any(|span| span.contains(key)) || !self.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// No key may be put twice, nor put and deleted, on any one way through the tree.
///
/// etcd overlooks ranges here that go on to the last key of all, and ends in a panic when such a transaction then keeps the lease or the
/// value of a key that it has deleted; so they count.
fn touched(ops: &[RequestOp]) -> Result<Touched<'_>> {
    let mut here = Touched::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            here.deletes.push(Span::new(&delete.key, &delete.range_end));
        }
    }
    for op in ops {
        let Some(Request::RequestTxn(inner)) = &op.request else { continue };
        let (success, failure) = (touched(&inner.success)?, touched(&inner.failure)?);
        for key in &success.puts {
            here.add_put(key)?;
        }
        for key in &failure.puts {
            // The two branches exclude each other.
            if !success.puts.contains(key) {
                here.add_put(key)?;
            }
        }
        here.deletes.extend(success.deletes);
        here.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request {
            here.add_put(&put.key)?;
        }
    }
    Ok(here)
}

/// Whether no way through the transaction changes anything, so that it needs no place in the log.
#[must_use]
pub fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.request {
        Some(Request::RequestRange(_)) => true,
        Some(Request::RequestTxn(inner)) => is_read_only(inner),
        _ => false,
    })
}

/// Whether every read in it is content with what this member has.
#[must_use]
pub fn is_serializable(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.request {
        Some(Request::RequestRange(range)) => range.serializable,
        Some(Request::RequestTxn(inner)) => is_serializable(inner),
        _ => false,
    })
}
