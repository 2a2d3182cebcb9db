//! Who may use the kubelet's port: client certificates of the cluster's authority and bearer tokens. The API server's
//! own client and `system:masters` may do all; of others the API server is asked.

use std::sync::Arc;

use http::{HeaderMap, Method, Response, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::reply::{Body, text};
use crate::config::KubeletConfig;
use crate::context::Context;
use crate::error::{Error, Result};

const MASTERS: &str = "system:masters";

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    name: String,
    groups: Vec<String>,
}

/// TLS that asks for a client certificate and takes clients without one; they need a token.
pub(crate) fn acceptor(config: &KubeletConfig) -> Result<TlsAcceptor> {
    let invalid = |what: &str, path: &std::path::Path, error: &dyn std::fmt::Display| {
        Error::Invalid(format!("read {what} {}: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&config.tls_cert)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| invalid("certificate", &config.tls_cert, &error))?;
    let key = PrivateKeyDer::from_pem_file(&config.tls_key).map_err(|error| invalid("key", &config.tls_key, &error))?;
    let mut roots = rustls::RootCertStore::empty();
    let authorities = CertificateDer::pem_file_iter(&config.client_ca)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| invalid("authority", &config.client_ca, &error))?;
    for authority in authorities {
        roots.add(authority).map_err(|error| invalid("authority", &config.client_ca, &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|error| invalid("authority", &config.client_ca, &error))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Invalid(format!("set up TLS: {error}")))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| invalid("certificate", &config.tls_cert, &error))?;
    // Streams need connections that can be taken over: HTTP/1.1.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

/// The subject of a verified certificate: CN is the user, each O a group.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Option<Subject> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = parsed.subject().iter_organization().filter_map(|group| group.as_str().ok().map(str::to_owned)).collect();
    Some(Subject { name, groups })
}

/// Lets a request pass, or answers it with 401 or 403.
pub(crate) async fn allow(
    context: &Context,
    peer: Option<Subject>,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> std::result::Result<(), Response<Body>> {
    let unauthorized = || text(StatusCode::UNAUTHORIZED, "Unauthorized");
    let subject = match peer {
        Some(subject) => subject,
        None => {
            let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            review_token(context, bearer.ok_or_else(unauthorized)?).await.ok_or_else(unauthorized)?
        }
    };
    let trusted = context.config.allowed_clients.contains(&subject.name) || subject.groups.iter().any(|group| group == MASTERS);
    if trusted || review_access(context, &subject, method, path).await {
        return Ok(());
    }
    let (verb, resource) = (verb(method), subresource(path));
    let message = format!("Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{resource}])", subject.name);
    Err(text(StatusCode::FORBIDDEN, message))
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}

fn subresource(path: &str) -> &'static str {
    match path.trim_start_matches('/').split('/').next() {
        Some("stats") => "stats",
        Some("metrics") => "metrics",
        Some("logs") => "log",
        Some("healthz") => "healthz",
        Some("pods" | "runningpods") => "pods",
        _ => "proxy",
    }
}

async fn review_token(context: &Context, token: &str) -> Option<Subject> {
    let review = TokenReview { spec: TokenReviewSpec { token: token.to_owned(), ..Default::default() }, ..Default::default() };
    let api: Api<TokenReview> = Api::all(context.client.clone());
    let status = api.create(&PostParams::default(), &review).await.ok()?.status?;
    let user = status.user.filter(|_| status.authenticated == Some(true))?;
    Some(Subject { name: user.username?, groups: user.groups.unwrap_or_default() })
}

async fn review_access(context: &Context, subject: &Subject, method: &Method, path: &str) -> bool {
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(subject.name.clone()),
            groups: Some(subject.groups.clone()),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb(method).into()),
                version: Some("v1".into()),
                resource: Some("nodes".into()),
                subresource: Some(subresource(path).into()),
                name: Some(context.config.node_name.clone()),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(context.client.clone());
    api.create(&PostParams::default(), &review).await.is_ok_and(|answer| answer.status.is_some_and(|status| status.allowed))
}
