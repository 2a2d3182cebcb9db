//! Snapshots: taken, checked, and made into a new group.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod group;

use group::{put, value, within};
use std::sync::Arc;
use tricorn_store::{Error, InitialMember, MemoryDisk, RestoreConfig, Storage, Store, StoreConfig, inspect, restore};

async fn collect(store: &Store) -> Vec<u8> {
    let mut stream = store.snapshot().await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = within(stream.chunks.recv()).await {
        all.extend_from_slice(&chunk.unwrap());
    }
    all
}

fn config(disk: &MemoryDisk) -> StoreConfig {
    let mut config = StoreConfig::new("a", "");
    config.storage = Storage::Disk(Arc::new(disk.clone()));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_becomes_a_new_group() {
    let store = Store::start(config(&MemoryDisk::default())).await.unwrap();
    for n in 0..200 {
        within(store.put(put(&format!("k{n}"), &"v".repeat(1000)), None)).await.unwrap();
    }
    let bytes = collect(&store).await;
    let info = inspect(bytes.as_slice()).unwrap();
    assert_eq!((info.revision, info.cluster_id), (201, store.cluster_id()));
    let hash = store.hash_kv(0).await.unwrap();
    within(store.shutdown()).await.unwrap();

    // Every kind of damage is found.
    for at in [3, 20, bytes.len() / 2, bytes.len() - 5] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(matches!(inspect(bad.as_slice()), Err(Error::Snapshot(_))), "{at}");
    }
    assert!(inspect(&bytes[..bytes.len() - 1]).is_err());
    // As etcd's tools save it: padded, and summed up once more.
    for (padding, sum, sound) in [(100, 32, true), (0, 32, true), (512, 32, false), (0, 1, false)] {
        let sealed = [&bytes[..], &vec![0; padding], &vec![7; sum]].concat();
        assert_eq!(inspect(sealed.as_slice()).is_ok(), sound, "{padding} {sum}");
    }

    let disk = MemoryDisk::default();
    let plan = || RestoreConfig {
        name: "a".into(),
        storage: Storage::Disk(Arc::new(disk.clone())),
        members: vec![InitialMember { name: "a".into(), peer_urls: vec!["http://127.0.0.1:1".into()] }],
        token: "again".into(),
        bump_revision: 0,
        mark_compacted: false,
    };
    let again = plan();
    restore(bytes.as_slice(), plan()).unwrap();
    assert!(matches!(restore(bytes.as_slice(), again), Err(Error::DataDir { .. })));
    let store = within(Store::start(config(&disk))).await.unwrap();
    assert_eq!(value(&store, "k199").await.unwrap().len(), 1000);
    assert_eq!(store.hash_kv(0).await.unwrap(), hash);
    assert_ne!(store.cluster_id(), info.cluster_id);
    within(store.put(put("new", "x"), None)).await.unwrap();
    within(store.shutdown()).await.unwrap();
    // And once more from disk.
    let store = within(Store::start(config(&disk.crash()))).await.unwrap();
    assert_eq!(value(&store, "new").await.unwrap(), "x");
    within(store.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_newer_directories_are_refused() {
    use tricorn_store::Disk;
    let disk = MemoryDisk::default();
    let store = Store::start(config(&disk)).await.unwrap();
    within(store.shutdown()).await.unwrap();
    let mut other = config(&disk);
    other.name = "b".into();
    assert!(matches!(Store::start(other).await, Err(Error::DataDir { .. })));
    let text = String::from_utf8(disk.read("store.json").unwrap().unwrap()).unwrap();
    let newer = text.replace("\"format\": 2", "\"format\": 3");
    assert_ne!(text, newer);
    disk.replace("store.json", newer.as_bytes()).unwrap();
    let error = Store::start(config(&disk)).await.err().unwrap().to_string();
    assert!(error.contains("newer version"), "{error}");
    assert_eq!(disk.read("store.json").unwrap().unwrap(), newer.as_bytes());
    for (from, to, told) in
        [("\"format\": 2", "\"format\": 1", "earlier version"), ("\"name\": \"a\"", "\"name\": \"b\"", "checksum mismatch")]
    {
        disk.replace("store.json", text.replacen(from, to, 1).as_bytes()).unwrap();
        let error = Store::start(config(&disk)).await.err().unwrap().to_string();
        assert!(error.contains(told), "{error}");
    }
}
