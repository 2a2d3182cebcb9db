//! Users, roles and tokens in a group: every member knows them, also after a crash, a restart and a snapshot.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod group;

use bytes::Bytes;
use group::{Group, get, put, until, within};
use tricorn_proto::authpb::Permission;
use tricorn_proto::authpb::permission::Type;
use tricorn_proto::etcdserverpb::*;
use tricorn_store::{Caller, Credential, Error, Store, Timing, mvcc};

fn user(name: &str, password: &str) -> AuthUserAddRequest {
    AuthUserAddRequest { name: name.into(), password: password.into(), ..AuthUserAddRequest::default() }
}

fn give(user: &str, role: &str) -> AuthUserGrantRoleRequest {
    AuthUserGrantRoleRequest { user: user.into(), role: role.into() }
}

fn grant(role: &str, key: &str, end: &str) -> AuthRoleGrantPermissionRequest {
    let perm = Permission {
        perm_type: Type::Readwrite.into(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        range_end: Bytes::copy_from_slice(end.as_bytes()),
    };
    AuthRoleGrantPermissionRequest { name: role.into(), perm: Some(perm) }
}

/// Writes down users and roles, and makes them count.
async fn guard(store: &Store) {
    within(store.user_add(user("root", "r"))).await.unwrap();
    within(store.user_add(user("alice", "a"))).await.unwrap();
    within(store.role_add(AuthRoleAddRequest { name: "reader".into() })).await.unwrap();
    within(store.role_grant_permission(grant("reader", "k", "l"))).await.unwrap();
    within(store.user_grant_role(give("root", "root"))).await.unwrap();
    within(store.user_grant_role(give("alice", "reader"))).await.unwrap();
    within(store.auth_enable(AuthEnableRequest {})).await.unwrap();
}

async fn log_in(store: &Store, name: &str, password: &str) -> Result<String, Error> {
    let request = AuthenticateRequest { name: name.into(), password: password.into() };
    within(store.authenticate(request)).await.map(|answer| answer.token)
}

fn with(store: &Store, token: &str) -> Store {
    store.for_client(Credential::Token(token.to_owned()))
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> mvcc::Error {
    match answer {
        Err(Error::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// What this member lets alice do, and nobody.
async fn holds(store: &Store, token: &str) {
    let alice = with(store, token);
    within(alice.put(put("k1", "v"), None)).await.unwrap();
    assert_eq!(within(alice.range(get("k1"))).await.unwrap().count, 1);
    assert_eq!(refused(within(alice.range(get("secret"))).await), mvcc::Error::PermissionDenied);
    assert_eq!(refused(within(alice.put(put("secret", "v"), None)).await), mvcc::Error::PermissionDenied);
    assert_eq!(refused(within(alice.user_list()).await), mvcc::Error::PermissionDenied);
    assert_eq!(refused(within(alice.snapshot()).await.map(drop)), mvcc::Error::PermissionDenied);
    let nobody = store.for_client(Credential::Nobody);
    assert_eq!(refused(within(nobody.range(get("k1"))).await), mvcc::Error::UserEmpty);
    assert_eq!(refused(within(nobody.put(put("k1", "v"), None)).await), mvcc::Error::UserEmpty);
    assert_eq!(within(alice.user_get(AuthUserGetRequest { name: "alice".into() })).await.unwrap().roles, ["reader"]);
    // The cluster itself is not asked.
    within(store.put(put("secret", "v"), None)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_knows_users_and_their_tokens() {
    let mut group = Group::of_three(false, Timing::default()).await;
    let leader = group.leader().await;
    guard(group.store((leader + 1) % 3)).await;
    let token = log_in(group.store((leader + 2) % 3), "alice", "a").await.unwrap();
    for n in 0..3 {
        holds(group.store(n), &token).await;
        assert_eq!(refused(log_in(group.store(n), "alice", "wrong").await), mvcc::Error::AuthFailed);
        assert_eq!(refused(within(with(group.store(n), "made.1").range(get("k1"))).await), mvcc::Error::InvalidAuthToken);
    }
    // What changes on one member is changed on all.
    let root = with(group.store(0), &log_in(group.store(0), "root", "r").await.unwrap());
    let change = AuthUserChangePasswordRequest { name: "alice".into(), password: "new".into(), ..Default::default() };
    within(root.user_change_password(change)).await.unwrap();
    for n in 0..3 {
        // A member that has not come as far yet takes the token, and is then told that its client's rights are of yesterday.
        within(group.store(n).read_index()).await.unwrap();
        assert_eq!(refused(within(with(group.store(n), &token).put(put("k1", "v"), None)).await), mvcc::Error::InvalidAuthToken);
    }
    drop(root);
    // A crash of all: what was acknowledged is there.
    for n in 0..3 {
        group.kill(n);
    }
    for n in 0..3 {
        group.revive(n).await;
    }
    group.leader().await;
    assert_eq!(refused(log_in(group.store(1), "alice", "a").await), mvcc::Error::AuthFailed);
    let token = log_in(group.store(1), "alice", "new").await.unwrap();
    holds(group.store(2), &token).await;
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_brings_users_along() {
    let timing = Timing { snapshot_entries: 100, keep_entries: 10, ..Timing::default() };
    let mut group = Group::of_three(true, timing).await;
    let leader = group.leader().await;
    let away = (leader + 1) % 3;
    group.stop(away).await;
    guard(group.store(leader)).await;
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
    let state = group.store(leader).auth_state();
    assert!(state.enabled);
    until("the member has come that far", async || group.store(away).auth_state() == state).await;
    let token = log_in(group.store(away), "alice", "a").await.unwrap();
    holds(group.store(away), &token).await;
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_good_until_users_change() {
    let group = Group::of_three(false, Timing::default()).await;
    let store = group.store(0);
    guard(store).await;
    let revision = within(store.check_password("alice".into(), "a".into())).await.unwrap();
    let signed = store.for_client(Credential::Signed(Caller { user: "alice".into(), revision }));
    let named = store.for_client(Credential::Name("alice".into()));
    within(signed.put(put("k1", "v"), None)).await.unwrap();
    within(store.role_add(AuthRoleAddRequest { name: "another".into() })).await.unwrap();
    assert_eq!(refused(within(signed.range(get("k1"))).await), mvcc::Error::AuthOldRevision);
    assert_eq!(refused(within(signed.put(put("k1", "v"), None)).await), mvcc::Error::AuthOldRevision);
    within(named.put(put("k1", "v"), None)).await.unwrap();
    group.shutdown().await;
}
