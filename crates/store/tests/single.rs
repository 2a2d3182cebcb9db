//! One member, end to end.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use std::time::Duration;
use tricorn_proto::etcdserverpb::alarm_request::AlarmAction;
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest,
    RequestOp, TxnRequest, compare,
};
use tricorn_store::{Error, MemoryDisk, Storage, Store, StoreConfig, WatchMessage, WatchOptions};

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::copy_from_slice(value.as_bytes()), ..PutRequest::default() }
}

fn get(key: &str) -> RangeRequest {
    RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..RangeRequest::default() }
}

async fn value(store: &Store, key: &str) -> Option<Bytes> {
    store.range(get(key)).await.unwrap().kvs.first().map(|kv| kv.value.clone())
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_reads_transactions_and_watches() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::start(StoreConfig::new("a", dir.path())).await.unwrap();
    let mut watch = store.watch(WatchOptions { key: "k".into(), range_end: "l".into(), prev_kv: true, ..WatchOptions::default() });
    let first = within(store.put(put("k1", "one"), None)).await.unwrap();
    assert_eq!(first.header.as_ref().unwrap().revision, 2);
    assert_eq!(first.header.unwrap().member_id, store.member_id());
    assert_eq!(value(&store, "k1").await.unwrap(), "one");
    let txn = TxnRequest {
        compare: vec![Compare {
            key: "k1".into(),
            target: compare::CompareTarget::Mod.into(),
            target_union: Some(compare::TargetUnion::ModRevision(2)),
            ..Compare::default()
        }],
        success: vec![RequestOp { request: Some(Request::RequestPut(put("k1", "two"))) }],
        failure: vec![],
    };
    assert!(store.txn(txn.clone(), None).await.unwrap().succeeded);
    assert!(!store.txn(txn, None).await.unwrap().succeeded);
    store.delete_range(DeleteRangeRequest { key: "k1".into(), ..DeleteRangeRequest::default() }, None).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match within(watch.next()).await.unwrap() {
            WatchMessage::Events { revision, events } => seen.push((revision, events[0].r#type, events[0].prev_kv.is_some())),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [(2, 0, false), (3, 0, true), (4, 1, true)]);
    watch.handle().request_progress();
    assert_eq!(within(watch.next()).await.unwrap(), WatchMessage::Progress { revision: 4 });
    let mut early = store.watch(WatchOptions { key: "k1".into(), start_revision: 7, ..WatchOptions::default() });
    early.handle().request_progress();
    for value in ["5", "6"] {
        store.put(put("other", value), None).await.unwrap();
    }
    // Of a time before it begins a watch is told nothing, not even that nothing happened.
    assert_eq!(within(early.next()).await.unwrap(), WatchMessage::Progress { revision: 6 });
    let mut past = store.watch(WatchOptions { key: "k1".into(), start_revision: 3, ..WatchOptions::default() });
    assert!(matches!(within(past.next()).await.unwrap(), WatchMessage::Events { revision: 3, .. }));
    store.compact(CompactionRequest { revision: 4, physical: true }).await.unwrap();
    let mut gone = store.watch(WatchOptions { key: "k1".into(), start_revision: 2, ..WatchOptions::default() });
    assert!(matches!(within(gone.next()).await.unwrap(), WatchMessage::Canceled { compact_revision: 4, .. }));
    assert!(within(gone.next()).await.is_none());
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_raises_the_alarm_and_lets_room_be_made() {
    let mut config = StoreConfig::new("a", "");
    config.storage = Storage::Disk(std::sync::Arc::new(MemoryDisk::default()));
    config.quota_bytes = 64 << 10;
    let store = Store::start(config).await.unwrap();
    let large = "x".repeat(1000);
    let mut full = None;
    for number in 0..1000 {
        full = within(store.put(put(&format!("k{number}"), &large), None)).await.err();
        if full.is_some() {
            break;
        }
    }
    let no_space = |error: &Error| matches!(error, Error::Refused(tricorn_mvcc::Error::NoSpace));
    assert!(full.as_ref().is_some_and(no_space), "{full:?}");
    let alarm = AlarmMember { member_id: store.member_id(), alarm: AlarmType::Nospace.into() };
    assert_eq!(store.alarm(AlarmRequest::default()).await.unwrap().alarms, [alarm]);
    // Kubernetes deletes by transactions.
    let delete = DeleteRangeRequest { key: "k".into(), range_end: "l".into(), ..DeleteRangeRequest::default() };
    let delete = RequestOp { request: Some(Request::RequestDeleteRange(delete)) };
    let deleted = within(store.txn(TxnRequest { success: vec![delete], ..TxnRequest::default() }, None)).await.unwrap();
    let revision = deleted.header.unwrap().revision;
    store.compact(CompactionRequest { revision, physical: true }).await.unwrap();
    store.defragment().await.unwrap();
    // There is room, and nobody has said so yet.
    assert!(no_space(&store.put(put("k", "small"), None).await.unwrap_err()));
    let off = AlarmRequest { action: AlarmAction::Deactivate.into(), member_id: alarm.member_id, alarm: alarm.alarm };
    store.alarm(off).await.unwrap();
    within(store.put(put("k", "small"), None)).await.unwrap();
    assert!(store.alarm(AlarmRequest::default()).await.unwrap().alarms.is_empty());
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_writer_is_fenced() {
    let disk = MemoryDisk::default();
    let mut config = StoreConfig::new("a", "");
    config.storage = Storage::Disk(std::sync::Arc::new(disk));
    let store = Store::start(config).await.unwrap();
    let mut leadership = store.leadership();
    let term = within(leadership.wait_for(|now| now.is_leader)).await.unwrap().term;
    store.put(put("a", "1"), Some(term)).await.unwrap();
    assert!(matches!(store.put(put("a", "2"), Some(term - 1)).await, Err(Error::Fenced { .. })));
    assert!(matches!(store.put(put("a", "2"), Some(term + 1)).await, Err(Error::Fenced { .. })));
    assert_eq!(value(&store, "a").await.unwrap(), "1");
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_restart_and_crash() {
    let disk = MemoryDisk::default();
    let open = |disk: &MemoryDisk| {
        let mut config = StoreConfig::new("a", "");
        config.storage = Storage::Disk(std::sync::Arc::new(disk.clone()));
        Store::start(config)
    };
    let store = open(&disk).await.unwrap();
    for n in 0..50 {
        within(store.put(put(&format!("k{n}"), "v"), None)).await.unwrap();
    }
    let revision = store.revision();
    // Nothing of the state has been flushed: it comes back from the log alone.
    let after = disk.crash();
    drop(store);
    let store = open(&after).await.unwrap();
    assert_eq!(within(store.read_index()).await.unwrap(), revision);
    assert_eq!(value(&store, "k49").await.unwrap(), "v");
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lease_takes_its_keys_along() {
    let mut config = StoreConfig::new("a", "");
    config.storage = Storage::Disk(std::sync::Arc::new(MemoryDisk::default()));
    let store = Store::start(config).await.unwrap();
    let lease = within(store.lease_grant(LeaseGrantRequest { ttl: 1, id: 7 })).await.unwrap();
    assert_eq!((lease.id, lease.ttl), (7, 2));
    let mut watch = store.watch(WatchOptions { key: "l".into(), ..WatchOptions::default() });
    store.put(PutRequest { lease: 7, ..put("l", "v") }, None).await.unwrap();
    assert_eq!(store.lease_keep_alive(7).await.unwrap().ttl, 2);
    let mut last = None;
    while last != Some(1) {
        if let Some(WatchMessage::Events { events, .. }) = within(watch.next()).await {
            last = Some(events[0].r#type);
        }
    }
    assert!(value(&store, "l").await.is_none());
    assert_eq!(store.lease_keep_alive(7).await.unwrap().ttl, 0);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_has_stopped_has_let_go_of_its_disk() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        // RocksDB locks its directory for as long as any thread uses it.
        let store = Store::start(StoreConfig::new("a", dir.path())).await.unwrap();
        let puts = (0..20).map(|n| store.put(put(&format!("k{n}"), &round.to_string()), None));
        within(futures::future::try_join_all(puts)).await.unwrap();
        within(store.shutdown()).await.unwrap();
    }
}
