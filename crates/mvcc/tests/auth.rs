//! Users, roles and permissions on rows in memory: what is refused, what it changes, and what is checked when.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rows;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::prelude::*;
use rows::{Host, bytes, delete, op, put, range, txn};
use tricorn_mvcc::{Access, AuthState, Code, Error, Rights, RightsCache, Span, Table, TokenChange};
use tricorn_proto::authpb::permission::Type::{self, Read, Readwrite, Write};
use tricorn_proto::authpb::{Permission, UserAddOptions};
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::*;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::auth_command::Op as AuthOp;
use tricorn_proto::peer::command::Op;
use tricorn_proto::peer::{AuthCommand, Caller, Command, IssueToken};

fn auth(op: AuthOp) -> Op {
    Op::Auth(AuthCommand { op: Some(op) })
}

fn user_add(name: &str) -> AuthOp {
    let hashed_password = STANDARD.encode(format!("hash of {name}"));
    AuthOp::UserAdd(AuthUserAddRequest { name: name.into(), hashed_password, ..AuthUserAddRequest::default() })
}

fn role_add(name: &str) -> AuthOp {
    AuthOp::RoleAdd(AuthRoleAddRequest { name: name.into() })
}

fn give(user: &str, role: &str) -> AuthOp {
    AuthOp::UserGrantRole(AuthUserGrantRoleRequest { user: user.into(), role: role.into() })
}

fn take(name: &str, role: &str) -> AuthOp {
    AuthOp::UserRevokeRole(AuthUserRevokeRoleRequest { name: name.into(), role: role.into() })
}

fn grant(role: &str, kind: Type, key: &str, end: &str) -> AuthOp {
    let perm = Permission { perm_type: kind.into(), key: bytes(key), range_end: bytes(end) };
    AuthOp::RoleGrantPermission(AuthRoleGrantPermissionRequest { name: role.into(), perm: Some(perm) })
}

fn issue(user: &str, revision: u64) -> AuthOp {
    AuthOp::IssueToken(IssueToken { user: user.into(), secret: "abc".into(), revision })
}

fn user_delete(name: &str) -> AuthOp {
    AuthOp::UserDelete(AuthUserDeleteRequest { name: name.into() })
}

fn role_delete(role: &str) -> AuthOp {
    AuthOp::RoleDelete(AuthRoleDeleteRequest { role: role.into() })
}

fn password(name: &str, hashed_password: &str) -> AuthOp {
    let hashed_password = hashed_password.to_owned();
    AuthOp::UserChangePassword(AuthUserChangePasswordRequest { name: name.into(), hashed_password, ..Default::default() })
}

trait Auth {
    fn auth(&mut self, op: AuthOp) -> Result<Vec<TokenChange>, Error>;
    fn by(&mut self, user: &str, op: Op) -> Result<Reply, Error>;
    fn at(&mut self, caller: Caller, op: Op) -> Result<Reply, Error>;
    fn rows_of_auth(&self) -> usize;
}

impl Auth for Host {
    fn auth(&mut self, op: AuthOp) -> Result<Vec<TokenChange>, Error> {
        let applied = self.apply(auth(op));
        applied.answer.map(|_| applied.tokens)
    }

    fn by(&mut self, user: &str, op: Op) -> Result<Reply, Error> {
        let revision = if user.is_empty() { 0 } else { self.machine.auth().revision };
        self.at(Caller { user: user.into(), revision }, op)
    }

    fn at(&mut self, caller: Caller, op: Op) -> Result<Reply, Error> {
        self.apply_in(Command { caller: Some(caller), op: Some(op), ..Command::default() }, 1).answer
    }

    fn rows_of_auth(&self) -> usize {
        self.rows.count(Table::AUTH)
    }
}

/// root; alice who reads k/ and writes w/; authentication is on.
fn guarded() -> Host {
    let mut host = Host::new();
    for op in [
        user_add("root"),
        give("root", "root"),
        user_add("alice"),
        role_add("r"),
        grant("r", Read, "k/", "k0"),
        grant("r", Write, "w/", "w0"),
        grant("r", Readwrite, "both", ""),
        give("alice", "r"),
        AuthOp::Enable(AuthEnableRequest {}),
    ] {
        host.auth(op).unwrap();
    }
    host
}

#[test]
fn every_refusal_leaves_nothing_behind() {
    let mut host = Host::new();
    assert_eq!(host.auth(AuthOp::Enable(AuthEnableRequest {})), Err(Error::RootUserNotFound));
    host.auth(user_add("root")).unwrap();
    host.auth(role_add("r")).unwrap();
    host.auth(grant("r", Read, "a", "")).unwrap();
    let (rows, state) = (host.rows_of_auth(), host.machine.auth());
    let revoke = |role: &str, key: &str| {
        AuthOp::RoleRevokePermission(AuthRoleRevokePermissionRequest { role: role.into(), key: bytes(key), range_end: Bytes::new() })
    };
    let cases = [
        (AuthOp::Enable(AuthEnableRequest {}), Error::RootRoleNotGranted),
        (user_add(""), Error::UserEmpty),
        (user_add("root"), Error::UserExists),
        (
            AuthOp::UserAdd(AuthUserAddRequest { name: "x".into(), hashed_password: "!".into(), ..Default::default() }),
            Error::NoPasswordUser,
        ),
        (user_delete("x"), Error::UserNotFound),
        (password("x", ""), Error::UserNotFound),
        (give("x", "r"), Error::UserNotFound),
        (give("root", "x"), Error::RoleNotFound),
        (take("x", "r"), Error::UserNotFound),
        (take("root", "r"), Error::RoleNotGranted),
        (role_add(""), Error::RoleEmpty),
        (role_add("r"), Error::RoleExists),
        (role_delete("x"), Error::RoleNotFound),
        (grant("x", Read, "a", ""), Error::RoleNotFound),
        (grant("r", Read, "", "b"), Error::InvalidAuthManagement),
        (grant("r", Read, "b", "a"), Error::InvalidAuthManagement),
        (AuthOp::RoleGrantPermission(AuthRoleGrantPermissionRequest { name: "r".into(), perm: None }), Error::PermissionNotGiven),
        (revoke("x", "a"), Error::RoleNotFound),
        (revoke("r", "b"), Error::PermissionNotGranted),
        (issue("root", 4), Error::AuthNotEnabled),
    ];
    for (op, error) in cases {
        assert_eq!(host.auth(op.clone()), Err(error), "{op:?}");
        assert_eq!((host.rows_of_auth(), host.machine.auth()), (rows, state), "{op:?}");
    }
    assert_eq!(host.machine.revision(), 1, "keys know nothing of it");
}

#[test]
fn the_auth_revision_counts_what_changes() {
    let mut host = Host::new();
    let mut expected = AuthState { enabled: false, revision: 1 };
    assert_eq!(host.machine.auth(), expected);
    let steps = [
        (user_add("root"), 1, false),
        (give("root", "root"), 1, false),
        (give("root", "root"), 0, false),
        (role_add("r"), 1, false),
        (grant("r", Read, "a", ""), 1, false),
        (grant("r", Read, "a", ""), 1, false),
        (AuthOp::Disable(AuthDisableRequest {}), 0, false),
        (AuthOp::Enable(AuthEnableRequest {}), 0, true),
        (AuthOp::Enable(AuthEnableRequest {}), 0, true),
        (role_delete("r"), 1, true),
        (AuthOp::Disable(AuthDisableRequest {}), 1, false),
    ];
    for (op, more, enabled) in steps {
        host.auth(op.clone()).unwrap();
        expected = AuthState { enabled, revision: expected.revision + more };
        assert_eq!(host.machine.auth(), expected, "{op:?}");
        assert_eq!(host.reader().auth_state().unwrap(), expected);
    }
}

#[test]
fn nobody_can_lock_everybody_out() {
    let mut host = guarded();
    for op in [user_delete("root"), take("root", "root"), role_delete("root")] {
        assert_eq!(host.by("root", auth(op)).unwrap_err(), Error::InvalidAuthManagement);
    }
    host.auth(AuthOp::Disable(AuthDisableRequest {})).unwrap();
    host.auth(user_delete("root")).unwrap();
}

#[test]
fn tokens_come_and_go_with_what_they_stand_for() {
    let mut host = guarded();
    let revision = host.machine.auth().revision;
    let issued = TokenChange::Issued { token: "abc.7".into(), user: "alice".into() };
    assert_eq!(host.auth(issue("alice", revision)), Ok(vec![issued]));
    assert_eq!(host.auth(issue("alice", revision - 1)), Err(Error::AuthOldRevision), "the password may be another by now");
    assert_eq!(host.auth(issue("nemo", revision)), Err(Error::AuthFailed));
    let options = Some(UserAddOptions { no_password: true });
    host.auth(AuthOp::UserAdd(AuthUserAddRequest { name: "carol".into(), options, ..Default::default() })).unwrap();
    assert_eq!(host.auth(issue("carol", revision + 1)), Err(Error::AuthFailed));
    assert_eq!(host.reader().password_hash("carol").unwrap_err(), Error::NoPasswordUser);
    assert_eq!(host.reader().password_hash("alice").unwrap(), (bytes("hash of alice"), revision + 1));
    assert_eq!(host.auth(password("alice", &STANDARD.encode("new"))), Ok(vec![TokenChange::Revoked("alice".into())]));
    assert_eq!(host.reader().password_hash("alice").unwrap().0, "new");
    assert_eq!(host.auth(user_delete("alice")), Ok(vec![TokenChange::Revoked("alice".into())]));
    assert_eq!(host.auth(AuthOp::Disable(AuthDisableRequest {})), Ok(vec![TokenChange::Cleared]));
}

#[test]
fn keys_are_for_those_who_may() {
    let mut host = guarded();
    let denied = |answer: Result<Reply, Error>| answer.unwrap_err();
    host.by("alice", Op::Put(put("w/1", "v"))).unwrap();
    assert_eq!(denied(host.by("alice", Op::Put(put("k/1", "v")))), Error::PermissionDenied);
    assert_eq!(denied(host.by("", Op::Put(put("w/1", "v")))), Error::UserEmpty);
    assert_eq!(denied(host.by("nemo", Op::Put(put("w/1", "v")))), Error::PermissionDenied);
    assert_eq!(denied(host.by("alice", Op::Put(PutRequest { prev_kv: true, ..put("w/1", "v") }))), Error::PermissionDenied);
    host.by("alice", Op::Put(PutRequest { prev_kv: true, ..put("both", "v") })).unwrap();
    host.by("alice", Op::Put(PutRequest { ignore_value: true, ..put("w/1", "") })).unwrap();
    assert_eq!(denied(host.by("alice", Op::DeleteRange(delete("w/1", "")))), Error::PermissionDenied, "it shows what was there");
    host.by("alice", Op::DeleteRange(DeleteRangeRequest { prev_kv: false, ..delete("w/", "w0") })).unwrap();
    assert_eq!(
        denied(host.by("alice", Op::DeleteRange(DeleteRangeRequest { prev_kv: false, ..delete("w/", "w1") }))),
        Error::PermissionDenied
    );
    let old = Caller { user: "alice".into(), revision: host.machine.auth().revision - 1 };
    assert_eq!(denied(host.at(old, Op::Put(put("w/1", "v")))), Error::AuthOldRevision);
    host.by("root", Op::Put(put("secret", "v"))).unwrap();
    host.put("internal", "the cluster itself is never asked");
    let revision = host.machine.revision();
    assert!(host.by("alice", Op::Put(put("secret", "v"))).is_err());
    assert_eq!(host.machine.revision(), revision);
}

#[test]
fn transactions_are_looked_at_whole() {
    let mut host = guarded();
    host.apply(Op::LeaseGrant(LeaseGrantRequest { id: 5, ttl: 60 })).answer.unwrap();
    host.apply(Op::Put(PutRequest { lease: 5, ..put("secret", "v") })).answer.unwrap();
    let compare = |key: &str| Compare { key: bytes(key), ..Compare::default() };
    let read = |key: &str| op(Request::RequestRange(range(key, "")));
    let write = |key: &str| op(Request::RequestPut(put(key, "v")));
    let inner = |txn: TxnRequest| txn_of(vec![op(Request::RequestTxn(txn))]);
    let good = txn(vec![compare("k/1")], vec![read("k/1"), write("w/1")], vec![write("both")]);
    host.by("alice", Op::Txn(good.clone())).unwrap();
    host.by("alice", Op::Txn(inner(good))).unwrap();
    let bad = [
        txn(vec![compare("w/1")], vec![], vec![write("w/1")]),
        txn(vec![], vec![read("w/1"), write("w/2")], vec![]),
        txn(vec![], vec![write("w/1")], vec![write("k/1")]),
        txn(vec![], vec![op(Request::RequestPut(PutRequest { prev_kv: true, ..put("w/1", "") }))], vec![]),
        txn(vec![], vec![op(Request::RequestPut(PutRequest { lease: 5, ..put("w/1", "") }))], vec![]),
        txn(vec![], vec![op(Request::RequestDeleteRange(delete("w/1", "")))], vec![]),
    ];
    for case in bad {
        assert_eq!(host.by("alice", Op::Txn(case.clone())).unwrap_err(), Error::PermissionDenied, "{case:?}");
        assert_eq!(host.by("alice", Op::Txn(inner(case.clone()))).unwrap_err(), Error::PermissionDenied, "{case:?}");
        assert_eq!(host.by("alice", Op::Txn(inner(inner(case.clone())))).unwrap_err(), Error::PermissionDenied, "{case:?}");
        assert_eq!(host.by("", Op::Txn(case)).unwrap_err(), Error::UserEmpty);
    }
}

fn txn_of(success: Vec<RequestOp>) -> TxnRequest {
    txn(vec![], success, vec![])
}

#[test]
fn a_lease_is_for_those_who_may_write_its_keys() {
    let mut host = guarded();
    assert_eq!(host.by("", Op::LeaseGrant(LeaseGrantRequest { id: 1, ttl: 60 })).unwrap_err(), Error::UserEmpty);
    host.by("alice", Op::LeaseGrant(LeaseGrantRequest { id: 1, ttl: 60 })).unwrap();
    host.by("alice", Op::Put(PutRequest { lease: 1, ..put("w/1", "") })).unwrap();
    host.by("root", Op::Put(PutRequest { lease: 1, ..put("secret", "") })).unwrap();
    assert_eq!(host.by("alice", Op::Put(PutRequest { lease: 1, ..put("w/2", "") })).unwrap_err(), Error::PermissionDenied);
    assert_eq!(host.by("alice", Op::LeaseRevoke(LeaseRevokeRequest { id: 1 })).unwrap_err(), Error::PermissionDenied);
    assert_eq!(host.by("", Op::LeaseRevoke(LeaseRevokeRequest { id: 1 })).unwrap_err(), Error::UserEmpty);
    host.by("root", Op::LeaseRevoke(LeaseRevokeRequest { id: 1 })).unwrap();
}

#[test]
fn what_concerns_everybody_is_for_root() {
    let mut host = guarded();
    let alarm = |action: alarm_request::AlarmAction| {
        Op::Alarm(AlarmRequest { action: action.into(), member_id: 1, alarm: AlarmType::Nospace.into() })
    };
    use alarm_request::AlarmAction::{Activate, Deactivate, Get};
    let revision = host.machine.auth().revision;
    for op in [
        auth(user_add("eve")),
        auth(give("alice", "root")),
        auth(AuthOp::Disable(AuthDisableRequest {})),
        alarm(Activate),
        alarm(Deactivate),
    ] {
        assert_eq!(host.by("alice", op.clone()).unwrap_err(), Error::PermissionDenied, "{op:?}");
        assert_eq!(host.by("", op.clone()).unwrap_err(), Error::UserEmpty);
        assert_eq!(host.by("nemo", op).unwrap_err(), Error::UserNotFound);
    }
    assert_eq!(host.machine.auth().revision, revision);
    assert_eq!(host.by("", alarm(Get)).unwrap_err(), Error::UserEmpty);
    host.by("alice", alarm(Get)).unwrap();
    host.by("root", alarm(Activate)).unwrap();
    assert_eq!(host.by("alice", Op::Put(put("k/1", "v"))).unwrap_err(), Error::PermissionDenied, "also while there is no space");
    assert_eq!(host.by("root", Op::Put(put("k/1", "v"))).unwrap_err(), Error::NoSpace);
}

#[test]
fn one_sees_oneself_and_root_sees_all() {
    let mut host = guarded();
    host.auth(role_add("other")).unwrap();
    let state = host.machine.auth();
    let reader = host.reader();
    let access = |user: &str| {
        let caller = Caller { user: user.into(), revision: state.revision };
        Access::of(Some(&caller), state, &host.rows, &mut RightsCache::default()).unwrap()
    };
    assert_eq!(access("alice").see_user("alice"), Ok(()));
    assert_eq!(access("alice").see_user("root"), Err(Error::PermissionDenied));
    assert_eq!(access("alice").see_role("r"), Ok(()));
    assert_eq!(access("alice").see_role("other"), Err(Error::PermissionDenied));
    assert_eq!(access("root").see_role("other"), Ok(()));
    assert_eq!(access("").see_user("root"), Err(Error::UserEmpty));
    assert_eq!(reader.user("alice").unwrap().roles, ["r"]);
    assert_eq!(reader.users().unwrap().users, ["alice", "root"]);
    assert_eq!(reader.roles().unwrap().roles, ["other", "r"]);
    assert_eq!(reader.role("r").unwrap().perm.len(), 3);
    assert_eq!(reader.role("none").unwrap_err(), Error::RoleNotFound);
}

#[test]
fn a_role_that_ends_ends_for_everybody() {
    let mut host = guarded();
    host.auth(role_delete("r")).unwrap();
    assert_eq!(host.reader().user("alice").unwrap().roles, Vec::<String>::new());
    assert_eq!(host.by("alice", Op::Put(put("w/1", "v"))).unwrap_err(), Error::PermissionDenied);
    assert_eq!(Error::PermissionDenied.code(), Code::PermissionDenied);
}

const KEYS: &[u8] = b"abcd";

/// Ranges over short keys, also empty, backward and open ones.
fn spans() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let key = || prop::collection::vec(prop::sample::select(KEYS), 1..3);
    (key(), prop_oneof![Just(vec![]), Just(vec![0]), key()])
}

/// All keys up to a length, and those just behind them.
fn all_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = KEYS.iter().map(|a| vec![*a]).collect();
    keys.extend(KEYS.iter().flat_map(|a| KEYS.iter().map(|b| vec![*a, *b])));
    let behind: Vec<_> = keys.iter().flat_map(|key| [[key.as_slice(), &[0]].concat(), [key.as_slice(), b"zz"].concat()]).collect();
    keys.extend(behind);
    keys.push(b"zzz".to_vec());
    keys
}

proptest! {
    /// A range may be read exactly when each of its keys may be.
    #[test]
    fn a_range_is_allowed_when_all_its_keys_are(permissions in prop::collection::vec(spans(), 0..6), (key, end) in spans()) {
        let mut host = Host::new();
        host.auth(user_add("u")).unwrap();
        host.auth(role_add("r")).unwrap();
        host.auth(give("u", "r")).unwrap();
        for (key, end) in &permissions {
            let perm = Permission { perm_type: Read.into(), key: key.clone().into(), range_end: end.clone().into() };
            let refused = host.auth(AuthOp::RoleGrantPermission(AuthRoleGrantPermissionRequest { name: "r".into(), perm: Some(perm) })).is_err();
            prop_assert_eq!(refused, Span::new(key, end).is_empty());
        }
        let rights = Rights::load(&host.rows, "u").unwrap().unwrap();
        let granted = |key: &[u8]| permissions.iter().any(|(from, to)| Span::new(from, to).contains(key));
        for key in all_keys() {
            prop_assert_eq!(rights.may_read(&key, &[]), granted(&key), "{:?}", key);
        }
        let span = Span::new(&key, &end);
        prop_assume!(!span.is_empty());
        let open = matches!(span, Span::From(_));
        // Beyond all keys that can be tried, only an open permission reaches.
        let reaches = !open || permissions.iter().any(|(_, to)| to == &[0]);
        let inside = all_keys().iter().filter(|key| span.contains(key)).all(|key| granted(key));
        prop_assert_eq!(rights.may_read(&key, &end), inside && reaches);
        prop_assert!(!rights.may_write(&key, &end));
    }
}
