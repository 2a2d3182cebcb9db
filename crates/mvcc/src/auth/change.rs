//! Changes of users and roles, and tokens. Every refusal comes before the first row is written.

use super::rows::{AuthState, ROOT, get, put, remove};
use crate::pending::Pending;
use crate::span::Span;
use crate::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tricorn_proto::authpb::{Permission, Role, User};
use tricorn_proto::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
};
use tricorn_proto::peer::auth_command::Op;
use tricorn_proto::peer::{AuthCommand, IssueToken};

/// A change of the set of tokens, for those who keep their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenChange {
    /// Whoever shows this token is this user.
    Issued {
        /// What is shown.
        token: String,
        /// Who shows it.
        user: String,
    },
    /// The user's tokens are good no more.
    Revoked(String),
    /// No token is good any more.
    Cleared,
}

/// Runs one command of the log entry `index`; the token, where one was asked for.
pub(crate) fn run(
    pending: &mut Pending<'_>,
    state: &mut AuthState,
    command: &AuthCommand,
    index: u64,
    tokens: &mut Vec<TokenChange>,
) -> Result<String> {
    let before = *state;
    match &command.op {
        Some(Op::Enable(_)) => enable(pending, state)?,
        Some(Op::Disable(_)) if state.enabled => {
            *state = AuthState { enabled: false, revision: state.revision + 1 };
            tokens.push(TokenChange::Cleared);
        }
        Some(Op::Disable(_)) => {}
        Some(Op::IssueToken(request)) => return issue(pending, *state, request, index, tokens),
        Some(op) => {
            if change(pending, state.enabled, op, tokens)? {
                state.revision += 1;
            }
        }
        None => return Err(Error::State("an auth command without an operation".into())),
    }
    if *state != before {
        state.write(pending);
    }
    Ok(String::new())
}

fn enable(pending: &Pending<'_>, state: &mut AuthState) -> Result<()> {
    if !state.enabled {
        let root = get::<User>(pending, ROOT)?.ok_or(Error::RootUserNotFound)?;
        if !root.roles.iter().any(|role| role == ROOT) {
            return Err(Error::RootRoleNotGranted);
        }
        state.enabled = true;
    }
    Ok(())
}

fn issue(pending: &Pending<'_>, state: AuthState, request: &IssueToken, index: u64, tokens: &mut Vec<TokenChange>) -> Result<String> {
    if !state.enabled {
        return Err(Error::AuthNotEnabled);
    }
    if request.revision != state.revision {
        return Err(Error::AuthOldRevision);
    }
    let user = get::<User>(pending, &request.user)?.ok_or(Error::AuthFailed)?;
    if user.options.is_some_and(|options| options.no_password) {
        return Err(Error::AuthFailed);
    }
    // The number tells a member that lags behind how far it must come before it can know the token.
    let token = format!("{}.{index}", request.secret);
    tokens.push(TokenChange::Issued { token: token.clone(), user: request.user.clone() });
    Ok(token)
}

/// Changes users or roles; whether anything is different now.
fn change(pending: &mut Pending<'_>, enabled: bool, op: &Op, tokens: &mut Vec<TokenChange>) -> Result<bool> {
    match op {
        Op::UserAdd(request) => user_add(pending, request)?,
        Op::UserDelete(request) => {
            user_delete(pending, enabled, request)?;
            tokens.push(TokenChange::Revoked(request.name.clone()));
        }
        Op::UserChangePassword(request) => {
            user_change_password(pending, request)?;
            tokens.push(TokenChange::Revoked(request.name.clone()));
        }
        Op::UserGrantRole(request) => return user_grant_role(pending, request),
        Op::UserRevokeRole(request) => user_revoke_role(pending, enabled, request)?,
        Op::RoleAdd(request) => role_add(pending, request)?,
        Op::RoleDelete(request) => role_delete(pending, enabled, request)?,
        Op::RoleGrantPermission(request) => role_grant_permission(pending, request)?,
        Op::RoleRevokePermission(request) => role_revoke_permission(pending, request)?,
        Op::Enable(_) | Op::Disable(_) | Op::IssueToken(_) => return Ok(false),
    }
    Ok(true)
}

/// The hash, out of the form in which it travels. etcd's answer to another form is this one.
fn hash(encoded: &str) -> Result<Bytes> {
    STANDARD.decode(encoded).map(Bytes::from).map_err(|_| Error::NoPasswordUser)
}

fn user_add(pending: &mut Pending<'_>, request: &AuthUserAddRequest) -> Result<()> {
    if request.name.is_empty() {
        return Err(Error::UserEmpty);
    }
    if get::<User>(pending, &request.name)?.is_some() {
        return Err(Error::UserExists);
    }
    let options = request.options.unwrap_or_default();
    let password = if options.no_password { Bytes::new() } else { hash(&request.hashed_password)? };
    put(pending, &User { name: request.name.clone().into(), password, roles: Vec::new(), options: Some(options) });
    Ok(())
}

fn user_delete(pending: &mut Pending<'_>, enabled: bool, request: &AuthUserDeleteRequest) -> Result<()> {
    if enabled && request.name == ROOT {
        return Err(Error::InvalidAuthManagement);
    }
    get::<User>(pending, &request.name)?.ok_or(Error::UserNotFound)?;
    remove::<User>(pending, &request.name);
    Ok(())
}

fn user_change_password(pending: &mut Pending<'_>, request: &AuthUserChangePasswordRequest) -> Result<()> {
    let mut user = get::<User>(pending, &request.name)?.ok_or(Error::UserNotFound)?;
    let has_none = user.options.is_some_and(|options| options.no_password);
    user.password = if has_none { Bytes::new() } else { hash(&request.hashed_password)? };
    put(pending, &user);
    Ok(())
}

fn user_grant_role(pending: &mut Pending<'_>, request: &AuthUserGrantRoleRequest) -> Result<bool> {
    let mut user = get::<User>(pending, &request.user)?.ok_or(Error::UserNotFound)?;
    if request.role != ROOT {
        get::<Role>(pending, &request.role)?.ok_or(Error::RoleNotFound)?;
    }
    let Err(place) = user.roles.binary_search(&request.role) else { return Ok(false) };
    user.roles.insert(place, request.role.clone());
    put(pending, &user);
    Ok(true)
}

fn user_revoke_role(pending: &mut Pending<'_>, enabled: bool, request: &AuthUserRevokeRoleRequest) -> Result<()> {
    if enabled && request.name == ROOT && request.role == ROOT {
        return Err(Error::InvalidAuthManagement);
    }
    let mut user = get::<User>(pending, &request.name)?.ok_or(Error::UserNotFound)?;
    let place = user.roles.binary_search(&request.role).map_err(|_| Error::RoleNotGranted)?;
    user.roles.remove(place);
    put(pending, &user);
    Ok(())
}

fn role_add(pending: &mut Pending<'_>, request: &AuthRoleAddRequest) -> Result<()> {
    if request.name.is_empty() {
        return Err(Error::RoleEmpty);
    }
    if get::<Role>(pending, &request.name)?.is_some() {
        return Err(Error::RoleExists);
    }
    put(pending, &Role { name: request.name.clone().into(), key_permission: Vec::new() });
    Ok(())
}

fn role_delete(pending: &mut Pending<'_>, enabled: bool, request: &AuthRoleDeleteRequest) -> Result<()> {
    if enabled && request.role == ROOT {
        return Err(Error::InvalidAuthManagement);
    }
    get::<Role>(pending, &request.role)?.ok_or(Error::RoleNotFound)?;
    remove::<Role>(pending, &request.role);
    for mut user in super::rows::all::<User>(pending)? {
        if let Ok(place) = user.roles.binary_search(&request.role) {
            user.roles.remove(place);
            put(pending, &user);
        }
    }
    Ok(())
}

fn role_grant_permission(pending: &mut Pending<'_>, request: &AuthRoleGrantPermissionRequest) -> Result<()> {
    let wanted = request.perm.as_ref().ok_or(Error::PermissionNotGiven)?;
    if wanted.key.is_empty() || Span::new(&wanted.key, &wanted.range_end).is_empty() {
        return Err(Error::InvalidAuthManagement);
    }
    let mut role = get::<Role>(pending, &request.name)?.ok_or(Error::RoleNotFound)?;
    let same = |have: &&mut Permission| have.key == wanted.key && have.range_end == wanted.range_end;
    match role.key_permission.iter_mut().find(same) {
        Some(have) => have.perm_type = wanted.perm_type,
        None => {
            let place = role.key_permission.partition_point(|have| have.key <= wanted.key);
            role.key_permission.insert(place, wanted.clone());
        }
    }
    put(pending, &role);
    Ok(())
}

fn role_revoke_permission(pending: &mut Pending<'_>, request: &AuthRoleRevokePermissionRequest) -> Result<()> {
    let mut role = get::<Role>(pending, &request.role)?.ok_or(Error::RoleNotFound)?;
    let before = role.key_permission.len();
    role.key_permission.retain(|have| have.key != request.key || have.range_end != request.range_end);
    if role.key_permission.len() == before {
        return Err(Error::PermissionNotGranted);
    }
    put(pending, &role);
    Ok(())
}
