//! A snapshot of the machine's etcd becomes a group of ours, history, leases and checksum included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use futures::StreamExt;
use support::{Clients, Theirs, within};
use tricorn_proto::etcdserverpb::*;
use tricorn_store::{Error, InitialMember, RestoreConfig, Storage, Store, StoreConfig, inspect_etcd, is_etcd, restore_etcd};

/// Enough for several levels of pages.
const WRITES: usize = 3000;
const KEYS: usize = 400;

fn key(n: usize) -> Bytes {
    format!("/registry/things/{:03}", n % KEYS).into()
}

/// A history with everything in it. The same numbers always make the same one.
async fn write(c: &mut Clients) {
    c.lease.lease_grant(LeaseGrantRequest { ttl: 3600, id: 77 }).await.unwrap();
    c.lease.lease_grant(LeaseGrantRequest { ttl: 7200, id: 78 }).await.unwrap();
    let mut seed: usize = 42;
    for n in 0..WRITES {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = key(seed >> 33);
        let put = |lease| PutRequest { key: at.clone(), value: vec![b'v'; 10 + (seed >> 40) % 900].into(), lease, ..PutRequest::default() };
        match (seed >> 20) % 10 {
            0 => drop(c.kv.delete_range(DeleteRangeRequest { key: at, ..DeleteRangeRequest::default() }).await.unwrap()),
            1 => drop(c.kv.put(put(77)).await.unwrap()),
            2 => {
                let delete = DeleteRangeRequest { key: key(seed >> 30), range_end: key((seed >> 30) + 3), prev_kv: false };
                let both = [
                    request_op::Request::RequestDeleteRange(delete),
                    request_op::Request::RequestPut(PutRequest { key: "/txn".into(), ..put(78) }),
                ];
                let success = both.map(|request| RequestOp { request: Some(request) }).to_vec();
                c.kv.txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
            }
            _ => drop(c.kv.put(put(0)).await.unwrap()),
        }
        if n == WRITES / 2 {
            c.kv.compact(CompactionRequest { revision: 1000, physical: true }).await.unwrap();
        }
    }
}

/// Users and a role; authentication stays off, so that the comparison needs no password.
async fn users(c: &mut Clients) {
    c.auth.role_add(AuthRoleAddRequest { name: "reader".into() }).await.unwrap();
    for (name, password) in [("ann", "secret"), ("bob", "secret too")] {
        let user = AuthUserAddRequest { name: name.into(), password: password.into(), ..AuthUserAddRequest::default() };
        c.auth.user_add(user).await.unwrap();
    }
    c.auth.user_grant_role(AuthUserGrantRoleRequest { user: "ann".into(), role: "reader".into() }).await.unwrap();
}

async fn save(c: &mut Clients, path: &Path) -> File {
    let mut file = File::options().create(true).truncate(true).write(true).read(true).open(path).unwrap();
    let mut chunks = c.maintenance.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    while let Some(chunk) = within(chunks.next()).await {
        file.write_all(&chunk.unwrap().blob).unwrap();
    }
    file
}

fn plan(dir: &Path) -> RestoreConfig {
    RestoreConfig {
        name: "a".into(),
        storage: Storage::Dir { path: dir.to_owned(), options: tricorn_store::RocksOptions::default() },
        members: vec![InitialMember { name: "a".into(), peer_urls: vec!["http://127.0.0.1:2380".into()] }],
        token: "again".into(),
        bump_revision: 0,
        mark_compacted: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_etcd_becomes_ours() {
    let Some(theirs) = Theirs::start().await else {
        println!("skipped: there is no etcd on this machine (package etcd-server)");
        return;
    };
    let mut c = theirs.clients().await;
    write(&mut c).await;
    users(&mut c).await;
    let dir = tempfile::tempdir().unwrap();
    let file = save(&mut c, &dir.path().join("snapshot")).await;
    assert!(is_etcd(&file).unwrap());
    let seen = inspect_etcd(&file, false).unwrap();
    assert_eq!(seen.members, ["t"]);

    let data = dir.path().join("data");
    let told = restore_etcd(&file, false, plan(&data)).unwrap();
    assert_eq!((told.revision, told.rows), (seen.revision, seen.rows));
    let store = within(Store::start(StoreConfig::new("a", &data))).await.unwrap();
    assert_eq!(store.revision(), seen.revision);
    let everything = |revision| RangeRequest { key: "\0".into(), range_end: "\0".into(), revision, ..RangeRequest::default() };
    for revision in [0, 1000, 1001, 1500, 2000, seen.revision] {
        let expected = c.kv.range(everything(revision)).await.unwrap().into_inner();
        let found = within(store.range(everything(revision))).await.unwrap();
        assert_eq!((found.count, found.kvs), (expected.count, expected.kvs), "at {revision}");
        if revision == 0 || revision > 1000 {
            let expected = c.maintenance.hash_kv(HashKvRequest { revision }).await.unwrap().into_inner();
            let found = store.hash_kv(revision).await.unwrap();
            assert_eq!((found.hash, found.compacted), (expected.hash, expected.compact_revision), "hash at {revision}");
        }
    }
    let gone = within(store.range(everything(999))).await.unwrap_err();
    assert_eq!(gone.to_string(), "etcdserver: mvcc: required revision has been compacted");
    for id in [77, 78] {
        let ask = LeaseTimeToLiveRequest { id, keys: true };
        let mut expected = c.lease.lease_time_to_live(ask).await.unwrap().into_inner();
        let found = within(store.lease_time_to_live(ask)).await.unwrap();
        expected.keys.sort();
        assert_eq!((found.granted_ttl, found.keys), (expected.granted_ttl, expected.keys));
    }
    assert_eq!(within(store.user_list()).await.unwrap().users, ["ann", "bob"]);
    let ann = within(store.user_get(AuthUserGetRequest { name: "ann".into() })).await.unwrap();
    assert_eq!(ann.roles, ["reader"]);
    let status = c.auth.auth_status(AuthStatusRequest {}).await.map(|status| status.into_inner().auth_revision);
    // etcd 3.4 has no such question; what it counts is told by the versions after it.
    assert!(status.is_err() || status.ok() == Some(within(store.auth_status()).await.unwrap().auth_revision));
    // It goes on from there.
    let put = PutRequest { key: "/new".into(), value: "x".into(), ..PutRequest::default() };
    let put = within(store.put(put, None)).await.unwrap();
    assert_eq!(put.header.unwrap().revision, seen.revision + 1);
    within(store.shutdown()).await.unwrap();

    // A damaged one is refused, and leaves no member behind.
    let mut byte = [0];
    file.read_exact_at(&mut byte, 20_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 20_000).unwrap();
    let refused = restore_etcd(&file, false, plan(&dir.path().join("other"))).unwrap_err();
    assert!(matches!(&refused, Error::Snapshot(reason) if reason.contains("checksum does not match")), "{refused}");
}
