//! `tricorn etcd` under the clients that programs use: every call of the `etcd-client` crate, and the common ones of
//! Python's and JavaScript's `etcd3`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmType, CampaignResponse, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, EventType, GetOptions,
    LeaseTimeToLiveOptions, LockOptions, MemberAddOptions, Permission, ProclaimOptions, PutOptions, ResignOptions,
    RoleRevokePermissionOptions, SortOrder, SortTarget, Txn, TxnOp, WatchOptions,
};
use tricorn_e2e::{Members, javascript, python, run_within, until, within};

const SOON: Duration = Duration::from_secs(60);
const SCRIPT: Duration = Duration::from_secs(300);

#[tokio::test]
async fn every_call_of_the_rust_client_works() {
    let group = Members::start();
    for member in 0..3 {
        group.healthy(member).await;
    }
    let all: Vec<&str> = (0..3).map(|member| group.endpoint(member)).collect();
    let mut client = Client::connect(&all, None).await.unwrap();
    keys(&mut client).await;
    watches(&mut client).await;
    leases(&mut client).await;
    locks_and_elections(&mut client).await;
    maintenance(&group).await;
    members(&mut client).await;
    authentication(&mut client, &all).await;
}

fn said(result: Result<impl Sized, Error>) -> String {
    match result {
        Err(Error::GRpcStatus(status)) => format!("{:?}: {}", status.code(), status.message()),
        Err(other) => other.to_string(),
        Ok(_) => "no error".to_owned(),
    }
}

async fn keys(client: &mut Client) {
    assert!(client.put("a", "1", None).await.unwrap().prev_key().is_none());
    let put = client.put("a", "2", Some(PutOptions::new().with_prev_key())).await.unwrap();
    assert_eq!(put.prev_key().unwrap().value_str().unwrap(), "1");
    let revision = put.header().unwrap().revision();
    for key in ["b", "c", "d"] {
        client.put(key, "x", None).await.unwrap();
    }
    let sorted = GetOptions::new().with_range("z").with_limit(2).with_sort(SortTarget::Key, SortOrder::Descend);
    let found = client.get("a", Some(sorted)).await.unwrap();
    assert_eq!((found.kvs()[0].key_str().unwrap(), found.count(), found.more()), ("d", 4, true));
    let past = client.get("a", Some(GetOptions::new().with_revision(revision - 1))).await.unwrap();
    assert_eq!(past.kvs()[0].value_str().unwrap(), "1");
    let counted = client.get("", Some(GetOptions::new().with_all_keys().with_count_only())).await.unwrap();
    assert_eq!((counted.count(), counted.kvs().len()), (4, 0));
    let txn = Txn::new()
        .when([Compare::value("a", CompareOp::Equal, "2"), Compare::version("nothing", CompareOp::Equal, 0)])
        .and_then([TxnOp::put("t", "then", None), TxnOp::get("a", None), TxnOp::txn(Txn::new().and_then([TxnOp::delete("d", None)]))])
        .or_else([TxnOp::put("t", "else", None)]);
    let done = client.txn(txn.clone()).await.unwrap();
    assert!(done.succeeded() && done.op_responses().len() == 3);
    let deleted = client.delete("b", Some(DeleteOptions::new().with_range("d").with_prev_key())).await.unwrap();
    assert_eq!((deleted.deleted(), deleted.prev_kvs().len()), (2, 2));
    client.compact(revision, None).await.unwrap();
    let refused = said(client.get("a", Some(GetOptions::new().with_revision(revision - 1))).await);
    assert_eq!(refused, "OutOfRange: etcdserver: mvcc: required revision has been compacted");
    let refused = said(client.put("", "x", None).await);
    assert_eq!(refused, "InvalidArgument: etcdserver: key is not provided");
}

async fn watches(client: &mut Client) {
    let mut stream = client.watch("w/", Some(WatchOptions::new().with_prefix().with_prev_key())).await.unwrap();
    let created = within("the watch is made", SOON, stream.message()).await.unwrap().unwrap();
    assert!(created.created());
    client.put("w/1", "one", None).await.unwrap();
    client.delete("w/1", None).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let message = within("events come", SOON, stream.message()).await.unwrap().unwrap();
        seen.extend(message.events().iter().map(|event| (event.event_type(), event.prev_kv().is_some())));
    }
    assert_eq!(seen, [(EventType::Put, false), (EventType::Delete, true)]);
    stream.request_progress().await.unwrap();
    let progress = within("progress is told", SOON, stream.message()).await.unwrap().unwrap();
    assert!(progress.events().is_empty() && progress.header().unwrap().revision() > 1);
    stream.cancel(created.watch_id()).await.unwrap();
    let canceled = within("the watch ends", SOON, stream.message()).await.unwrap().unwrap();
    assert!(canceled.canceled());
}

async fn leases(client: &mut Client) {
    let lease = client.lease_grant(60, None).await.unwrap();
    client.put("leased", "x", Some(PutOptions::new().with_lease(lease.id()))).await.unwrap();
    let (mut keeper, mut answers) = client.lease_keep_alive(lease.id()).await.unwrap();
    keeper.keep_alive().await.unwrap();
    assert_eq!(within("the lease is renewed", SOON, answers.message()).await.unwrap().unwrap().ttl(), 60);
    let left = client.lease_time_to_live(lease.id(), Some(LeaseTimeToLiveOptions::new().with_keys())).await.unwrap();
    assert_eq!((left.granted_ttl(), left.keys()), (60, &[b"leased".to_vec()][..]));
    assert!(client.leases().await.unwrap().leases().iter().any(|known| known.id() == lease.id()));
    client.lease_revoke(lease.id()).await.unwrap();
    assert!(client.get("leased", None).await.unwrap().kvs().is_empty());
    assert_eq!(said(client.lease_revoke(lease.id()).await), "NotFound: etcdserver: requested lease not found");
}

async fn locks_and_elections(client: &mut Client) {
    let lease = client.lease_grant(60, None).await.unwrap().id();
    let locked = client.lock("l", Some(LockOptions::new().with_lease(lease))).await.unwrap();
    assert!(locked.key().starts_with(b"l/"));
    client.unlock(locked.key()).await.unwrap();

    let mut observed = client.observe("e").await.unwrap();
    let won: CampaignResponse = client.campaign("e", "first", lease).await.unwrap();
    let key = won.leader().unwrap().clone();
    let leader = within("the leader is seen", SOON, observed.message()).await.unwrap().unwrap();
    assert_eq!(leader.kv().unwrap().value_str().unwrap(), "first");
    client.proclaim("second", Some(ProclaimOptions::new().with_leader(key.clone()))).await.unwrap();
    assert_eq!(client.leader("e").await.unwrap().kv().unwrap().value_str().unwrap(), "second");
    client.resign(Some(ResignOptions::new().with_leader(key))).await.unwrap();
    assert_eq!(said(client.leader("e").await), "Unknown: election: no leader");
    client.lease_revoke(lease).await.unwrap();
}

async fn maintenance(group: &Members) {
    let leader = group.leader().await;
    let mut hashes = Vec::new();
    let mut ids = Vec::new();
    for member in 0..3 {
        let mut client = Client::connect([group.endpoint(member)], None).await.unwrap();
        let status = client.status().await.unwrap();
        assert!(status.version().starts_with("3.6.") && status.db_size() > 0 && status.errors().is_empty(), "{status:?}");
        ids.push(status.header().unwrap().member_id());
        // Linearizable: what is hashed next has been applied here.
        client.get("a", None).await.unwrap();
        hashes.push(client.hash_kv(0).await.unwrap().hash());
        client.defragment().await.unwrap();
        assert_ne!(client.hash().await.unwrap().hash(), 0);
        let mut snapshot = client.snapshot().await.unwrap();
        let mut bytes = 0;
        while let Some(chunk) = within("a snapshot comes", SOON, snapshot.message()).await.unwrap() {
            bytes += chunk.blob().len();
        }
        assert!(bytes > 1000, "{bytes}");
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    let mut client = Client::connect([group.endpoint(leader)], None).await.unwrap();
    assert!(client.alarm(AlarmAction::Get, AlarmType::None, None).await.unwrap().alarms().is_empty());
    client.move_leader(ids[(leader + 1) % 3]).await.unwrap();
    until("leadership has moved", SOON, async || {
        let leads = group.leader().await;
        if leads == (leader + 1) % 3 { Ok(()) } else { Err(leads.to_string()) }
    })
    .await;
}

async fn members(client: &mut Client) {
    let listed = client.member_list().await.unwrap();
    assert_eq!(listed.members().len(), 3);
    // Nobody is there: it stays a learner, and can be told elsewhere and removed.
    let added = client.member_add(["http://127.0.0.1:9"], Some(MemberAddOptions::new().with_is_learner())).await.unwrap();
    let id = added.member().unwrap().id();
    assert!(said(client.member_promote(id).await).contains("can only promote a learner member which is in sync with leader"));
    client.member_update(id, ["http://127.0.0.1:10".to_owned()]).await.unwrap();
    let listed = client.member_list().await.unwrap();
    let learner = listed.members().iter().find(|member| member.id() == id).unwrap();
    assert_eq!((learner.is_learner(), learner.peer_urls()), (true, &["http://127.0.0.1:10".to_owned()][..]));
    assert_eq!(client.member_remove(id).await.unwrap().members().len(), 3);
    assert_eq!(said(client.member_remove(id).await), "NotFound: etcdserver: member not found");
}

async fn authentication(client: &mut Client, all: &[&str]) {
    client.role_add("reader").await.unwrap();
    client.role_grant_permission("reader", Permission::read("a").with_prefix()).await.unwrap();
    assert_eq!(client.role_get("reader").await.unwrap().permissions().len(), 1);
    client.user_add("root", "secret", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.user_add("alice", "wrong", None).await.unwrap();
    client.user_change_password("alice", "hers").await.unwrap();
    client.user_grant_role("alice", "reader").await.unwrap();
    assert_eq!(client.user_get("alice").await.unwrap().roles(), ["reader"]);
    assert_eq!((client.user_list().await.unwrap().users().len(), client.role_list().await.unwrap().roles().len()), (2, 2));
    client.auth_enable().await.unwrap();
    // A member that does not know it yet would take whoever writes there for nobody.
    for endpoint in all {
        let mut nobody = Client::connect([endpoint], None).await.unwrap();
        assert_eq!(said(nobody.get("a", None).await), "InvalidArgument: etcdserver: user name is empty");
    }
    let as_user = |name: &str, password: &str| Client::connect(all.to_vec(), Some(ConnectOptions::new().with_user(name, password)));
    assert!(as_user("alice", "wrong").await.is_err());
    let mut alice = as_user("alice", "hers").await.unwrap();
    assert_eq!(alice.get("a", None).await.unwrap().kvs().len(), 1);
    assert_eq!(said(alice.put("a", "x", None).await), "PermissionDenied: etcdserver: permission denied");
    let mut root = as_user("root", "secret").await.unwrap();
    root.role_revoke_permission("reader", "a", Some(RoleRevokePermissionOptions::new().with_prefix())).await.unwrap();
    assert_eq!(said(alice.get("a", None).await), "PermissionDenied: etcdserver: permission denied");
    root.user_revoke_role("alice", "reader").await.unwrap();
    root.user_delete("alice").await.unwrap();
    root.role_delete("reader").await.unwrap();
    root.auth_disable().await.unwrap();
    client.put("a", "open again", None).await.unwrap();
}

#[tokio::test]
async fn the_common_calls_of_pythons_client_work() {
    let group = Members::start();
    group.healthy(0).await;
    let port = group.endpoint(0).rsplit(':').next().unwrap().to_owned();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/etcd.py");
    // Its messages were generated for an older protobuf.
    let program = python("etcd3", &["etcd3", "protobuf<3.21", "setuptools<81"]).await;
    let said = run_within(SCRIPT, program, &[script.as_os_str(), port.as_ref()], &[]).await.ok();
    assert!(said.contains("all well"), "{said}");
}

#[tokio::test]
async fn the_common_calls_of_javascripts_client_work() {
    let group = Members::start();
    for member in 0..3 {
        group.healthy(member).await;
    }
    let mut arguments = vec![javascript("etcd").await.into_os_string()];
    arguments.extend((0..3).map(|member| group.endpoint(member).into()));
    let said = run_within(SCRIPT, "node", &arguments, &[]).await.ok();
    assert!(said.contains("all well"), "{said}");
}
