//! Bytes that readers take for good.

use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use prost::Message;
use serde_json::json;
use tricorn_mvcc::{Change, Table};
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    WatchCreateRequest, WatchRequest, compare, watch_request,
};
use tricorn_proto::peer::command::Op;
use tricorn_proto::peer::{AppendRequest, Command, Entry, LogId, SetQuota, Vote, entry};
use tricorn_store::{Disk, MemoryDisk, Purpose, RocksDisk, RocksOptions, Storage, Store, StoreConfig};

fn put() -> PutRequest {
    PutRequest { key: "key".into(), value: "value".into(), prev_kv: true, ..PutRequest::default() }
}

fn txn(depth: usize) -> TxnRequest {
    let range = RangeRequest { key: "a".into(), range_end: "z".into(), limit: 3, sort_order: 2, sort_target: 4, ..RangeRequest::default() };
    let delete = DeleteRangeRequest { key: "other".into(), range_end: "p".into(), prev_kv: true };
    let mut success: Vec<Request> = vec![Request::RequestPut(put()), Request::RequestRange(range), Request::RequestDeleteRange(delete)];
    if depth > 0 {
        success.push(Request::RequestTxn(txn(depth - 1)));
    }
    let compare = Compare {
        key: "key".into(),
        target: compare::CompareTarget::Version.into(),
        target_union: Some(compare::TargetUnion::Version(0)),
        ..Compare::default()
    };
    let success: Vec<RequestOp> = success.into_iter().map(|request| RequestOp { request: Some(request) }).collect();
    TxnRequest { compare: vec![compare], failure: success.clone(), success }
}

/// Commands of every kind that needs no other before it.
pub fn commands() -> Result<Vec<Vec<u8>>> {
    let ops = [
        Op::Put(put()),
        Op::DeleteRange(DeleteRangeRequest { key: "a".into(), range_end: "z".into(), prev_kv: true }),
        Op::Txn(txn(2)),
        Op::Compact(CompactionRequest { revision: 1, physical: true }),
        Op::LeaseGrant(LeaseGrantRequest { ttl: 60, id: 7 }),
        Op::Alarm(AlarmRequest { action: 1, member_id: 3, alarm: 1 }),
        Op::Quota(SetQuota { bytes: 1 << 30 }),
    ];
    let command = |op| Command { time_ms: 1_700_000_000_000, fence: None, caller: None, op: Some(op) };
    Ok(ops.map(|op| command(op).encode_to_vec()).to_vec())
}

/// Requests of clients, and of a leader.
pub fn requests() -> Result<Vec<Vec<u8>>> {
    let range = RangeRequest { key: "a".into(), range_end: "\0".into(), limit: 10, max_mod_revision: 5, ..RangeRequest::default() };
    let create =
        WatchCreateRequest { key: "a".into(), range_end: "b".into(), start_revision: 2, filters: vec![0, 1], ..Default::default() };
    let watch = WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) };
    let id = LogId { term: 2, index: 9 };
    let entry = Entry { id: Some(id), payload: Some(entry::Payload::Command(Bytes::from_static(b"\x08\x01"))) };
    let vote = Vote { term: 2, candidate: 1, committed: true };
    let append = AppendRequest { vote: Some(vote), previous: Some(id), entries: vec![entry; 3], committed: Some(id) };
    Ok(vec![range.encode_to_vec(), watch.encode_to_vec(), append.encode_to_vec(), put().encode_to_vec(), txn(3).encode_to_vec()])
}

/// A snapshot of a small store.
pub fn snapshots() -> Result<Vec<Vec<u8>>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().context("start a runtime")?;
    runtime.block_on(async {
        let mut config = StoreConfig::new("a", "");
        config.storage = Storage::Disk(std::sync::Arc::new(MemoryDisk::default()));
        let store = Store::start(config).await?;
        for key in ["a", "b", "c"] {
            store.put(PutRequest { key: key.into(), value: "some value".into(), ..PutRequest::default() }, None).await?;
        }
        let mut stream = store.snapshot().await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.chunks.recv().await {
            bytes.extend_from_slice(&chunk.context("read a snapshot")?);
        }
        store.shutdown().await?;
        Ok(vec![bytes])
    })
}

/// The number of the first file of a log.
pub const LOG_FILE: u32 = 1;

/// The file of a log with entries, a vote, and a part that has been cut off again.
pub fn log_files() -> Result<Vec<Vec<u8>>> {
    let dir = tempfile::tempdir().context("make a directory for a log")?;
    let log = RocksDisk::new(dir.path(), RocksOptions::default()).open("raft", Purpose::Log)?;
    let row = |table, key: &[u8]| Change { table, key: Bytes::copy_from_slice(key), value: Some(Bytes::from_static(b"some value")) };
    log.write(vec![row(Table::META, b"vote")], true)?;
    for index in 0..5_u64 {
        log.write(vec![row(Table::LOG, &index.to_be_bytes()), row(Table::LOG, &(index + 100).to_be_bytes())], index % 2 == 0)?;
    }
    log.delete_range(Table::LOG, &3_u64.to_be_bytes(), &102_u64.to_be_bytes())?;
    log.flush()?;
    drop(log);
    let mut bytes = std::fs::read(dir.path().join(format!("raft/{LOG_FILE:08x}.wal"))).context("read the log")?;
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    Ok(vec![bytes])
}

/// The database of an etcd that has just been started, where there is an etcd; else only what its pages begin with.
pub fn etcd_snapshots() -> Result<Vec<Vec<u8>>> {
    let mut page = vec![0; 8192];
    page.splice(8..10, [4, 0]);
    page.splice(16..20, 0xED0C_DAED_u32.to_le_bytes());
    page.splice(20..24, 2_u32.to_le_bytes());
    page.splice(24..28, 4096_u32.to_le_bytes());
    let mut seeds = vec![page];
    let program = Path::new("/usr/bin/etcd");
    if program.exists() {
        seeds.extend(etcd_database(program)?);
    } else {
        eprintln!("there is no etcd on this machine (package etcd-server): its snapshots are not among the seeds");
    }
    Ok(seeds)
}

#[allow(clippy::disallowed_methods)] // this thread has nothing else to do, and there is a deadline
fn etcd_database(program: &Path) -> Result<Option<Vec<u8>>> {
    let dir = tempfile::tempdir().context("make a directory for etcd")?;
    let free = "http://127.0.0.1:0";
    let mut etcd = Process::new(program)
        .arg("--data-dir")
        .arg(dir.path())
        .args(["--listen-client-urls", free, "--advertise-client-urls", free, "--listen-peer-urls", free])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start etcd")?;
    let file = dir.path().join("member/snap/db");
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut found = None;
    // Its first writes are there once it has elected itself.
    while Instant::now() < deadline && found.is_none() {
        std::thread::sleep(Duration::from_millis(200));
        found = std::fs::read(&file).ok().filter(|bytes| bytes.windows(7).any(|piece| piece == b"members"));
    }
    etcd.kill().context("end etcd")?;
    etcd.wait().context("wait for etcd")?;
    // What lies behind the used pages is nothing.
    Ok(found.map(|mut bytes| {
        bytes.truncate(48 << 10);
        bytes
    }))
}

/// Objects in Kubernetes' protobuf: the envelope, and the fields of a ConfigMap and of a Pod.
pub fn protobufs() -> Result<Vec<Vec<u8>>> {
    let text = |tag: u8, text: &[u8]| {
        let mut field = vec![tag << 3 | 2];
        let mut length = text.len();
        while length > 127 {
            field.push(u8::try_from(length & 127).unwrap_or(0) | 128);
            length >>= 7;
        }
        field.push(u8::try_from(length).unwrap_or(0));
        field.extend_from_slice(text);
        field
    };
    let envelope = |kind: &[u8], raw: &[u8]| {
        let types = [text(1, b"v1"), text(2, kind)].concat();
        [b"k8s\0".to_vec(), text(1, &types), text(2, raw)].concat()
    };
    let label = [text(1, b"app"), text(2, b"web")].concat();
    let meta = [text(1, b"name"), text(3, b"default"), text(11, &label), vec![7 << 3, 5]].concat();
    let data = [text(1, b"key"), text(2, b"value")].concat();
    let map = [text(1, &meta), text(2, &data)].concat();
    let limit = [text(1, b"cpu"), text(2, &text(1, b"250m"))].concat();
    let container = [text(1, b"c"), text(2, b"image"), text(3, b"sleep"), text(8, &text(1, &limit))].concat();
    let spec = [text(2, &container), text(3, b"Always"), vec![4 << 3, 30]].concat();
    let pod = [text(1, &meta), text(2, &spec)].concat();
    Ok(vec![envelope(b"ConfigMap", &map), envelope(b"Pod", &pod)])
}

const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b\u00e9\n"}},
    "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}], "args": ["-1", ""]}], "priority": -7, "x": [1.5e3, true, null]}}"#;

/// An object in JSON.
pub fn jsons() -> Result<Vec<Vec<u8>>> {
    Ok(vec![POD.into(), b"{}".to_vec()])
}

/// Objects in YAML: block style, flow style, anchors, several lines.
pub fn yamls() -> Result<Vec<Vec<u8>>> {
    let block = "apiVersion: v1\nkind: ConfigMap\nmetadata: &m\n  name: c\n  labels: {a: b, \"c\": 'd'}\ndata:\n  text: |-\n    one\n      two\n  \
                 folded: >\n    a\n    b\n  number: \"0x1F\"\nother: *m\nlist:\n- 1\n- !!str 2\n- ~\n";
    Ok(vec![block.into(), POD.into()])
}

/// Objects in CBOR: in the lengths that encoders choose, and in indefinite ones.
pub fn cbors() -> Result<Vec<Vec<u8>>> {
    let definite = b"\xd9\xd9\xf7\xa3\x44kind\x49ConfigMap\x44data\xa1\x41a\x62bc\x44list\x85\x01\x38\x63\xf9\x3e\x00\xf5\xf6";
    let indefinite =
        b"\xd9\xd9\xf7\xbf\x44list\x9f\x1b\0\0\0\x01\0\0\0\0\xfb\x3f\xf1\x99\x99\x99\x99\x99\x9a\xff\x41t\x5f\x41a\x41b\xff\xff";
    Ok(vec![definite.to_vec(), indefinite.to_vec()])
}

/// An object, and what is to be done to it.
pub fn patches() -> Result<Vec<Vec<u8>>> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "labels": {"a": "b"}, "finalizers": ["x"]},
        "spec": {
            "containers": [
                {"name": "a", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "E", "value": "1"}]},
                {"name": "b", "image": "j"},
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "tolerations": [{"key": "k", "operator": "Exists"}],
        },
    });
    let patches = [
        json!([{"op": "test", "path": "/spec/containers/0/name", "value": "a"}, {"op": "add", "path": "/metadata/labels/x~1y", "value": "z"},
            {"op": "move", "from": "/spec/volumes/0", "path": "/spec/volumes/-"}, {"op": "remove", "path": "/metadata/finalizers"}]),
        json!({"metadata": {"labels": {"a": null, "c": "d"}}, "spec": {"volumes": null}}),
        json!({"spec": {"containers": [{"name": "b", "$patch": "delete"}, {"name": "c", "image": "k"}],
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "$retainKeys": ["containers"], "$patch": "merge"},
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "a", "image": "new", "ports": [{"containerPort": 80, "protocol": "UDP"}]}]}}),
    ];
    patches.iter().map(|patch| serde_json::to_vec(&json!([pod, patch])).context("write a seed")).collect()
}

/// Selectors, quantities and times.
pub fn words() -> Result<Vec<Vec<u8>>> {
    let words = [
        "a=b,c!=d,e in (f, g),h notin (i),j,!k",
        "app.kubernetes.io/name==web",
        "metadata.name=a,status.phase!=Running",
        "metadata.name=a\\,b\\=c",
        "100m",
        "1.5Gi",
        "-3e4",
        "9223372036854775807",
        "0.000000001",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.678901+02:00",
    ];
    Ok(words.map(|word| word.as_bytes().to_vec()).to_vec())
}
