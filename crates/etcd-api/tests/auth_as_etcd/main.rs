//! Users, roles and permissions: the same requests to our server and to the machine's etcd must get the same answers.
//!
//! The machine's etcd is Debian's 3.4.23. Later releases have closed holes in it, and ours answers as they do: [`LATER`] names
//! each such answer, so that a difference nobody thought of still fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../support/mod.rs"]
mod support;

#[macro_use]
mod side;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use side::{Side, b, delete, get, give, grant, put, revoke, take, txn, user};
use support::{Clients, Ours, Theirs, within};
use tonic::{Response, Status};
use tricorn_proto::authpb::UserAddOptions;
use tricorn_proto::authpb::permission::Type::{Read, Readwrite, Write};
use tricorn_proto::etcdserverpb::request_op::Request as Op;
use tricorn_proto::etcdserverpb::watch_request::RequestUnion;
use tricorn_proto::etcdserverpb::*;

const EMPTY: &str = "InvalidArgument etcdserver: user name is empty";
const INVALID: &str = "Unauthenticated etcdserver: invalid auth token";
const DENIED: &str = "PermissionDenied etcdserver: permission denied";

/// How the lines begin that later releases answer in another way than 3.4.23, and their answer.
const LATER: &[(&str, &str)] = &[
    // The role that may do everything says so.
    ("nobody: role_get AuthRoleGetRequest { role: \"root\"", "AuthRoleGetResponse"),
    ("root: role_get AuthRoleGetRequest { role: \"root\"", "AuthRoleGetResponse"),
    // Leases were anybody's, and named keys to everybody.
    ("nobody: lease_", EMPTY),
    ("a made-up token: lease_", INVALID),
    ("alice: lease_time_to_live 500 true", DENIED),
    ("alice: lease_keep_alive 500", DENIED),
    ("alice: lease_leases", DENIED),
    // So were alarms, the list of members, leadership and compaction.
    ("nobody: status", EMPTY),
    ("nobody: alarm", EMPTY),
    ("nobody: member_list", EMPTY),
    ("nobody: move_leader", EMPTY),
    ("nobody: compact", EMPTY),
    ("a made-up token: status", INVALID),
    ("a made-up token: member_list", INVALID),
    ("a made-up token: move_leader", INVALID),
    ("alice: move_leader", DENIED),
    // These were refused as well, without etcd's own codes.
    ("nobody: defragment", EMPTY),
    ("nobody: hash_kv", EMPTY),
    ("nobody: snapshot", EMPTY),
    ("a made-up token: alarm", INVALID),
    ("a made-up token: defragment", INVALID),
    ("a made-up token: hash_kv", INVALID),
    ("a made-up token: snapshot", INVALID),
    ("alice: defragment", DENIED),
    ("alice: hash_kv", DENIED),
    ("alice: snapshot", DENIED),
    // Tokens do not matter while authentication is off.
    ("root: range after all", "RangeResponse"),
    // Transactions did not look at what is nested in them, at previous values and at leases.
    ("zoe: txn", DENIED),
    ("nobody, at last: txn nested", EMPTY),
    ("nobody, at last: txn deeper", EMPTY),
];

async fn users_and_roles(s: &mut Side) {
    say!(s, auth.auth_enable, AuthEnableRequest {});
    say!(s, auth.authenticate, AuthenticateRequest { name: "root".into(), password: "r".into() });
    say!(s, auth.auth_disable, AuthDisableRequest {});
    for (name, password) in [("", "x"), ("root", "r"), ("root", "again"), ("alice", "a"), ("bob", "b"), ("dora", "")] {
        say!(s, auth.user_add, user(name, password));
    }
    let options = Some(UserAddOptions { no_password: true });
    say!(s, auth.user_add, AuthUserAddRequest { options, ..user("carol", "") });
    say!(s, auth.user_get, AuthUserGetRequest { name: "alice".into() });
    say!(s, auth.user_get, AuthUserGetRequest { name: "nemo".into() });
    say!(s, auth.user_list, AuthUserListRequest {});
    say!(s, auth.auth_enable, AuthEnableRequest {}, "without the role ");
    for role in ["", "reader", "reader", "writer", "b", "root", "nothing"] {
        say!(s, auth.role_add, AuthRoleAddRequest { name: role.into() });
    }
    say!(s, auth.role_get, AuthRoleGetRequest { role: "root".into() });
    say!(s, auth.role_get, AuthRoleGetRequest { role: "reader".into() });
    say!(s, auth.role_get, AuthRoleGetRequest { role: "none".into() });
    say!(s, auth.role_list, AuthRoleListRequest {});
    for (name, role) in [("root", "root"), ("alice", "reader"), ("alice", "reader"), ("alice", "none"), ("nemo", "reader")] {
        say!(s, auth.user_grant_role, give(name, role));
    }
    say!(s, auth.user_grant_role, give("alice", "writer"));
    say!(s, auth.user_grant_role, give("bob", "b"));
    say!(s, auth.user_get, AuthUserGetRequest { name: "alice".into() }, "with roles ");
    // A grant without a permission is not asked for: it ends the process of 3.4.23.
    for (role, kind, key, end) in [
        ("none", Read, "k", ""),
        ("reader", Read, "k/", "k0"),
        ("reader", Write, "k/", "k0"),
        ("reader", Read, "k/", "k0"),
        ("reader", Read, "a", ""),
        ("reader", Read, "m1", "m5"),
        ("reader", Read, "m5", "m9"),
        ("reader", Read, "m7", "m8"),
        ("reader", Read, "z", "\0"),
        ("reader", Readwrite, "zz", ""),
        ("reader", Read, "gone", ""),
        ("writer", Write, "k/w", "k/x"),
        ("writer", Write, "only", ""),
        ("writer", Readwrite, "both", "botj"),
        ("b", Readwrite, "b/", "b0"),
    ] {
        say!(s, auth.role_grant_permission, grant(role, kind, key, end));
    }
    say!(s, auth.role_get, AuthRoleGetRequest { role: "reader".into() }, "with permissions ");
    for (role, key, end) in [("reader", "gone", ""), ("reader", "gone", ""), ("reader", "k/", ""), ("none", "k", "")] {
        say!(s, auth.role_revoke_permission, revoke(role, key, end));
    }
    say!(s, auth.user_revoke_role, take("alice", "none"));
    say!(s, auth.user_revoke_role, take("nemo", "reader"));
    say!(s, auth.user_delete, AuthUserDeleteRequest { name: "nemo".into() });
    say!(s, auth.role_delete, AuthRoleDeleteRequest { role: "none".into() });
    let change = |name: &str, password: &str| AuthUserChangePasswordRequest {
        name: name.into(),
        password: password.into(),
        ..AuthUserChangePasswordRequest::default()
    };
    say!(s, auth.user_change_password, change("nemo", "x"));
    say!(s, auth.user_change_password, change("alice", "alice's"));
    say!(s, kv.put, put("k/1"));
    say!(s, kv.put, put("secret"));
    say!(s, auth.auth_enable, AuthEnableRequest {});
    say!(s, auth.auth_enable, AuthEnableRequest {}, "again ");
}

async fn logging_in(s: &mut Side) {
    for (name, password) in [("alice", "a"), ("alice", ""), ("nemo", "x"), ("", ""), ("carol", ""), ("carol", "x"), ("dora", "x")] {
        say!(s, auth.authenticate, AuthenticateRequest { name: name.into(), password: password.into() });
    }
}

async fn keys(s: &mut Side) {
    for (key, end) in [
        ("k/1", ""),
        ("k/", "k0"),
        ("k/", "k/5"),
        ("k/", "k1"),
        ("j", "k/5"),
        ("a", ""),
        ("a", "b"),
        ("m1", "m9"),
        ("m1", "m91"),
        ("m4", "m6"),
        ("m9", ""),
        ("z", "\0"),
        ("zebra", "\0"),
        ("zebra", "zoo"),
        ("y", "\0"),
        ("\0", "\0"),
        ("k/5", "k/1"),
        ("secret", ""),
        ("only", ""),
        ("both", ""),
        ("gone", ""),
        ("", ""),
    ] {
        say!(s, kv.range, get(key, end));
    }
    say!(s, kv.range, RangeRequest { serializable: true, ..get("k/1", "") });
    say!(s, kv.range, RangeRequest { serializable: true, ..get("secret", "") });
    for key in ["k/1", "k/w1", "k/x", "only", "both", "botj", "zz", "z", "secret"] {
        say!(s, kv.put, put(key));
    }
    for key in ["only", "both", "k/w1", "secret"] {
        say!(s, kv.put, PutRequest { prev_kv: true, ..put(key) });
        say!(s, kv.put, PutRequest { ignore_value: true, value: Bytes::new(), ..put(key) });
        say!(s, kv.put, PutRequest { ignore_lease: true, ..put(key) });
        say!(s, kv.delete_range, DeleteRangeRequest { prev_kv: true, ..delete(key, "") });
    }
    for (key, end) in [("only", ""), ("k/w", "k/x"), ("k/", "k0"), ("both", "botj"), ("\0", "\0"), ("secret", "")] {
        if s.who != "root" {
            say!(s, kv.delete_range, delete(key, end));
        }
    }
}

async fn transactions(s: &mut Side) {
    let read = |key: &str| Op::RequestRange(get(key, ""));
    let write = |key: &str| Op::RequestPut(put(key));
    let cases = [
        txn(&[], vec![], vec![]),
        txn(&["k/1"], vec![], vec![]),
        txn(&["secret"], vec![], vec![]),
        txn(&["only"], vec![], vec![]),
        txn(&["k/1"], vec![read("a")], vec![read("k/2")]),
        txn(&["k/1"], vec![read("a")], vec![read("secret")]),
        txn(&["k/1"], vec![read("secret")], vec![read("a")]),
        txn(&["k/1"], vec![write("only")], vec![write("both")]),
        txn(&["k/1"], vec![write("only")], vec![write("a")]),
        txn(&[], vec![Op::RequestDeleteRange(delete("only", ""))], vec![]),
        txn(&[], vec![Op::RequestDeleteRange(DeleteRangeRequest { prev_kv: true, ..delete("only", "") })], vec![]),
        txn(&[], vec![Op::RequestDeleteRange(DeleteRangeRequest { prev_kv: true, ..delete("both", "") })], vec![]),
        txn(&[], vec![Op::RequestDeleteRange(delete("secret", ""))], vec![write("both")]),
    ];
    for case in cases {
        if s.who != "root" {
            say!(s, kv.txn, case);
        }
    }
}

/// What any user could do to any key. The revisions of the two sides part here, so it comes last.
async fn holes(s: &mut Side) {
    let read = |key: &str| Op::RequestRange(get(key, ""));
    let write = |key: &str| Op::RequestPut(put(key));
    let inner = |inner: TxnRequest| txn(&[], vec![Op::RequestTxn(inner)], vec![]);
    say!(s, kv.txn, inner(txn(&[], vec![read("secret")], vec![])), "nested read ");
    say!(s, kv.txn, inner(txn(&[], vec![], vec![read("secret")])), "nested read of the other branch ");
    say!(s, kv.txn, inner(txn(&[], vec![write("secret")], vec![])), "nested write ");
    say!(s, kv.txn, inner(txn(&["secret"], vec![], vec![])), "nested comparison ");
    say!(s, kv.txn, inner(inner(txn(&["secret"], vec![], vec![]))), "deeper ");
    let previous = PutRequest { prev_kv: true, ..put("only") };
    say!(s, kv.txn, txn(&[], vec![Op::RequestPut(previous)], vec![]), "previous value ");
    let attached = PutRequest { lease: 500, ..put("both") };
    say!(s, kv.txn, txn(&[], vec![Op::RequestPut(attached)], vec![]), "lease of others ");
}

async fn leases(s: &mut Side, own: i64) {
    say!(s, lease.lease_grant, LeaseGrantRequest { ttl: 600, id: own });
    say!(s, kv.put, PutRequest { lease: own, ..put("both") }, "own lease ");
    say!(s, kv.put, PutRequest { lease: 500, ..put("both") }, "lease of others ");
    say!(s, kv.put, PutRequest { lease: 12345, ..put("both") }, "no lease ");
    let about = |answer: Response<LeaseTimeToLiveResponse>| {
        let mut keys = answer.into_inner().keys;
        keys.sort();
        keys
    };
    for (id, keys) in [(own, true), (500, false), (500, true)] {
        let request = s.ask(LeaseTimeToLiveRequest { id, keys });
        let answer = within(s.c.lease.lease_time_to_live(request)).await.map(about).map(Response::new);
        s.note(&format!("lease_time_to_live {id} {keys}"), answer);
    }
    for id in [own, 500] {
        let request = s.ask(futures::stream::iter([LeaseKeepAliveRequest { id }]));
        let answer = match within(s.c.lease.lease_keep_alive(request)).await {
            Ok(stream) => within(stream.into_inner().message()).await.map(|answer| Response::new(answer.map(|it| it.ttl))),
            Err(status) => Err(status),
        };
        s.note(&format!("lease_keep_alive {id}"), answer);
    }
    let request = s.ask(LeaseLeasesRequest {});
    let answer = within(s.c.lease.lease_leases(request)).await.map(|answer| {
        let mut ids: Vec<_> = answer.into_inner().leases.into_iter().map(|lease| lease.id).collect();
        ids.sort_unstable();
        Response::new(ids)
    });
    s.note("lease_leases", answer);
    say!(s, lease.lease_revoke, LeaseRevokeRequest { id: own });
    if s.who != "root" {
        say!(s, lease.lease_revoke, LeaseRevokeRequest { id: 500 });
    }
}

async fn watches(s: &mut Side) {
    // A stream each: 3.4.23 ends one on which a watch was refused.
    for (key, end) in [("k/1", ""), ("k/", "k0"), ("k/", "k1"), ("secret", ""), ("", "\0"), ("only", ""), ("m2", "m8")] {
        let create = WatchCreateRequest { key: b(key), range_end: b(end), ..WatchCreateRequest::default() };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let request = s.ask(futures::stream::iter([create]).chain(futures::stream::pending()));
        let answer = match within(s.c.watch.watch(request)).await {
            Ok(stream) => within(stream.into_inner().message()).await,
            Err(status) => Err(status),
        };
        let told = |it: WatchResponse| {
            // 3.4.23 refuses under an id that might be another's, later releases under -1.
            let id = if it.canceled { -1 } else { it.watch_id };
            (id, it.created, it.canceled, it.cancel_reason)
        };
        s.note(&format!("watch {key:?} {end:?}"), answer.map(|answer| Response::new(answer.map(told))));
    }
}

async fn the_cluster(s: &mut Side) {
    let ok = |answer: Result<Response<StatusResponse>, Status>| answer.map(|_| Response::new("status"));
    let request = s.ask(StatusRequest {});
    let answer = ok(within(s.c.maintenance.status(request)).await);
    s.note("status", answer);
    // 3.4.23 leaves headers out.
    let request = s.ask(AlarmRequest::default());
    let answer = within(s.c.maintenance.alarm(request)).await.map(|answer| Response::new(answer.into_inner().alarms));
    s.note("alarm", answer);
    let request = s.ask(DefragmentRequest {});
    let answer = within(s.c.maintenance.defragment(request)).await.map(|_| Response::new("done"));
    s.note("defragment", answer);
    let request = s.ask(HashKvRequest { revision: 2 });
    let answer = within(s.c.maintenance.hash_kv(request)).await.map(|_| Response::new("hash"));
    s.note("hash_kv", answer);
    let request = s.ask(SnapshotRequest {});
    let answer = match within(s.c.maintenance.snapshot(request)).await {
        Ok(stream) => within(stream.into_inner().message()).await.map(|answer| Response::new(answer.is_some())),
        Err(status) => Err(status),
    };
    s.note("snapshot", answer);
    let request = s.ask(MemberListRequest::default());
    let answer = within(s.c.cluster.member_list(request)).await.map(|answer| Response::new(answer.into_inner().members.len()));
    s.note("member_list", answer);
    say!(s, cluster.member_remove, MemberRemoveRequest { id: 1 });
    say!(s, cluster.member_add, MemberAddRequest { peer_ur_ls: vec!["no url".into()], is_learner: false });
    say!(s, cluster.member_promote, MemberPromoteRequest { id: 1 });
    say!(s, maintenance.move_leader, MoveLeaderRequest { target_id: 1 });
    if s.who != "root" {
        say!(s, kv.compact, CompactionRequest { revision: 1_000_000, physical: false });
        let activate = AlarmRequest { action: alarm_request::AlarmAction::Activate.into(), member_id: 1, alarm: AlarmType::Corrupt.into() };
        if s.who != "nobody" && s.who != "alice" {
            say!(s, maintenance.alarm, activate);
        }
    }
}

async fn management(s: &mut Side) {
    for name in ["alice", "bob", "root", "nemo"] {
        say!(s, auth.user_get, AuthUserGetRequest { name: name.into() });
    }
    for role in ["reader", "writer", "b", "root", "none"] {
        say!(s, auth.role_get, AuthRoleGetRequest { role: role.into() });
    }
    say!(s, auth.user_list, AuthUserListRequest {});
    say!(s, auth.role_list, AuthRoleListRequest {});
    say!(s, auth.auth_enable, AuthEnableRequest {});
    if s.who == "root" {
        return;
    }
    say!(s, auth.user_add, user("eve", "e"));
    say!(s, auth.user_delete, AuthUserDeleteRequest { name: "bob".into() });
    let change = AuthUserChangePasswordRequest { name: "alice".into(), password: "x".into(), ..AuthUserChangePasswordRequest::default() };
    say!(s, auth.user_change_password, change);
    say!(s, auth.user_grant_role, give("alice", "root"));
    say!(s, auth.user_revoke_role, take("bob", "b"));
    say!(s, auth.role_add, AuthRoleAddRequest { name: "mine".into() });
    say!(s, auth.role_delete, AuthRoleDeleteRequest { role: "b".into() });
    say!(s, auth.role_grant_permission, grant("reader", Readwrite, "secret", ""));
    say!(s, auth.role_revoke_permission, revoke("b", "b/", "b0"));
    say!(s, auth.auth_disable, AuthDisableRequest {});
}

async fn everything(s: &mut Side) {
    keys(s).await;
    transactions(s).await;
    leases(s, 600).await;
    watches(s).await;
    the_cluster(s).await;
    management(s).await;
}

/// What becomes of tokens when what they stand for changes.
async fn changes(s: &mut Side) {
    s.log_in("root", "root", "r").await;
    let root = s.token.clone();
    say!(s, auth.user_delete, AuthUserDeleteRequest { name: "root".into() });
    say!(s, auth.user_revoke_role, take("root", "root"));
    say!(s, auth.role_delete, AuthRoleDeleteRequest { role: "root".into() });
    s.log_in("bob", "bob", "b").await;
    let bob = s.token.clone();
    say!(s, kv.put, put("b/1"));
    s.log_in("alice", "alice", "alice's").await;
    let alice = s.token.clone();
    macro_rules! as_root {
        ($method:ident, $request:expr) => {{
            (s.token, s.who) = (root.clone(), "root");
            say!(s, auth.$method, $request);
        }};
    }
    as_root!(role_grant_permission, grant("b", Readwrite, "secret", ""));
    (s.token, s.who) = (bob.clone(), "bob");
    say!(s, kv.range, get("secret", ""), "granted now ");
    as_root!(role_revoke_permission, revoke("b", "secret", ""));
    (s.token, s.who) = (bob.clone(), "bob");
    say!(s, kv.range, get("secret", ""), "revoked now ");
    as_root!(user_revoke_role, take("bob", "b"));
    (s.token, s.who) = (bob.clone(), "bob");
    say!(s, kv.put, put("b/1"), "without the role ");
    as_root!(user_grant_role, give("bob", "b"));
    (s.token, s.who) = (bob.clone(), "bob");
    say!(s, kv.put, put("b/1"), "with the role again ");
    let change = AuthUserChangePasswordRequest { name: "bob".into(), password: "new".into(), ..AuthUserChangePasswordRequest::default() };
    as_root!(user_change_password, change);
    (s.token, s.who) = (bob.clone(), "bob");
    say!(s, kv.put, put("b/1"), "after a new password ");
    (s.token, s.who) = (alice.clone(), "alice");
    say!(s, kv.range, get("k/1", ""), "untouched ");
    as_root!(role_delete, AuthRoleDeleteRequest { role: "writer".into() });
    (s.token, s.who) = (alice.clone(), "alice");
    say!(s, kv.put, put("only"), "after the end of a role ");
    as_root!(user_delete, AuthUserDeleteRequest { name: "alice".into() });
    (s.token, s.who) = (alice, "alice");
    say!(s, kv.range, get("k/1", ""), "deleted ");
    as_root!(auth_disable, AuthDisableRequest {});
    say!(s, kv.range, get("k/1", ""), "after all ");
    s.nobody();
    say!(s, kv.range, get("secret", ""), "after all ");
    say!(s, auth.authenticate, AuthenticateRequest { name: "root".into(), password: "r".into() });
    say!(s, auth.auth_enable, AuthEnableRequest {});
    (s.token, s.who) = (root, "root, with a token from before");
    say!(s, kv.range, get("secret", ""));
    s.log_in("root", "root", "r").await;
    say!(s, kv.range, get("secret", ""));
    say!(s, auth.user_list, AuthUserListRequest {});
    say!(s, auth.role_list, AuthRoleListRequest {});
    say!(s, auth.user_add, user("zoe", "z"));
    say!(s, auth.role_add, AuthRoleAddRequest { name: "z".into() });
    say!(s, auth.role_grant_permission, grant("z", Write, "only", ""));
    say!(s, auth.role_grant_permission, grant("z", Readwrite, "both", ""));
    say!(s, auth.user_grant_role, give("zoe", "z"));
}

async fn run(c: Clients) -> Vec<(String, String)> {
    let mut side = Side { c, token: None, who: "nobody", lines: Vec::new() };
    let s = &mut side;
    users_and_roles(s).await;
    logging_in(s).await;
    s.log_in("root", "root", "r").await;
    say!(s, lease.lease_grant, LeaseGrantRequest { ttl: 600, id: 500 });
    say!(s, kv.put, PutRequest { lease: 500, ..put("leased") });
    say!(s, kv.put, put("secret"));
    s.nobody();
    everything(s).await;
    (s.token, s.who) = (Some("made up".into()), "a made-up token");
    everything(s).await;
    s.log_in("alice", "alice", "alice's").await;
    everything(s).await;
    s.log_in("root", "root", "r").await;
    everything(s).await;
    changes(s).await;
    s.log_in("zoe", "zoe", "z").await;
    holes(s).await;
    (s.token, s.who) = (None, "nobody, at last");
    holes(s).await;
    side.lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_the_same() {
    let Some(theirs) = Theirs::start().await else {
        println!("skipped: there is no etcd on this machine (package etcd-server)");
        return;
    };
    let ours = Ours::start(|_| {}).await;
    let deadline = Duration::from_secs(120);
    let expected = tokio::time::timeout(deadline, run(theirs.clients().await)).await.expect("etcd took too long");
    let found = tokio::time::timeout(deadline, run(ours.clients().await)).await.expect("our server took too long");
    let mut differences = String::new();
    let mut used = vec![false; LATER.len()];
    assert_eq!(expected.len(), found.len());
    assert!(expected.len() > 400, "{}", expected.len());
    for ((what, theirs), (_, ours)) in expected.iter().zip(&found) {
        let later = LATER.iter().position(|(line, answer)| what.starts_with(line) && ours.starts_with(answer));
        match later {
            _ if theirs == ours => {}
            Some(at) => used[at] = true,
            None => differences += &format!("{what}\n  etcd: {theirs}\n  ours: {ours}\n"),
        }
    }
    assert!(differences.is_empty(), "{differences}");
    let unused: Vec<_> = LATER.iter().zip(used).filter(|(_, used)| !used).map(|(line, _)| line).collect();
    assert!(unused.is_empty(), "no difference any more: {unused:?}");
    ours.stop().await;
}
