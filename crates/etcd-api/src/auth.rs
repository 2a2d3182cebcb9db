//! The Auth service: users, roles, and logging in.

use tonic::{Request, Response, Status};
use tricorn_proto::etcdserverpb::auth_server::Auth;
use tricorn_proto::etcdserverpb::*;

use crate::shared::{Shared, answer};

/// Methods that hand their request to the store's method of the same name.
macro_rules! handed_on {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl Auth for Shared {
            $(async fn $method(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                let store = self.admit(&request)?;
                answer(store.$method(request.into_inner()).await)
            })*

            async fn authenticate(&self, request: Request<AuthenticateRequest>) -> Result<Response<AuthenticateResponse>, Status> {
                // Who asks is what is to be found out: an old token beside the password does not matter.
                self.require_leader(&request)?;
                self.tokens.authenticate(&self.store, request.into_inner()).await.map(Response::new)
            }

            async fn auth_status(&self, request: Request<AuthStatusRequest>) -> Result<Response<AuthStatusResponse>, Status> {
                answer(self.admit(&request)?.auth_status().await)
            }

            async fn user_list(&self, request: Request<AuthUserListRequest>) -> Result<Response<AuthUserListResponse>, Status> {
                answer(self.admit(&request)?.user_list().await)
            }

            async fn role_list(&self, request: Request<AuthRoleListRequest>) -> Result<Response<AuthRoleListResponse>, Status> {
                answer(self.admit(&request)?.role_list().await)
            }
        }
    };
}

handed_on! {
    auth_enable(AuthEnableRequest) -> AuthEnableResponse;
    auth_disable(AuthDisableRequest) -> AuthDisableResponse;
    user_add(AuthUserAddRequest) -> AuthUserAddResponse;
    user_get(AuthUserGetRequest) -> AuthUserGetResponse;
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse;
    user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse;
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse;
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse;
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse;
    role_get(AuthRoleGetRequest) -> AuthRoleGetResponse;
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse;
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse;
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse;
}
