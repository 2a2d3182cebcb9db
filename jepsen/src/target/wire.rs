//! Requests and answers of histories as etcd's messages, and back.

use crate::kv;
use bytes::Bytes;
use tonic::Status;
use tricorn_proto::etcdserverpb as pb;
use tricorn_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::response_op::Response;
use tricorn_proto::mvccpb;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn end(end: Option<&String>) -> Bytes {
    end.map(|end| bytes(end)).unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn only_reads(txn: &kv::Txn) -> bool {
    txn.then.iter().chain(&txn.otherwise).all(|op| matches!(op, kv::Op::Range(_)))
}

pub(super) fn range(range: &kv::Range) -> pb::RangeRequest {
    pb::RangeRequest {
        key: bytes(&range.key),
        range_end: end(range.end.as_ref()),
        revision: range.revision,
        limit: range.limit,
        serializable: range.serializable,
        ..Default::default()
    }
}

fn compare(compare: &kv::Compare) -> pb::Compare {
    let (key, target, union) = match compare {
        kv::Compare::ModRevision(key, revision) => (key, CompareTarget::Mod, TargetUnion::ModRevision(*revision)),
        kv::Compare::CreateRevision(key, revision) => (key, CompareTarget::Create, TargetUnion::CreateRevision(*revision)),
        kv::Compare::Version(key, version) => (key, CompareTarget::Version, TargetUnion::Version(*version)),
        kv::Compare::Value(key, value) => (key, CompareTarget::Value, TargetUnion::Value(bytes(value))),
    };
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: bytes(key),
        target_union: Some(union),
        ..Default::default()
    }
}

fn operation(op: &kv::Op) -> pb::RequestOp {
    let request = match op {
        kv::Op::Range(read) => Request::RequestRange(range(read)),
        kv::Op::Put { key, value, lease } => {
            Request::RequestPut(pb::PutRequest { key: bytes(key), value: bytes(value), lease: *lease, ..Default::default() })
        }
        kv::Op::Delete { key, end: stop } => {
            Request::RequestDeleteRange(pb::DeleteRangeRequest { key: bytes(key), range_end: end(stop.as_ref()), ..Default::default() })
        }
    };
    pb::RequestOp { request: Some(request) }
}

pub(super) fn txn(txn: &kv::Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.compares.iter().map(compare).collect(),
        success: txn.then.iter().map(operation).collect(),
        failure: txn.otherwise.iter().map(operation).collect(),
    }
}

pub(crate) fn key_value(kv: &mvccpb::KeyValue) -> kv::KeyValue {
    kv::KeyValue {
        key: text(&kv.key),
        value: text(&kv.value),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

pub(super) fn ranged(reply: pb::RangeResponse) -> kv::Ranged {
    kv::Ranged { kvs: reply.kvs.iter().map(key_value).collect(), count: reply.count }
}

pub(super) fn answer(header: Option<pb::ResponseHeader>, result: kv::Result) -> kv::Answer {
    kv::Answer { revision: header.map_or(0, |header| header.revision), result }
}

pub(super) fn txn_answer(reply: pb::TxnResponse) -> Result<kv::Answer, Status> {
    let results = reply.responses.into_iter().map(|op| match op.response {
        Some(Response::ResponseRange(range)) => Ok(kv::OpResult::Range(ranged(range))),
        Some(Response::ResponsePut(_)) => Ok(kv::OpResult::Put),
        Some(Response::ResponseDeleteRange(deleted)) => Ok(kv::OpResult::Deleted(deleted.deleted)),
        Some(Response::ResponseTxn(_)) | None => Err(Status::internal("an operation has no answer of its kind")),
    });
    let results = results.collect::<Result<_, _>>()?;
    Ok(answer(reply.header, kv::Result::Txn { succeeded: reply.succeeded, results }))
}

pub(crate) fn watch_message(reply: &pb::WatchResponse, time: u64) -> kv::WatchMessage {
    let events = reply.events.iter().map(|event| kv::Event {
        deleted: event.r#type() == mvccpb::event::EventType::Delete,
        kv: event.kv.as_ref().map(key_value).unwrap_or_default(),
        prev: event.prev_kv.as_ref().map(key_value),
    });
    kv::WatchMessage {
        time,
        revision: reply.header.as_ref().map_or(0, |header| header.revision),
        events: events.collect(),
        compact_revision: reply.compact_revision,
    }
}
