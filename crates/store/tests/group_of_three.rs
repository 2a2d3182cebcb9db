//! Three members: what must hold while one of them comes and goes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod group;

use group::{Group, get, put, until, value, within};
use std::time::Duration;
use tokio::time::Instant;
use tricorn_store::{Bootstrap, Error, PeerListen, Store, StoreConfig, Timing, WatchMessage, WatchOptions};

#[tokio::test(flavor = "multi_thread")]
async fn every_member_takes_every_request() {
    let group = Group::of_three(true, Timing::default()).await;
    group.leader().await;
    for n in 0..3 {
        within(group.store(n).put(put(&format!("k{n}"), "v"), None)).await.unwrap();
        // What one member acknowledged, every other one reads at once.
        for other in 0..3 {
            assert_eq!(value(group.store(other), &format!("k{n}")).await.unwrap(), "v", "{n} at {other}");
        }
    }
    let lease = within(group.store(0).lease_grant(tricorn_proto::etcdserverpb::LeaseGrantRequest { ttl: 60, id: 0 })).await.unwrap();
    for n in 0..3 {
        assert_eq!(within(group.store(n).lease_keep_alive(lease.id)).await.unwrap().ttl, 60);
        let left = tricorn_proto::etcdserverpb::LeaseTimeToLiveRequest { id: lease.id, keys: true };
        let left = within(group.store(n).lease_time_to_live(left)).await.unwrap();
        assert!(left.granted_ttl == 60 && left.ttl > 50, "{left:?}");
    }
    until("client URLs are known", async || {
        let members = group.store(2).members(true).await.unwrap();
        members.len() == 3 && members.iter().all(|member| !member.member.client_urls.is_empty() && !member.is_learner)
    })
    .await;
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_and_comes_back() {
    let mut group = Group::of_three(true, Timing::default()).await;
    let first = group.leader().await;
    let term = group.store(first).leadership().borrow().term;
    let other = (first + 1) % 3;
    for n in 0..100 {
        within(group.store(n % 3).put(put(&format!("k{n}"), "old"), None)).await.unwrap();
    }
    let mut watch =
        group.store(first).watch(WatchOptions { key: "k".into(), range_end: "l".into(), start_revision: 2, ..WatchOptions::default() });
    let mut last = 0;
    while last < 50 {
        if let Some(WatchMessage::Events { revision, .. }) = within(watch.next()).await {
            last = revision;
        }
    }
    // A watch holds on to the member's files.
    drop(watch);
    group.kill(first);
    let began = Instant::now();
    // A write on its way to the old leader may have got there or not, and says so; the next one waits for the new leader.
    until("a write succeeds", async || match within(group.store(other).put(put("after", "x"), None)).await {
        Ok(_) => true,
        Err(Error::LeaderChanged | Error::Timeout) => false,
        Err(error) => panic!("{error}"),
    })
    .await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let stale = within(group.store(other).put(put("stale", "x"), Some(term))).await;
    assert!(matches!(stale, Err(Error::Fenced { .. })), "{stale:?}");
    // The watch goes on, on another member, from where it was.
    let mut watch = group.store(other).watch(WatchOptions {
        key: "k".into(),
        range_end: "l".into(),
        start_revision: last + 1,
        ..WatchOptions::default()
    });
    while last < 101 {
        match within(watch.next()).await {
            Some(WatchMessage::Events { revision, events }) => {
                assert_eq!((revision, events.len()), (last + 1, 1));
                last = revision;
            }
            message => panic!("{message:?}"),
        }
    }
    group.revive(first).await;
    assert_eq!(value(group.store(first), "after").await.unwrap(), "x");
    let hash = group.store(other).hash_kv(0).await.unwrap();
    until("all hold the same", async || group.store(first).hash_kv(0).await.unwrap() == hash).await;
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_left_far_behind_is_sent_a_snapshot() {
    let timing = Timing { snapshot_entries: 100, keep_entries: 10, ..Timing::default() };
    let mut group = Group::of_three(true, timing).await;
    let leader = group.leader().await;
    let away = (leader + 1) % 3;
    within(group.store(away).put(put("before", "x"), None)).await.unwrap();
    group.stop(away).await;
    // Far more than is kept in the log (purging goes in steps of 1024 entries).
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..3000 {
        let store = group.store(leader).clone();
        writes.spawn(async move { store.put(put(&format!("k{n:04}"), "v"), None).await.map(drop) });
    }
    while let Some(written) = within(writes.join_next()).await {
        written.unwrap().unwrap();
    }
    group.revive(away).await;
    let store = group.store(away);
    assert_eq!(value(store, "k2999").await.unwrap(), "v");
    let count = tricorn_proto::etcdserverpb::RangeRequest { range_end: "l".into(), count_only: true, ..get("k") };
    assert_eq!(within(store.range(count)).await.unwrap().count, 3000);
    let hash = group.store(leader).hash_kv(0).await.unwrap();
    assert_eq!(store.hash_kv(0).await.unwrap(), hash);
    // And it still watches and writes.
    let mut watch = store.watch(WatchOptions { key: "new".into(), ..WatchOptions::default() });
    within(store.put(put("new", "x"), None)).await.unwrap();
    assert!(matches!(within(watch.next()).await, Some(WatchMessage::Events { .. })));
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_of_all_loses_nothing_acknowledged() {
    let mut group = Group::of_three(false, Timing::default()).await;
    group.leader().await;
    for round in 0..3 {
        let mut acknowledged = Vec::new();
        for n in 0..60 {
            let key = format!("r{round}k{n}");
            within(group.store(n % 3).put(put(&key, "v"), None)).await.unwrap();
            acknowledged.push(key);
        }
        for n in 0..3 {
            group.kill(n);
        }
        for n in 0..3 {
            group.revive(n).await;
        }
        for key in acknowledged {
            assert_eq!(value(group.store(round), &key).await.expect(&key), "v");
        }
    }
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_and_membership_changes() {
    let mut group = Group::of_three(false, Timing::default()).await;
    let leader = group.leader().await;
    let target = (leader + 1) % 3;
    within(group.store((leader + 2) % 3).move_leader(group.store(target).member_id())).await.unwrap();
    until("it leads", async || group.store(target).leadership().borrow().is_leader).await;

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let id = within(group.store(leader).member_add("s4".into(), vec![url.clone()], vec![], false)).await.unwrap();
    let mut config = StoreConfig::new("s4", "");
    config.storage = tricorn_store::Storage::Disk(std::sync::Arc::new(tricorn_store::MemoryDisk::default()));
    config.peer_urls = vec![url];
    config.bootstrap = Bootstrap::Join { peers: vec![group.url(0), group.url(1)] };
    config.peer_listen = PeerListen::Listener(listener);
    config.peer_tls = Some(group.tls.clone());
    let fourth = within(Store::start(config)).await.unwrap();
    assert_eq!(fourth.member_id(), id);
    until("it votes", async || !fourth.status().is_learner).await;
    within(fourth.put(put("k", "v"), None)).await.unwrap();

    // The leader itself goes: somebody else takes over and removes it.
    let gone = group.store(target).member_id();
    within(fourth.member_remove(gone)).await.unwrap();
    until("three are left", async || fourth.members(true).await.is_ok_and(|members| members.len() == 3)).await;
    group.kill(target);
    within(fourth.put(put("k", "w"), None)).await.unwrap();
    assert_eq!(value(group.store(leader), "k").await.unwrap(), "w");
    assert!(matches!(within(fourth.member_remove(12345)).await, Err(Error::MemberNotFound)));
    within(fourth.shutdown()).await.unwrap();
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hears_no_quorum_is_none_until_it_hears_one_again() {
    let mut group = Group::of_three(false, Timing::default()).await;
    let leader = group.leader().await;
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let mut seen = group.store(leader).leadership();
    group.kill(one);
    group.kill(other);
    within(seen.wait_for(|now| now.leader.is_none() && !now.is_leader)).await.unwrap();
    assert!(matches!(within(group.store(leader).put(put("k", "v"), None)).await, Err(Error::NoLeader)));
    group.revive(one).await;
    within(seen.wait_for(|now| now.leader.is_some())).await.unwrap();
    within(group.store(leader).put(put("k", "v"), None)).await.unwrap();
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_hears_no_leader_has_none_until_it_hears_one_again() {
    // In memory: what is killed here would keep RocksDB in use until the process ends, which RocksDB does not forgive.
    let mut group = Group::of_three(false, Timing::default()).await;
    let leader = group.leader().await;
    let (alone, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let mut seen = group.store(alone).leadership();
    within(seen.wait_for(|now| now.leader.is_some())).await.unwrap();
    group.kill(other);
    group.kill(leader);
    within(seen.wait_for(|now| now.leader.is_none())).await.unwrap();
    let refused = within(group.store(alone).range(get("k"))).await.unwrap_err();
    assert!(matches!(refused, Error::NoLeader | Error::Timeout), "{refused}");
    group.revive(other).await;
    within(seen.wait_for(|now| now.leader.is_some())).await.unwrap();
    within(group.store(alone).put(put("k", "v"), None)).await.unwrap();
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_has_forgotten_what_it_acknowledged_catches_up() {
    let mut group = Group::of_three(false, Timing::default()).await;
    let leader = group.leader().await;
    let follower = (leader + 1) % 3;
    within(group.store(leader).put(put("before", "x"), None)).await.unwrap();
    group.kill(follower);
    // Its disk as it is now: a backup that somebody restores, or a log whose end is lost.
    let kept = group.seats[follower].memory.as_ref().unwrap();
    let (old, same) = (kept.crash(), kept.crash());
    group.set_disk(follower, &same);
    group.revive(follower).await;
    for n in 0..50 {
        within(group.store(leader).put(put(&format!("k{n}"), "x"), None)).await.unwrap();
    }
    assert_eq!(value(group.store(follower), "k49").await.unwrap(), "x");
    group.kill(follower);
    group.set_disk(follower, &old);
    group.revive(follower).await;
    let caught_up = group.store(follower);
    until("it has everything again", async || caught_up.status().applied_index >= group.store(leader).status().applied_index).await;
    assert_eq!(value(caught_up, "k49").await.unwrap(), "x");
    within(group.store(leader).put(put("after", "x"), None)).await.unwrap();
    assert_eq!(value(caught_up, "after").await.unwrap(), "x");
    group.shutdown().await;
}
