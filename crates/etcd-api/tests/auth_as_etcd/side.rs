//! One side of the comparison, and requests in a few words.

use std::fmt::Debug;

use bytes::Bytes;
use tonic::{Request, Response, Status};
use tricorn_proto::authpb::Permission;
use tricorn_proto::authpb::permission::Type;
use tricorn_proto::etcdserverpb::request_op::Request as Op;
use tricorn_proto::etcdserverpb::*;

use crate::support::{Clients, within};

/// One side, and who is talking to it.
pub struct Side {
    pub c: Clients,
    pub token: Option<String>,
    pub who: &'static str,
    pub lines: Vec<(String, String)>,
}

/// Numbers that differ between servers.
fn plain(text: &str) -> String {
    let mut out = text.to_owned();
    for name in ["cluster_id: ", "member_id: ", "raft_term: "] {
        let mut rest = std::mem::take(&mut out);
        while let Some(at) = rest.find(name) {
            let tail = rest.split_off(at + name.len());
            out += &rest;
            rest = tail.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
        }
        out += &rest;
    }
    out
}

impl Side {
    pub fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.parse().unwrap());
        }
        request
    }

    pub fn note<T: Debug>(&mut self, what: &str, answer: Result<Response<T>, Status>) {
        let line = match answer {
            Ok(answer) => plain(&format!("{:?}", answer.into_inner())),
            Err(status) => format!("{:?} {}", status.code(), status.message()),
        };
        self.lines.push((format!("{}: {what}", self.who), line));
    }

    pub async fn log_in(&mut self, who: &'static str, name: &str, password: &str) {
        let request = AuthenticateRequest { name: name.into(), password: password.into() };
        let token = within(self.c.auth.authenticate(request)).await.unwrap().into_inner().token;
        (self.token, self.who) = (Some(token), who);
    }

    pub fn nobody(&mut self) {
        (self.token, self.who) = (None, "nobody");
    }
}

/// Asks, and writes down the answer.
macro_rules! say {
    ($s:ident, $service:ident.$method:ident, $request:expr) => {
        say!($s, $service.$method, $request, "")
    };
    ($s:ident, $service:ident.$method:ident, $request:expr, $more:expr) => {{
        let message = $request;
        let what = format!("{} {}{:?}", stringify!($method), $more, message);
        let request = $s.ask(message);
        let answer = within($s.c.$service.$method(request)).await;
        $s.note(&what, answer);
    }};
}

pub fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub fn get(key: &str, end: &str) -> RangeRequest {
    RangeRequest { key: b(key), range_end: b(end), ..RangeRequest::default() }
}

pub fn put(key: &str) -> PutRequest {
    PutRequest { key: b(key), value: b("v"), ..PutRequest::default() }
}

pub fn delete(key: &str, end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: b(key), range_end: b(end), prev_kv: false }
}

pub fn user(name: &str, password: &str) -> AuthUserAddRequest {
    AuthUserAddRequest { name: name.into(), password: password.into(), ..AuthUserAddRequest::default() }
}

pub fn grant(role: &str, kind: Type, key: &str, end: &str) -> AuthRoleGrantPermissionRequest {
    let perm = Permission { perm_type: kind.into(), key: b(key), range_end: b(end) };
    AuthRoleGrantPermissionRequest { name: role.into(), perm: Some(perm) }
}

pub fn revoke(role: &str, key: &str, end: &str) -> AuthRoleRevokePermissionRequest {
    AuthRoleRevokePermissionRequest { role: role.into(), key: b(key), range_end: b(end) }
}

pub fn give(user: &str, role: &str) -> AuthUserGrantRoleRequest {
    AuthUserGrantRoleRequest { user: user.into(), role: role.into() }
}

pub fn take(user: &str, role: &str) -> AuthUserRevokeRoleRequest {
    AuthUserRevokeRoleRequest { name: user.into(), role: role.into() }
}

pub fn txn(compare: &[&str], success: Vec<Op>, failure: Vec<Op>) -> TxnRequest {
    let ops = |ops: Vec<Op>| ops.into_iter().map(|op| RequestOp { request: Some(op) }).collect();
    let compare = compare.iter().map(|key| Compare { key: b(key), ..Compare::default() }).collect();
    TxnRequest { compare, success: ops(success), failure: ops(failure) }
}
