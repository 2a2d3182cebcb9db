//! Users whose permissions change while they work: one process gives and takes rights, the others try what they may and may not do with
//! the rights that there are.

use super::{Actor, Workload};
use crate::check::auth::{ACCESS, AUTH_REVISION, Access, PERMIT, Permit, Revision, Rights, Tried};
use crate::target::{Client, Failure, System, with_token};
use anyhow::{Result as Outcome, bail};
use async_trait::async_trait;
use parking_lot::Mutex;
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::json;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::transport::Channel;
use tricorn_proto::authpb;
use tricorn_proto::etcdserverpb as pb;
use tricorn_proto::etcdserverpb::auth_client::AuthClient;
use tricorn_proto::etcdserverpb::kv_client::KvClient;
use tricorn_proto::etcdserverpb::request_op::Request as Op;

const USERS: usize = 4;
const ROOT: &str = "root";
const PASSWORD: &str = "pass";
const ANSWER: Duration = Duration::from_secs(4);
/// How often it is tried to turn authentication off in the end.
const TRIES: usize = 20;
/// Users are told that they may not in these words; what is also refused, for other reasons, says nothing of their rights.
const DENIED: &str = "permission denied";
/// Everybody's keys: nobody but root has rights to all of them.
const KEYS: (&str, &str) = ("auth/", "auth0");

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A user with a role of its own, as the one who manages it knows it.
#[derive(Debug, Clone, Default)]
struct User {
    name: String,
    /// What its role may do.
    role: Rights,
    /// Whether it has its role.
    granted: bool,
}

/// See above.
#[derive(Default)]
pub struct Auth {
    users: Mutex<Vec<User>>,
    /// Tokens, by process and user.
    tokens: Mutex<HashMap<(u64, String), String>>,
}

fn key(user: &str) -> String {
    format!("{}{user}", KEYS.0)
}

/// One change of users and roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    AddUser,
    AddRole,
    Grant,
    Revoke,
    Allow(Rights),
    Forbid,
    Delete,
}

async fn change(client: &Client, token: &str, user: &str, change: Change) -> Result<(), Failure> {
    let mut auth = AuthClient::new(client.channel().await?);
    let (name, role) = (user.to_owned(), format!("of-{user}"));
    match change {
        Change::AddUser => {
            let request = pb::AuthUserAddRequest { name, password: PASSWORD.into(), ..Default::default() };
            client.call(ANSWER, auth.user_add(with_token(request, token))).await.map(drop)
        }
        Change::AddRole => client.call(ANSWER, auth.role_add(with_token(pb::AuthRoleAddRequest { name: role }, token))).await.map(drop),
        Change::Grant => {
            let request = pb::AuthUserGrantRoleRequest { user: name, role };
            client.call(ANSWER, auth.user_grant_role(with_token(request, token))).await.map(drop)
        }
        Change::Revoke => {
            let request = pb::AuthUserRevokeRoleRequest { name, role };
            client.call(ANSWER, auth.user_revoke_role(with_token(request, token))).await.map(drop)
        }
        Change::Allow(rights) => {
            let kind = match (rights.read, rights.write) {
                (true, true) => authpb::permission::Type::Readwrite,
                (_, true) => authpb::permission::Type::Write,
                _ => authpb::permission::Type::Read,
            };
            let perm = authpb::Permission { perm_type: kind.into(), key: key(user).into(), ..Default::default() };
            let request = pb::AuthRoleGrantPermissionRequest { name: role, perm: Some(perm) };
            client.call(ANSWER, auth.role_grant_permission(with_token(request, token))).await.map(drop)
        }
        Change::Forbid => {
            let request = pb::AuthRoleRevokePermissionRequest { role, key: key(user).into(), ..Default::default() };
            client.call(ANSWER, auth.role_revoke_permission(with_token(request, token))).await.map(drop)
        }
        Change::Delete => client.call(ANSWER, auth.user_delete(with_token(pb::AuthUserDeleteRequest { name }, token))).await.map(drop),
    }
}

impl User {
    /// What it may do when a change has happened.
    fn after(&self, change: Change) -> Self {
        let mut user = self.clone();
        match change {
            Change::Grant => user.granted = true,
            Change::Revoke | Change::Delete => user.granted = false,
            Change::Allow(rights) => user.role = rights,
            Change::Forbid => user.role = Rights::default(),
            Change::AddUser | Change::AddRole => {}
        }
        user
    }

    fn rights(&self) -> Rights {
        if self.granted { self.role } else { Rights::default() }
    }
}

/// What a user tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    Get,
    GetInTxn,
    GetAll,
    Put,
    PutShowingPrevious,
    Delete,
}

impl Try {
    const ALL: [Self; 6] = [Self::Get, Self::GetInTxn, Self::GetAll, Self::Put, Self::PutShowingPrevious, Self::Delete];

    fn access(self, user: &str) -> Access {
        let (read, write) = match self {
            Self::Get | Self::GetInTxn | Self::GetAll => (true, false),
            Self::Put | Self::Delete => (false, true),
            Self::PutShowingPrevious => (true, true),
        };
        let writes = matches!(self, Self::Put | Self::PutShowingPrevious);
        let value = if writes { NEXT.fetch_add(1, Ordering::Relaxed).to_string() } else { String::new() };
        let needs = (self != Self::GetAll).then_some(Rights { read, write });
        Access { user: user.to_owned(), what: format!("{self:?}"), needs, value }
    }

    async fn ask(self, client: &Client, channel: Channel, token: &str, access: &Access) -> Result<Vec<String>, Failure> {
        let (mut store, key) = (KvClient::new(channel), key(&access.user));
        let values =
            |kvs: &[tricorn_proto::mvccpb::KeyValue]| kvs.iter().map(|kv| String::from_utf8_lossy(&kv.value).into_owned()).collect();
        let one = pb::RangeRequest { key: key.clone().into(), ..Default::default() };
        let put = pb::PutRequest { key: key.clone().into(), value: access.value.clone().into(), ..Default::default() };
        match self {
            Self::Get => Ok(values(&client.call(ANSWER, store.range(with_token(one, token))).await?.kvs)),
            Self::GetAll => {
                let all = pb::RangeRequest { key: KEYS.0.into(), range_end: KEYS.1.into(), ..Default::default() };
                Ok(values(&client.call(ANSWER, store.range(with_token(all, token))).await?.kvs))
            }
            Self::GetInTxn => {
                let nested = pb::TxnRequest { success: vec![pb::RequestOp { request: Some(Op::RequestRange(one)) }], ..Default::default() };
                let txn = pb::TxnRequest { success: vec![pb::RequestOp { request: Some(Op::RequestTxn(nested)) }], ..Default::default() };
                client.call(ANSWER, store.txn(with_token(txn, token))).await.map(|_| Vec::new())
            }
            Self::Put => client.call(ANSWER, store.put(with_token(put, token))).await.map(|_| Vec::new()),
            Self::PutShowingPrevious => {
                let reply = client.call(ANSWER, store.put(with_token(pb::PutRequest { prev_kv: true, ..put }, token))).await?;
                Ok(values(reply.prev_kv.as_slice()))
            }
            Self::Delete => {
                let request = pb::DeleteRangeRequest { key: key.into(), ..Default::default() };
                client.call(ANSWER, store.delete_range(with_token(request, token))).await.map(|_| Vec::new())
            }
        }
    }
}

impl Auth {
    /// A token of a user, for a process.
    async fn token(&self, client: &Client, process: u64, user: &str) -> Result<String, Failure> {
        let known = self.tokens.lock().get(&(process, user.to_owned())).cloned();
        if let Some(token) = known {
            return Ok(token);
        }
        let token = client.authenticate(user, PASSWORD).await?;
        self.tokens.lock().insert((process, user.to_owned()), token.clone());
        Ok(token)
    }

    /// What has failed may have failed because the token is not good any more.
    fn forget(&self, process: u64, user: &str) {
        self.tokens.lock().remove(&(process, user.to_owned()));
    }

    async fn as_root(&self, client: &Client, process: u64, user: &str, what: Change) -> Result<(), Failure> {
        let token = self.token(client, process, ROOT).await?;
        let changed = change(client, &token, user, what).await;
        if changed.is_err() {
            self.forget(process, ROOT);
        }
        changed
    }

    /// A user that nobody has heard of, with its role.
    async fn create(&self, actor: &mut Actor) -> Option<User> {
        let user = User { name: format!("u{}", NEXT.fetch_add(1, Ordering::Relaxed)), granted: true, ..Default::default() };
        for what in [Change::AddUser, Change::AddRole, Change::Grant] {
            let request = Permit { user: user.name.clone(), rights: Rights::default(), how: format!("{what:?}") };
            let (process, name) = (actor.number, user.name.clone());
            actor.noted(PERMIT, &request, async |client| self.as_root(client, process, &name, what).await.map(|()| json!({}))).await?;
        }
        Some(user)
    }

    /// Changes the rights of somebody.
    async fn manage(&self, actor: &mut Actor) {
        let slot = actor.rng.random_range(0..USERS);
        let Some(user) = self.users.lock().get(slot).cloned() else { return };
        let rights = Rights { read: actor.rng.random(), write: actor.rng.random() };
        let what = match actor.rng.random_range(0..20) {
            0 => Change::Delete,
            1..6 if user.granted => Change::Revoke,
            1..6 => Change::Grant,
            6..9 if user.role != Rights::default() => Change::Forbid,
            _ if rights == Rights::default() || rights == user.role => return,
            _ => Change::Allow(rights),
        };
        let after = user.after(what);
        let request = Permit { user: user.name.clone(), rights: after.rights(), how: format!("{what:?}") };
        let process = actor.number;
        let done = actor.noted(PERMIT, &request, async |client| self.as_root(client, process, &user.name, what).await.map(|()| json!({})));
        // After a change of which nobody knows whether it happened, or that was refused, somebody else takes the place.
        let next = match done.await {
            Some(_) if what != Change::Delete => Some(after),
            _ => self.create(actor).await,
        };
        if let (Some(next), Some(place)) = (next, self.users.lock().get_mut(slot)) {
            *place = next;
        }
    }

    async fn look(&self, actor: &mut Actor) {
        let process = actor.number;
        let asked = async |client: &Client| {
            let token = self.token(client, process, ROOT).await?;
            let request = with_token(pb::AuthStatusRequest {}, &token);
            let reply = client.call(ANSWER, AuthClient::new(client.channel().await?).auth_status(request)).await;
            let reply = reply.inspect_err(|_| self.forget(process, ROOT)).map_err(|failure| Failure::Not(failure.to_string()))?;
            Ok(Revision { revision: reply.auth_revision })
        };
        actor.noted(AUTH_REVISION, &json!({}), asked).await;
    }
}

#[async_trait]
impl Workload for Auth {
    fn name(&self) -> &'static str {
        "auth"
    }

    fn flags(&self) -> Vec<String> {
        // Passwords are not what is tried here.
        vec!["--bcrypt-cost=4".into()]
    }

    fn unfit(&self, fault: &str) -> Option<String> {
        let manages = fault.starts_with("member-") || ["corrupt", "housekeeping", "move-leader"].contains(&fault);
        manages.then(|| "whoever does it would have to log in".into())
    }

    async fn prepare(&self, actor: &mut Actor) -> Outcome<()> {
        self.tokens.lock().clear();
        self.users.lock().clear();
        let Some(group) = actor.system.store() else { bail!("there are no members that have users") };
        let client = group.client(&group.names()[0]);
        let said = |failure: Failure| anyhow::anyhow!("make {ROOT}: {failure}");
        let mut auth = AuthClient::new(client.channel().await.map_err(said)?);
        let add = pb::AuthUserAddRequest { name: ROOT.into(), password: PASSWORD.into(), ..Default::default() };
        client.call(ANSWER, auth.user_add(add)).await.map_err(said)?;
        let grant = pb::AuthUserGrantRoleRequest { user: ROOT.into(), role: ROOT.into() };
        client.call(ANSWER, auth.user_grant_role(grant)).await.map_err(said)?;
        client.call(ANSWER, auth.auth_enable(pb::AuthEnableRequest {})).await.map_err(said)?;
        for _ in 0..USERS {
            let Some(user) = self.create(actor).await else { bail!("a user could not be made while all was well") };
            self.users.lock().push(user);
        }
        Ok(())
    }

    async fn step(&self, actor: &mut Actor) {
        if actor.number == 0 {
            self.manage(actor).await;
            return self.look(actor).await;
        }
        let Some(user) = self.users.lock().choose(&mut actor.rng).map(|user| user.name.clone()) else { return };
        let what = *Try::ALL.choose(&mut actor.rng).unwrap_or(&Try::Get);
        let access = what.access(&user);
        let process = actor.number;
        let tried = async |client: &Client| {
            let token = self.token(client, process, &user).await?;
            match what.ask(client, client.channel().await?, &token, &access).await {
                Ok(seen) => Ok(Tried { allowed: true, seen }),
                Err(failure) if failure.to_string().contains(DENIED) => Ok(Tried::default()),
                Err(failure) => {
                    self.forget(process, &user);
                    Err(failure)
                }
            }
        };
        actor.noted(ACCESS, &access, tried).await;
    }

    async fn finish(&self, actor: &mut Actor) {
        // So that the end can be looked at by anybody.
        let process = actor.number;
        let off = async |client: &Client| {
            self.forget(process, ROOT);
            let token = self.token(client, process, ROOT).await?;
            let request = with_token(pb::AuthDisableRequest {}, &token);
            client.call(ANSWER, AuthClient::new(client.channel().await?).auth_disable(request)).await.map(|_| json!({}))
        };
        for _ in 0..TRIES {
            if actor.noted("auth-disable", &json!({}), off).await.is_some() {
                break;
            }
        }
    }
}
