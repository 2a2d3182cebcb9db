//! Whatever bytes come in: they are refused, or understood and checked, and never end the process.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use tricorn_mvcc::{Limits, check_command, check_range, is_read_only, is_serializable};
use tricorn_proto::etcdserverpb::compare::TargetUnion;
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchRequest,
};
use tricorn_proto::peer::Command;
use tricorn_proto::peer::command::Op;

/// Takes the bytes as every request they may be, as far as a check goes that knows no state.
fn take(bytes: &[u8]) {
    let check = |op: Op| {
        let command = Command { op: Some(op), ..Command::default() };
        let _answer = check_command(&command, Limits::default());
    };
    if let Ok(range) = RangeRequest::decode(bytes) {
        let _answer = check_range(&range);
    }
    if let Ok(put) = PutRequest::decode(bytes) {
        check(Op::Put(put));
    }
    if let Ok(delete) = DeleteRangeRequest::decode(bytes) {
        check(Op::DeleteRange(delete));
    }
    if let Ok(txn) = TxnRequest::decode(bytes) {
        let (_reads, _serializable) = (is_read_only(&txn), is_serializable(&txn));
        check(Op::Txn(txn));
    }
    if let Ok(grant) = LeaseGrantRequest::decode(bytes) {
        check(Op::LeaseGrant(grant));
    }
    if let Ok(command) = Command::decode(bytes) {
        let _answer = check_command(&command, Limits::default());
    }
    let _watch = WatchRequest::decode(bytes);
}

fn some_bytes() -> impl Strategy<Value = Bytes> + Clone {
    prop::collection::vec(any::<u8>(), 0..4).prop_map(Bytes::from)
}

fn some_txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = (some_bytes(), some_bytes(), any::<i64>(), any::<bool>(), any::<i32>(), 0..3_u8).prop_map(
        |(key, end, number, flag, kind, which)| {
            let request = match which {
                0 => Request::RequestRange(RangeRequest {
                    key,
                    range_end: end,
                    limit: number,
                    sort_order: kind,
                    sort_target: kind,
                    count_only: flag,
                    ..RangeRequest::default()
                }),
                1 => Request::RequestPut(PutRequest {
                    key,
                    value: end,
                    lease: number,
                    ignore_value: flag,
                    ignore_lease: kind % 2 == 0,
                    prev_kv: flag,
                }),
                _ => Request::RequestDeleteRange(DeleteRangeRequest { key, range_end: end, prev_kv: flag }),
            };
            RequestOp { request: Some(request) }
        },
    );
    let compare = (some_bytes(), some_bytes(), any::<i64>(), any::<i32>()).prop_map(|(key, range_end, number, kind)| Compare {
        result: kind,
        target: kind,
        key,
        range_end,
        target_union: Some(TargetUnion::Lease(number)),
    });
    let flat = (prop::collection::vec(compare, 0..3), prop::collection::vec(leaf.clone(), 0..4), prop::collection::vec(leaf, 0..4))
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure });
    flat.prop_recursive(8, 64, 3, |inner| {
        (inner.clone(), prop::collection::vec(inner, 1..3)).prop_map(|(mut outer, nested)| {
            outer.success.extend(nested.into_iter().map(|txn| RequestOp { request: Some(Request::RequestTxn(txn)) }));
            outer
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        take(&bytes);
    }

    /// Most of what is left is still a request, so the checks are reached.
    #[test]
    fn a_request_with_some_bytes_changed(txn in some_txn(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>(), short in any::<bool>()) {
        let mut bytes = txn.encode_to_vec();
        if !bytes.is_empty() {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if short {
                bytes.truncate(cut.index(bytes.len()));
            }
        }
        take(&bytes);
    }
}

#[test]
fn a_transaction_nested_without_end_is_refused_by_its_decoder() {
    let mut bytes = Vec::new();
    for _ in 0..2000 {
        let op = [&[0x22], &length(bytes.len())[..], &bytes].concat();
        bytes = [&[0x12], &length(op.len())[..], &op].concat();
    }
    TxnRequest::decode(&bytes[..]).unwrap_err();
    take(&bytes);
}

fn length(bytes: usize) -> Vec<u8> {
    let mut varint = Vec::new();
    prost::encoding::encode_varint(bytes as u64, &mut varint);
    varint
}
