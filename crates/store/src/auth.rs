//! Who may use the store: users, roles, passwords and tokens, and the store as one client sees it.

use crate::error::{Error, Result};
use crate::store::{Store, unexpected};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use std::sync::Arc;
use tokio::time::Instant;
use tricorn_mvcc::AuthState;
use tricorn_proto::etcdserverpb::*;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::auth_command::Op as AuthOp;
use tricorn_proto::peer::command::Op;
use tricorn_proto::peer::{AuthAnswer, AuthCommand, Caller, IssueToken};

/// Letters of a token's secret part; as many as etcd takes.
const SECRET_LETTERS: usize = 16;

/// How a client has said who it is.
#[derive(Clone, Debug, Default)]
pub enum Credential {
    /// It has not.
    #[default]
    Nobody,
    /// By a token that [`Store::authenticate`] gave it.
    Token(String),
    /// By a name of which the caller of this crate has made sure.
    Name(String),
    /// The same, in a statement made at some auth revision: good only until users or roles change.
    Signed(Caller),
}

impl Store {
    /// The same store as a client may use it, once authentication is on. The cluster's own parts use it without.
    pub fn for_client(&self, credential: Credential) -> Self {
        let mut bound = self.clone();
        bound.client = Some(Arc::new(credential));
        bound
    }

    /// Who the client is, as of now; none when the cluster itself asks.
    pub(crate) async fn caller(&self) -> Result<Option<Caller>> {
        let Some(client) = self.client.as_deref() else { return Ok(None) };
        let user = match client {
            Credential::Signed(caller) => return Ok(Some(caller.clone())),
            Credential::Name(name) => name.clone(),
            Credential::Token(token) if self.auth_state().enabled => self.token_user(token).await?,
            Credential::Token(_) | Credential::Nobody => return Ok(Some(Caller::default())),
        };
        Ok(Some(Caller { user, revision: self.auth_state().revision }))
    }

    /// Whether authentication is on, and the auth revision, as far as this member has come.
    #[must_use]
    pub fn auth_state(&self) -> AuthState {
        self.node().state.auth()
    }

    /// Refuses a client that has not said who it is.
    pub async fn require_user(&self) -> Result<()> {
        if self.is_free() { Ok(()) } else { self.read(|_, access| access.named()).await }
    }

    /// Refuses every client without the role `root`.
    pub async fn require_root(&self) -> Result<()> {
        if self.is_free() { Ok(()) } else { self.read(|_, access| access.root()).await }
    }

    /// Refuses a client that may not read the whole range: asked before it watches.
    pub async fn require_read(&self, key: bytes::Bytes, range_end: bytes::Bytes) -> Result<()> {
        if self.is_free() { Ok(()) } else { self.read(move |_, access| access.read(&key, &range_end)).await }
    }

    /// Nobody needs to be looked at.
    pub(crate) fn is_free(&self) -> bool {
        self.client.is_none() || !self.auth_state().enabled
    }

    async fn change(&self, op: AuthOp) -> Result<AuthAnswer> {
        match self.node().propose(&self.command(Op::Auth(AuthCommand { op: Some(op) }), None).await?).await? {
            Reply::Auth(mut answer) => {
                self.complete(&mut answer.header);
                Ok(answer)
            }
            _ => unexpected(),
        }
    }

    /// Whose token this is; to show it renews it. Waits for this member to come as far as the token was issued.
    async fn token_user(&self, token: &str) -> Result<String> {
        let node = self.node();
        if let Some(user) = node.state.tokens.user(token) {
            return Ok(user);
        }
        let unknown = || Error::from(tricorn_mvcc::Error::InvalidAuthToken);
        let index: u64 = token.rsplit_once('.').and_then(|(_, index)| index.parse().ok()).ok_or_else(unknown)?;
        let mut applied = node.state.applied.subscribe();
        // Anybody can make up a number that is far ahead, so the wait is short; a client logs in again.
        let come = tokio::time::timeout(node.election_timeout * 2, applied.wait_for(|at| at.index >= index)).await;
        come.map_err(|_| unknown())?.map_err(|_| Error::Stopped)?;
        node.state.tokens.user(token).ok_or_else(unknown)
    }

    /// Holds a password against what is kept of it; the auth revision at which it was right.
    pub async fn check_password(&self, name: String, password: String) -> Result<u64> {
        self.node().read_barrier().await?;
        self.check_password_here(name, password, self.node().deadline()).await
    }

    async fn check_password_here(&self, name: String, password: String, deadline: Instant) -> Result<u64> {
        let (hash, revision) = self.read(move |reader, _| reader.password_hash(&name)).await?;
        if self.node().passwords.matches(password, hash, deadline).await? {
            Ok(revision)
        } else {
            Err(tricorn_mvcc::Error::AuthFailed.into())
        }
    }

    /// Gives a token to whoever has the right password; every member will know it.
    pub async fn authenticate(&self, request: AuthenticateRequest) -> Result<AuthenticateResponse> {
        let deadline = self.node().deadline();
        self.node().read_barrier().await?;
        loop {
            let revision = self.check_password_here(request.name.clone(), request.password.clone(), deadline).await?;
            let issue = IssueToken { user: request.name.clone(), secret: secret(), revision };
            match self.change(AuthOp::IssueToken(issue)).await {
                Ok(AuthAnswer { header, token }) => return Ok(AuthenticateResponse { header, token }),
                // Users have changed while the password was looked at: it may be another by now.
                Err(Error::Refused(tricorn_mvcc::Error::AuthOldRevision)) if Instant::now() < deadline => {
                    self.node().read_barrier().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn hashed(&self, password: String) -> Result<String> {
        let hash = self.node().passwords.hash(password, self.node().deadline()).await?;
        Ok(STANDARD.encode(hash))
    }

    /// Adds a user. The password is hashed here; the log never sees it.
    pub async fn user_add(&self, mut request: AuthUserAddRequest) -> Result<AuthUserAddResponse> {
        let password = std::mem::take(&mut request.password);
        let has_none = request.options.is_some_and(|options| options.no_password);
        request.hashed_password = if has_none { String::new() } else { self.hashed(password).await? };
        let header = self.change(AuthOp::UserAdd(request)).await?.header;
        Ok(AuthUserAddResponse { header })
    }

    /// Changes a user's password, which ends its tokens.
    pub async fn user_change_password(&self, mut request: AuthUserChangePasswordRequest) -> Result<AuthUserChangePasswordResponse> {
        let password = std::mem::take(&mut request.password);
        if !password.is_empty() {
            request.hashed_password = self.hashed(password).await?;
        }
        let header = self.change(AuthOp::UserChangePassword(request)).await?.header;
        Ok(AuthUserChangePasswordResponse { header })
    }

    /// Whether authentication is on; for `root` once it is.
    pub async fn auth_status(&self) -> Result<AuthStatusResponse> {
        self.look(|reader, access| access.root().and_then(|()| reader.auth_status()), |answer| &mut answer.header).await
    }

    /// A user's roles, for itself and for `root`.
    pub async fn user_get(&self, request: AuthUserGetRequest) -> Result<AuthUserGetResponse> {
        let name = request.name;
        let ask = move |reader: &tricorn_mvcc::Reader<'_>, access: &tricorn_mvcc::Access| {
            access.see_user(&name)?;
            reader.user(&name)
        };
        self.look(ask, |answer| &mut answer.header).await
    }

    /// All users, for `root`.
    pub async fn user_list(&self) -> Result<AuthUserListResponse> {
        self.look(|reader, access| access.root().and_then(|()| reader.users()), |answer| &mut answer.header).await
    }

    /// A role's permissions, for its holders and for `root`.
    pub async fn role_get(&self, request: AuthRoleGetRequest) -> Result<AuthRoleGetResponse> {
        let role = request.role;
        let ask = move |reader: &tricorn_mvcc::Reader<'_>, access: &tricorn_mvcc::Access| {
            access.see_role(&role)?;
            reader.role(&role)
        };
        self.look(ask, |answer| &mut answer.header).await
    }

    /// All roles, for `root`.
    pub async fn role_list(&self) -> Result<AuthRoleListResponse> {
        self.look(|reader, access| access.root().and_then(|()| reader.roles()), |answer| &mut answer.header).await
    }

    /// Reads the newest of what is known about users.
    async fn look<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&tricorn_mvcc::Reader<'_>, &tricorn_mvcc::Access) -> tricorn_mvcc::Result<T> + Send + 'static,
        header: impl FnOnce(&mut T) -> &mut Option<ResponseHeader>,
    ) -> Result<T> {
        self.node().read_barrier().await?;
        let mut answer = self.read(ask).await?;
        self.complete(header(&mut answer));
        Ok(answer)
    }
}

/// The changes that are a command and nothing else.
macro_rules! changes {
    ($($(#[$doc:meta])* $method:ident($request:ident) -> $response:ident as $op:ident;)*) => {impl Store {$(
        $(#[$doc])*
        pub async fn $method(&self, request: $request) -> Result<$response> {
            let header = self.change(AuthOp::$op(request)).await?.header;
            Ok($response { header })
        }
    )*}};
}

changes! {
    /// Makes users and roles count.
    auth_enable(AuthEnableRequest) -> AuthEnableResponse as Enable;
    /// Lets everybody do everything again; ends all tokens.
    auth_disable(AuthDisableRequest) -> AuthDisableResponse as Disable;
    /// Removes a user, and its tokens with it.
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse as UserDelete;
    /// Gives a user a role.
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse as UserGrantRole;
    /// Takes a role from a user.
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse as UserRevokeRole;
    /// Adds a role that may do nothing yet.
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse as RoleAdd;
    /// Removes a role, and takes it from all users.
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse as RoleDelete;
    /// Lets a role read or write a key or a range.
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse as RoleGrantPermission;
    /// Takes a permission from a role.
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse as RoleRevokePermission;
}

fn secret() -> String {
    let mut dice = rand::rng();
    (0..SECRET_LETTERS).map(|_| char::from(dice.sample(rand::distr::Alphabetic))).collect()
}
