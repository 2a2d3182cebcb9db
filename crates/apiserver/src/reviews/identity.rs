//! Who is it?

use crate::authn;
use crate::context::Context;
use crate::server::Server;
use serde_json::{Value, json};
use tricorn_meta::{Status, UserInfo};

/// TokenReview: whose token is this?
pub(super) async fn token(server: &Server, spec: &Value) -> Result<Value, Status> {
    let token = spec["token"]
        .as_str()
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Status::bad_request("token is required for TokenReview in authentication"))?;
    let asked: Vec<String> = spec["audiences"].as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect();
    let audiences = if asked.is_empty() { vec![server.config.issuer.clone()] } else { asked };
    Ok(match authn::token_user(server, token, &audiences).await {
        Ok((user, audiences)) => json!({"authenticated": true, "user": info(&user), "audiences": audiences}),
        Err(refusal) if refusal.code() == 401 => json!({"authenticated": false, "user": {}, "error": "invalid bearer token"}),
        Err(refusal) => return Err(refusal),
    })
}

/// SelfSubjectReview: who am I?
pub(super) fn own(context: &Context) -> Value {
    json!({"userInfo": info(&context.user)})
}

fn info(user: &UserInfo) -> Value {
    serde_json::to_value(user).unwrap_or_default()
}
