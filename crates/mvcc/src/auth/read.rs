//! Questions about users and roles.

use super::rows::{AuthState, ROOT, all, get};
use crate::read::{Reader, header};
use crate::{Error, Result};
use bytes::Bytes;
use tricorn_proto::authpb::permission::Type;
use tricorn_proto::authpb::{Permission, Role, User};
use tricorn_proto::etcdserverpb::{
    AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse, AuthUserGetResponse, AuthUserListResponse,
};

fn text(name: &Bytes) -> String {
    String::from_utf8_lossy(name).into_owned()
}

impl Reader<'_> {
    /// Whether authentication is on, and the auth revision.
    pub fn auth_state(&self) -> Result<AuthState> {
        AuthState::read(self.view)
    }

    /// The same as an answer to a client.
    pub fn auth_status(&self) -> Result<AuthStatusResponse> {
        let AuthState { enabled, revision } = self.auth_state()?;
        Ok(AuthStatusResponse { header: header(self.revision), enabled, auth_revision: revision })
    }

    /// The hash of a user's password, to hold a password against, and the auth revision at which it is good.
    pub fn password_hash(&self, name: &str) -> Result<(Bytes, u64)> {
        let state = self.auth_state()?;
        if !state.enabled {
            return Err(Error::AuthNotEnabled);
        }
        let user = get::<User>(self.view, name)?.ok_or(Error::AuthFailed)?;
        if user.options.is_some_and(|options| options.no_password) {
            return Err(Error::NoPasswordUser);
        }
        Ok((user.password, state.revision))
    }

    /// A user's roles.
    pub fn user(&self, name: &str) -> Result<AuthUserGetResponse> {
        let user = get::<User>(self.view, name)?.ok_or(Error::UserNotFound)?;
        Ok(AuthUserGetResponse { header: header(self.revision), roles: user.roles })
    }

    /// All users, by name.
    pub fn users(&self) -> Result<AuthUserListResponse> {
        let users = all::<User>(self.view)?.iter().map(|user| text(&user.name)).collect();
        Ok(AuthUserListResponse { header: header(self.revision), users })
    }

    /// A role's permissions. The role `root` has everything, whatever it was granted.
    pub fn role(&self, name: &str) -> Result<AuthRoleGetResponse> {
        let role = get::<Role>(self.view, name)?.ok_or(Error::RoleNotFound)?;
        let perm = if name == ROOT {
            vec![Permission { perm_type: Type::Readwrite.into(), key: Bytes::new(), range_end: Bytes::from_static(&[0]) }]
        } else {
            role.key_permission
        };
        Ok(AuthRoleGetResponse { header: header(self.revision), perm })
    }

    /// All roles, by name.
    pub fn roles(&self) -> Result<AuthRoleListResponse> {
        let roles = all::<Role>(self.view)?.iter().map(|role| text(&role.name)).collect();
        Ok(AuthRoleListResponse { header: header(self.revision), roles })
    }
}
