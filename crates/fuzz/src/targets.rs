//! Who reads bytes from outside.

use std::io::{Seek, SeekFrom, Write};
use std::sync::LazyLock;

use anyhow::Result;
use bytes::Bytes;
use prost::Message;
use serde_json::Value;
use tricorn_apiserver::read_object;
use tricorn_meta::{FieldSelector, LabelSelector, Quantity, Timestamp};
use tricorn_mvcc::{Limits, Machine, Pending, Place, Reader, check_command};
use tricorn_patch::{FieldSet, Writer, apply, json_patch, merge_patch, reset_fields, strategic_merge, track_update};
use tricorn_proto::etcdserverpb::{RangeRequest, WatchRequest};
use tricorn_proto::peer::{AppendRequest, Command};
use tricorn_schema::{Node, Resource, catalog, protobuf};
use tricorn_store::{Disk, MemoryDisk, Purpose, inspect, inspect_etcd, inspect_log, is_etcd};

use crate::seeds;

/// A reader of bytes.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Bytes that it takes for good.
    pub seeds: fn() -> Result<Vec<Vec<u8>>>,
    /// Reads; whether the bytes were taken.
    pub read: fn(&[u8]) -> bool,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "snapshot", seeds: seeds::snapshots, read: |bytes| inspect(bytes).is_ok() },
    Target { name: "etcd-snapshot", seeds: seeds::etcd_snapshots, read: etcd_snapshot },
    Target { name: "log-file", seeds: seeds::log_files, read: |bytes| inspect_log(seeds::LOG_FILE, bytes).is_ok() },
    Target { name: "command", seeds: seeds::commands, read: command },
    Target { name: "etcd-requests", seeds: seeds::requests, read: requests },
    Target { name: "kubernetes-protobuf", seeds: seeds::protobufs, read: |bytes| protobuf::decode(bytes).is_ok() },
    Target { name: "json", seeds: seeds::jsons, read: |bytes| read_object("application/json", bytes).is_ok() },
    Target { name: "yaml", seeds: seeds::yamls, read: |bytes| read_object("application/yaml", bytes).is_ok() },
    Target { name: "cbor", seeds: seeds::cbors, read: |bytes| read_object("application/cbor", bytes).is_ok() },
    Target { name: "patch", seeds: seeds::patches, read: patch },
    Target { name: "apply", seeds: seeds::patches, read: applied },
    Target { name: "words", seeds: seeds::words, read: words },
];

fn etcd_snapshot(bytes: &[u8]) -> bool {
    let Ok(mut file) = tempfile::tempfile() else { return false };
    let written = file.write_all(bytes).and_then(|()| file.seek(SeekFrom::Start(0)));
    written.is_ok() && is_etcd(&file).is_ok_and(|is| is) && inspect_etcd(&file, true).is_ok()
}

/// What a follower applies: the log's command, on a state that is empty but for what it writes itself.
fn command(bytes: &[u8]) -> bool {
    let Ok(command) = Command::decode(Bytes::copy_from_slice(bytes)) else { return false };
    if check_command(&command, Limits::default()).is_err() {
        return false;
    }
    let Ok(engine) = MemoryDisk::default().open("state", Purpose::State) else { return false };
    let Ok(view) = engine.view() else { return false };
    let Ok(mut machine) = Machine::load(view.as_ref()) else { return false };
    let mut taken = true;
    for index in 1..=2 {
        let mut pending = Pending::new(view.as_ref());
        taken &= machine.apply(&mut pending, &command, Place { term: 1, index }).answer.is_ok();
    }
    taken
}

/// What a client asks for: read, and answered from an empty state.
fn requests(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let watch = WatchRequest::decode(bytes.clone()).is_ok();
    let append = AppendRequest::decode(bytes.clone()).is_ok();
    let Ok(range) = RangeRequest::decode(bytes) else { return watch || append };
    let Ok(engine) = MemoryDisk::default().open("state", Purpose::State) else { return false };
    let Ok(view) = engine.view() else { return false };
    tricorn_mvcc::check_range(&range).is_ok() && Reader::open(view.as_ref()).and_then(|reader| reader.range(&range)).is_ok()
}

fn pods() -> Option<Node<'static>> {
    catalog().resource("", "v1", "pods").and_then(Resource::schema)
}

/// A pair of documents: what is there, and what is to be done to it.
fn pair(bytes: &[u8]) -> Option<(Value, Value)> {
    let Value::Array(pair) = serde_json::from_slice(bytes).ok()? else { return None };
    let [target, patch] = <[Value; 2]>::try_from(pair).ok()?;
    target.is_object().then_some((target, patch))
}

fn patch(bytes: &[u8]) -> bool {
    let (Some(node), Some((target, patch))) = (pods(), pair(bytes)) else { return false };
    let mut targets = [target.clone(), target.clone(), target.clone()];
    let [json, merge, strategic] = &mut targets;
    let done = [json_patch(json, &patch).is_ok(), merge_patch(merge, &patch).is_ok(), strategic_merge(node, strategic, &patch).is_ok()];
    let writer = writer();
    for mut changed in targets {
        if changed.is_object() {
            track_update(node, Some(&target), &mut changed, &writer);
        }
    }
    done.contains(&true)
}

fn applied(bytes: &[u8]) -> bool {
    let (Some(node), Some((target, patch))) = (pods(), pair(bytes)) else { return false };
    let Ok(once) = apply(node, Some(&target), &patch, &writer(), true) else { return false };
    // What was taken once is taken again.
    apply(node, Some(&once), &patch, &writer(), false).is_ok()
}

fn writer() -> Writer<'static> {
    static RESET: LazyLock<FieldSet> = LazyLock::new(|| reset_fields("pods", "", true));
    Writer { manager: "fuzz", api_version: "v1", time: "2026-01-01T00:00:00Z", subresource: "", builtin: true, reset: &RESET }
}

/// Selectors, quantities and times, as they stand in queries and objects.
fn words(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let label = LabelSelector::parse(text).is_ok();
    let field = FieldSelector::parse(text).is_ok();
    let quantity = text.parse::<Quantity>();
    // What was taken is written so that it is taken again, with the same meaning.
    if let Ok(quantity) = &quantity {
        let again = quantity.to_string().parse::<Quantity>();
        assert!(again.is_ok_and(|again| again == *quantity), "{text:?} is written as {quantity}");
    }
    let time = Timestamp::parse(text).map(Timestamp::rfc3339);
    label || field || quantity.is_ok() || time.is_some()
}
