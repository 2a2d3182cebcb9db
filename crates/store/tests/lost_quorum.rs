//! Two of three members are lost for good: the third goes on alone, and fresh ones join it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod group;

use group::{Group, get, put, until, value, within};
use std::net::TcpListener;
use std::time::Duration;
use tricorn_proto::etcdserverpb::RangeRequest;
use tricorn_store::{Bootstrap, Error, PeerListen, Storage, Store, StoreConfig, Timing};

/// The same member, started with the order to go on alone.
async fn forced(group: &mut Group, n: usize) {
    let mut started = None;
    until("it starts", async || {
        // What was killed may not have let go of everything yet.
        let Ok(listener) = TcpListener::bind(("127.0.0.1", group.seats[n].port)) else { return false };
        let mut config = group.config(n, PeerListen::Listener(listener));
        config.force_new_cluster = true;
        started = Store::start(config).await.ok();
        started.is_some()
    })
    .await;
    group.seats[n].store = started;
    until("it leads", async || group.store(n).leadership().borrow().is_leader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_member_goes_on_alone_with_all_it_has() {
    let mut group = Group::of_three(true, Timing { request: Duration::from_secs(2), ..Timing::default() }).await;
    group.leader().await;
    for n in 0..50 {
        within(group.store(n % 3).put(put(&format!("k{n}"), "v"), None)).await.unwrap();
    }
    let revision = within(group.store(0).read_index()).await.unwrap();
    let old = group.store(0).cluster_id();
    for n in 0..3 {
        group.stop(n).await;
    }
    forced(&mut group, 0).await;
    let store = group.store(0).clone();
    assert_eq!(within(store.read_index()).await.unwrap(), revision);
    assert_ne!(store.cluster_id(), old);
    let members = within(store.members(true)).await.unwrap();
    assert_eq!(members.iter().map(|one| (one.member.name.as_str(), one.is_learner)).collect::<Vec<_>>(), [("s1", false)]);
    assert_eq!(value(&store, "k49").await.unwrap(), "v");
    within(store.put(put("alone", "1"), None)).await.unwrap();

    // The others come back after all: they agree with each other, and nobody of them is heard by the one that has left them.
    group.revive(1).await;
    group.revive(2).await;
    until("the old group leads itself", async || {
        let leader = group.store(1).leadership().borrow().leader;
        leader.is_some() && leader == group.store(2).leadership().borrow().leader
    })
    .await;
    until("the old group takes writes", async || within(group.store(1).put(put("other", "1"), None)).await.is_ok()).await;
    assert_eq!(value(&store, "other").await, None);
    assert_eq!(value(&store, "alone").await.unwrap(), "1");
    assert!(store.leadership().borrow().is_leader);
    assert!(within(group.store(2).range(get("alone"))).await.unwrap().kvs.is_empty());

    // Asked again, nothing is forced, and nothing is lost.
    let forced_id = store.cluster_id();
    drop(store);
    group.stop(0).await;
    forced(&mut group, 0).await;
    assert_eq!(group.store(0).cluster_id(), forced_id);
    assert_eq!(value(group.store(0), "alone").await.unwrap(), "1");

    // A fresh member joins it, and has everything.
    group.stop(2).await;
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    within(group.store(0).member_add("fresh".into(), vec![url.clone()], Vec::new(), false)).await.unwrap();
    let mut config = StoreConfig::new("fresh", dir.path());
    config.storage = Storage::Dir { path: dir.path().to_owned(), options: tricorn_store::RocksOptions::default() };
    config.peer_urls = vec![url];
    config.peer_listen = PeerListen::Listener(listener);
    config.peer_tls = Some(group.tls.clone());
    config.bootstrap = Bootstrap::Join { peers: vec![group.url(0)] };
    let fresh = within(Store::start(config)).await.unwrap();
    until("it votes", async || !fresh.status().is_learner).await;
    within(fresh.read_index()).await.unwrap();
    let all = RangeRequest { range_end: "l".into(), count_only: true, ..get("k") };
    assert_eq!(within(fresh.range(all)).await.unwrap().count, 50);
    assert_eq!(within(fresh.hash_kv(0)).await.unwrap(), within(group.store(0).hash_kv(0)).await.unwrap());
    fresh.shutdown().await.unwrap();
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_forced_by_itself() {
    let mut group = Group::of_three(false, Timing { request: Duration::from_secs(1), ..Timing::default() }).await;
    group.leader().await;
    within(group.store(0).put(put("a", "1"), None)).await.unwrap();
    group.kill(1);
    group.kill(2);
    until("there is no leader", async || group.store(0).leadership().borrow().leader.is_none()).await;
    assert!(matches!(within(group.store(0).put(put("a", "2"), None)).await, Err(Error::NoLeader | Error::Timeout | Error::LeaderChanged)));
    group.kill(0);
    forced(&mut group, 0).await;
    assert_eq!(value(group.store(0), "a").await.unwrap(), "1");
    group.shutdown().await;
}
