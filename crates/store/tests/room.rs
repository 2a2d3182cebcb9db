//! The room a store may take: the quota, its alarm and its cure, and what goes by itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod group;

use bytes::Bytes;
use group::{Group, get, put, until, value, within};
use std::time::Duration;
use tricorn_proto::etcdserverpb::alarm_request::AlarmAction;
use tricorn_proto::etcdserverpb::{AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest};
use tricorn_store::{AutoCompaction, Error, Store, StoreConfig, Timing, mvcc};

/// Much more than RocksDB takes for its own good.
const QUOTA: u64 = 16 << 20;

fn is_full<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Refused(mvcc::Error::NoSpace)))
}

/// Puts until there is no room, and returns how many puts there was room for.
async fn fill(store: &Store) -> usize {
    // Nothing that compresses.
    let value: Bytes = (0..256 << 10).map(|_| rand::random::<u8>()).collect::<Vec<u8>>().into();
    for n in 0..1000 {
        let request = PutRequest { key: Bytes::from(format!("fill/{n}")), value: value.clone(), ..PutRequest::default() };
        let answer = within(store.put(request, None)).await;
        if is_full(&answer) {
            return n;
        }
        answer.unwrap();
    }
    panic!("the quota is never reached");
}

async fn disarm(store: &Store) {
    for alarm in store.alarms() {
        let request = AlarmRequest { action: AlarmAction::Deactivate as i32, member_id: alarm.member_id, alarm: alarm.alarm };
        within(store.alarm(request)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_member_has_every_other_refuse_too_until_it_is_cured() {
    let mut group = Group::of_three(true, Timing::default()).await;
    group.leader().await;
    within(group.store(0).set_quota(QUOTA)).await.unwrap();
    fill(group.store(0)).await;
    for n in 0..3 {
        let store = group.store(n);
        until("the alarm is known", async || store.alarms().iter().any(|alarm| alarm.alarm() == AlarmType::Nospace)).await;
        assert!(is_full(&within(store.put(put("k", "v"), None)).await), "member {n}");
        // What makes no more of it is served: reads, deletes, compactions.
        within(store.range(get("fill/0"))).await.unwrap();
    }
    let everything = DeleteRangeRequest { key: "fill/".into(), range_end: "fill0".into(), ..DeleteRangeRequest::default() };
    let deleted = within(group.store(1).delete_range(everything, None)).await.unwrap();
    assert!(deleted.deleted > 10);
    within(group.store(2).compact(CompactionRequest { revision: deleted.header.unwrap().revision, physical: true })).await.unwrap();
    for n in 0..3 {
        let store = group.store(n);
        until("the space is given back", async || {
            within(store.defragment()).await.unwrap();
            store.status().db_size < QUOTA
        })
        .await;
    }
    disarm(group.store(0)).await;
    for n in 0..3 {
        until("there is room again", async || !is_full(&within(group.store(n).put(put("k", "v"), None)).await)).await;
    }
    // What has been said of the quota outlives a restart.
    group.stop(0).await;
    group.revive(0).await;
    assert_eq!(group.store(0).status().quota, QUOTA);
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_quota_makes_room_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = StoreConfig::new("a", dir.path());
    config.quota_bytes = QUOTA;
    let store = Store::start(config).await.unwrap();
    fill(&store).await;
    until("the alarm is on", async || !store.alarms().is_empty()).await;
    // Taking the alarm back without a cure does not help: the next write raises it again.
    disarm(&store).await;
    assert!(is_full(&within(store.put(put("k", "v"), None)).await));
    until("the alarm is on again", async || !store.alarms().is_empty()).await;
    within(store.set_quota(QUOTA * 100)).await.unwrap();
    assert_eq!((store.alarms().len(), store.status().quota), (0, QUOTA * 100));
    within(store.put(put("k", "v"), None)).await.unwrap();
    within(store.set_quota(0)).await.unwrap();
    assert_eq!(value(&store, "k").await.unwrap(), "v");
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_goes_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = StoreConfig::new("a", dir.path());
    config.auto_compaction = AutoCompaction::Age(Duration::from_millis(300));
    let store = Store::start(config).await.unwrap();
    for n in 0..20 {
        within(store.put(put("k", &n.to_string()), None)).await.unwrap();
    }
    let newest = store.revision();
    until("all that is old has gone", async || store.status().compacted == newest).await;
    let past = RangeRequest { revision: newest - 1, ..get("k") };
    assert!(matches!(within(store.range(past)).await, Err(Error::Refused(mvcc::Error::Compacted))));
    assert_eq!(value(&store, "k").await.unwrap(), "19");
    store.shutdown().await.unwrap();
}
