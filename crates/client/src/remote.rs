//! A client over mutual TLS that knows every server and moves to the next one when one does not answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use rustls::RootCertStore;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tower::{BoxError, Service};
use tracing::{debug, info};

/// How long one server may take to accept a connection and finish the handshake, in milliseconds.
const CONNECT_TIMEOUT_MS: u64 = 3_000;
/// How often an idle HTTP/2 connection is asked whether it lives, in milliseconds.
const PING_INTERVAL_MS: u64 = 5_000;
/// How long the answer to that may take before the connection counts as dead, in milliseconds.
const PING_TIMEOUT_MS: u64 = 5_000;

/// What can be wrong with the parts that a remote client is made from.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// There is no server in the list.
    #[error("connect to the API: no server URL is given")]
    NoServers,
    /// A server URL lacks a scheme or a host.
    #[error("connect to the API: {0} is not a URL of the form https://HOST:PORT")]
    BadServer(Uri),
    /// A certificate or key could not be read.
    #[error("read the {what} of the API client: {reason}")]
    BadPem {
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The kubeconfig could not be used.
    #[error("use the kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The client could not be made from the kubeconfig.
    #[error("make a client from the kubeconfig: {0}")]
    Client(#[from] kube::Error),
    /// The bearer token cannot be put in a header.
    #[error("the bearer token contains characters that no header may have")]
    BadToken,
}

fn bad_pem(what: &'static str, reason: impl std::fmt::Display) -> RemoteError {
    RemoteError::BadPem { what, reason: reason.to_string() }
}

/// The certificate that the client shows. It can be replaced while connections are open; new ones show the new one.
#[derive(Debug, Default)]
pub struct ClientIdentity {
    current: ArcSwapOption<CertifiedKey>,
}

impl ClientIdentity {
    /// An identity from a certificate chain and its private key, both PEM.
    pub fn new(certificate_pem: &str, key_pem: &str) -> Result<Self, RemoteError> {
        let identity = Self::default();
        identity.replace(certificate_pem, key_pem)?;
        Ok(identity)
    }

    /// Shows another certificate from now on.
    pub fn replace(&self, certificate_pem: &str, key_pem: &str) -> Result<(), RemoteError> {
        let chain = rustls_pemfile::certs(&mut certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| bad_pem("certificate", error))?;
        if chain.is_empty() {
            return Err(bad_pem("certificate", "no CERTIFICATE block"));
        }
        let key = rustls_pemfile::private_key(&mut key_pem.as_bytes())
            .map_err(|error| bad_pem("private key", error))?
            .ok_or_else(|| bad_pem("private key", "no PRIVATE KEY block"))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| bad_pem("private key", error))?;
        self.current.store(Some(Arc::new(CertifiedKey::new(chain, key))));
        Ok(())
    }
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }

    fn has_certs(&self) -> bool {
        self.current.load().is_some()
    }
}

/// What a remote client is made from.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Every server's URL, such as `https://172.30.0.11:6443`; the first is tried first.
    pub servers: Vec<Uri>,
    /// The CA that signed the servers' certificates, PEM.
    pub ca_pem: String,
    /// The certificate to show, if any. Keep a clone of the `Arc` to replace it later.
    pub identity: Option<Arc<ClientIdentity>>,
    /// A bearer token to send, if any.
    pub bearer_token: Option<String>,
    /// The namespace that requests without one go to.
    pub default_namespace: String,
}

/// The servers, and which of them is in use.
#[derive(Debug)]
struct Servers {
    list: ArcSwap<Vec<(Scheme, Authority)>>,
    current: AtomicUsize,
}

impl Servers {
    fn new(uris: &[Uri]) -> Result<Self, RemoteError> {
        let list = uris
            .iter()
            .map(|uri| match (uri.scheme(), uri.authority()) {
                (Some(scheme), Some(authority)) => Ok((scheme.clone(), authority.clone())),
                _ => Err(RemoteError::BadServer(uri.clone())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() {
            return Err(RemoteError::NoServers);
        }
        Ok(Self { list: ArcSwap::from_pointee(list), current: AtomicUsize::new(0) })
    }

    /// Moves on from `failed`, unless somebody has already.
    fn advance(&self, failed: usize) {
        let next = (failed + 1) % self.list.load().len().max(1);
        let moved = self.current.compare_exchange(failed, next, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if moved
            && next != failed
            && let Some((_, authority)) = self.list.load().get(next)
        {
            info!(server = %authority, "talking to the next API server");
        }
    }
}

/// Makes a client from explicit parts: several servers with fail-over, mutual TLS, HTTP/2.
pub fn remote(config: &RemoteConfig) -> Result<kube::Client, RemoteError> {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut config.ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| bad_pem("CA certificate", error))?;
        roots.add(certificate).map_err(|error| bad_pem("CA certificate", error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad_pem("TLS settings", error))?
        .with_root_certificates(roots);
    let tls = match &config.identity {
        Some(identity) => tls.with_client_cert_resolver(identity.clone()),
        None => tls.with_no_client_auth(),
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(Duration::from_millis(CONNECT_TIMEOUT_MS)));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().wrap_connector(tcp);
    let connector = WithDeadline { inner: https, deadline: Duration::from_millis(CONNECT_TIMEOUT_MS) };
    let http = HttpClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(Duration::from_millis(PING_INTERVAL_MS))
        .http2_keep_alive_timeout(Duration::from_millis(PING_TIMEOUT_MS))
        .http2_adaptive_window(true)
        .build(connector);
    let bearer = match &config.bearer_token {
        Some(token) => {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| RemoteError::BadToken)?;
            value.set_sensitive(true);
            Some(value)
        }
        None => None,
    };
    let failover = Failover { http, servers: Arc::new(Servers::new(&config.servers)?), bearer };
    Ok(kube::Client::new(failover, config.default_namespace.as_str()))
}

/// Makes a client from the text of a kubeconfig, its current context.
pub async fn from_kubeconfig(yaml: &str) -> Result<kube::Client, RemoteError> {
    let kubeconfig = kube::config::Kubeconfig::from_yaml(yaml)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

type Http = HttpClient<WithDeadline<HttpsConnector<HttpConnector>>, Body>;

/// A connector that gives up after a while: a paused host still accepts TCP, but never finishes a handshake.
#[derive(Clone)]
struct WithDeadline<S> {
    inner: S,
    deadline: Duration,
}

impl<S> Service<Uri> for WithDeadline<S>
where
    S: Service<Uri, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.deadline, self.inner.call(uri));
        Box::pin(async move { connecting.await.unwrap_or_else(|_| Err("connecting took too long".into())) })
    }
}

/// Sends each request to the server in use, and to the next ones when that cannot be reached.
#[derive(Clone)]
struct Failover {
    http: Http,
    servers: Arc<Servers>,
    bearer: Option<HeaderValue>,
}

impl Service<Request<Body>> for Failover {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { this.send(request).await })
    }
}

impl Failover {
    async fn send(self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let (mut head, mut body) = request.into_parts();
        if let Some(bearer) = &self.bearer {
            head.headers.insert(header::AUTHORIZATION, bearer.clone());
        }
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let tries = self.servers.list.load().len();
        let mut last: Option<BoxError> = None;
        for _ in 0..tries {
            let index = self.servers.current.load(Ordering::Acquire);
            let Some((scheme, authority)) = self.servers.list.load().get(index).cloned() else {
                self.servers.current.store(0, Ordering::Release);
                continue;
            };
            let spare = body.try_clone();
            let uri = Uri::builder().scheme(scheme).authority(authority.clone()).path_and_query(path.clone()).build()?;
            let mut attempt = Request::new(body);
            *attempt.method_mut() = head.method.clone();
            *attempt.uri_mut() = uri;
            *attempt.headers_mut() = head.headers.clone();
            *attempt.extensions_mut() = head.extensions.clone();
            let error = match self.http.request(attempt).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            // A write that may have arrived is the caller's to repeat; a read, or a request that never left, is not.
            let harmless = error.is_connect() || head.method == Method::GET;
            debug!(server = %authority, %error, harmless, "request failed");
            self.servers.advance(index);
            match spare {
                Some(spare) if harmless => body = spare,
                _ => return Err(error.into()),
            }
            last = Some(error.into());
        }
        Err(last.unwrap_or_else(|| "no API server to talk to".into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers every connection's first request with an empty list of groups.
    async fn answering(listener: TcpListener) {
        let body = r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#;
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut buffer = [0_u8; 4096];
            let _ = socket.read(&mut buffer).await.unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_next_server_is_asked_when_the_first_refuses() {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dead_address = dead.local_addr().unwrap();
        drop(dead);
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live_address = live.local_addr().unwrap();
        let server = tokio::spawn(answering(live));
        let config = RemoteConfig {
            servers: [dead_address, live_address].iter().map(|a| format!("http://{a}").parse().unwrap()).collect(),
            ca_pem: String::new(),
            identity: None,
            bearer_token: None,
            default_namespace: "default".into(),
        };
        let client = remote(&config).unwrap();
        let groups = tokio::time::timeout(Duration::from_secs(10), client.list_api_groups()).await.unwrap().unwrap();
        assert!(groups.groups.is_empty());
        server.abort();
    }

    #[test]
    fn a_list_without_servers_is_refused() {
        assert!(matches!(Servers::new(&[]), Err(RemoteError::NoServers)));
        assert!(matches!(Servers::new(&["/path".parse().unwrap()]), Err(RemoteError::BadServer(_))));
    }
}
