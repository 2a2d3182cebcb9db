//! Who is asking: client certificates, service account tokens, further tokens, or nobody.

use crate::server::Server;
use crate::stamp;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::sync::Arc;
use tricorn_meta::{Status, UserInfo};
use tricorn_pki::{Claims, TokenError};
use tricorn_registry::Version;

const AUTHENTICATED: &str = "system:authenticated";

/// A further way to accept bearer tokens.
#[async_trait::async_trait]
pub trait TokenAuthenticator: Send + Sync {
    /// Who holds this token; `None`: not one of these tokens, or not a good one.
    async fn authenticate(&self, token: &str) -> Option<UserInfo>;
}

/// The user that a client certificate names.
pub(crate) fn certificate_user(der: &[u8]) -> Result<UserInfo, Status> {
    let subject = tricorn_pki::subject(der).map_err(|error| Status::unauthorized(error.to_string()))?;
    if subject.common_name.is_empty() {
        return Err(Status::unauthorized(""));
    }
    let mut groups = subject.organizations;
    groups.push(AUTHENTICATED.to_owned());
    Ok(UserInfo::new(subject.common_name, groups))
}

/// The user of a request over the network.
pub(crate) async fn authenticate(
    server: &Server,
    certificate: Option<&Arc<UserInfo>>,
    headers: &HeaderMap,
) -> Result<Arc<UserInfo>, Status> {
    if let Some(user) = certificate {
        return Ok(user.clone());
    }
    if let Some(token) = bearer(headers) {
        return token_user(server, token, std::slice::from_ref(&server.config.issuer)).await.map(|(user, _)| Arc::new(user));
    }
    if server.config.anonymous {
        return Ok(Arc::new(UserInfo::anonymous()));
    }
    Err(Status::unauthorized(""))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// The user whose token this is, and the audiences among `audiences` that it is good for.
pub(crate) async fn token_user(server: &Server, token: &str, audiences: &[String]) -> Result<(UserInfo, Vec<String>), Status> {
    let now = stamp::now().seconds();
    match server.config.service_account_verifier.verify(token, now, audiences) {
        Ok(claims) => {
            let user = service_account(server, &claims).await?;
            let good = claims.aud.into_iter().filter(|audience| audiences.contains(audience)).collect();
            return Ok((user, good));
        }
        Err(TokenError::NotOurs) => {}
        Err(error) => {
            tracing::debug!(%error, "a service account token was refused");
            return Err(Status::unauthorized(""));
        }
    }
    if let Some(further) = &server.config.token_authenticator
        && let Some(mut user) = further.authenticate(token).await
    {
        if !user.in_group(AUTHENTICATED) {
            user.groups.push(AUTHENTICATED.to_owned());
        }
        return Ok((user, audiences.to_vec()));
    }
    Err(Status::unauthorized(""))
}

/// The user that the claims speak of, if what they are bound to is still there.
async fn service_account(server: &Server, claims: &Claims) -> Result<UserInfo, Status> {
    let bound = &claims.kubernetes;
    still_there(server, "serviceaccounts", &bound.namespace, &bound.serviceaccount.name, &bound.serviceaccount.uid).await?;
    let mut user = UserInfo::service_account(&bound.namespace, &bound.serviceaccount.name);
    user.uid.clone_from(&bound.serviceaccount.uid);
    let mut extra = |name: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value.to_owned()]);
        }
    };
    if !claims.jti.is_empty() {
        extra("credential-id", &format!("JTI={}", claims.jti));
    }
    if let Some(pod) = &bound.pod {
        still_there(server, "pods", &bound.namespace, &pod.name, &pod.uid).await?;
        extra("pod-name", &pod.name);
        extra("pod-uid", &pod.uid);
    }
    if let Some(secret) = &bound.secret {
        still_there(server, "secrets", &bound.namespace, &secret.name, &secret.uid).await?;
    }
    if let Some(node) = &bound.node {
        extra("node-name", &node.name);
        extra("node-uid", &node.uid);
    }
    Ok(user)
}

/// Looks in the cache first and, before it says no, in the store.
async fn still_there(server: &Server, resource: &str, namespace: &str, name: &str, uid: &str) -> Result<(), Status> {
    let endpoint = server.any_version("", resource).ok_or_else(|| Status::internal(format_args!("{resource} are not served")))?;
    for version in [Version::Any, Version::Latest] {
        match server.registry.get(&endpoint.stored, namespace, name, version).await {
            Ok(object) if object.uid() == uid => return Ok(()),
            Ok(_) => {}
            Err(refusal) if refusal.is_not_found() => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Err(Status::unauthorized(""))
}
