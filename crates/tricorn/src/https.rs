//! The little HTTP that joining needs, before there is anything that a client could be made from.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use tricorn_pki::{JoinToken, sha256_hex};

/// One question and its answer take at most this long.
const DEADLINE: Duration = Duration::from_secs(30);
/// Connecting takes at most this long.
const CONNECT: Duration = Duration::from_secs(5);
/// No answer of a server is larger.
const ANSWER_BYTES: usize = 4 << 20;

/// A server, and how far it is trusted.
pub struct Https {
    server: Uri,
    tls: Arc<ClientConfig>,
    bearer: Option<String>,
}

/// An answer that is not a success.
#[derive(Debug, thiserror::Error)]
#[error("{server} refused ({code}): {message}")]
pub struct Refused {
    server: Uri,
    code: u16,
    message: String,
}

impl Https {
    /// The server at `url`, once it has shown the authority that the token names. The token is said only after that.
    pub async fn by_token(url: &str, token: &JoinToken) -> Result<(Self, String)> {
        let server = server_uri(url)?;
        let stranger = Self { server: server.clone(), tls: Arc::new(trusting_nobody()), bearer: None };
        let authority_pem = String::from_utf8(stranger.send(Method::GET, "/tricorn/v1/authority", None).await?.to_vec())
            .with_context(|| format!("read the certificate authority of {url}"))?;
        token.check_authority(&authority_hash(&authority_pem)?).with_context(|| format!("join through {url}"))?;
        let tls = Arc::new(tricorn_pki::client_config(&authority_pem, None, &["http/1.1"])?);
        Ok((Self { server, tls, bearer: Some(token.to_string()) }, authority_pem))
    }

    /// Sends `body` as JSON, and reads the answer as JSON.
    pub async fn post<B: Serialize, A: DeserializeOwned>(&self, path: &str, body: &B) -> Result<A> {
        let answer = self.send(Method::POST, path, Some(serde_json::to_vec(body)?)).await?;
        serde_json::from_slice(&answer).with_context(|| format!("read the answer of {} to POST {path}", self.server))
    }

    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Bytes> {
        let what = format!("{method} {path} at {}", self.server);
        match tokio::time::timeout(DEADLINE, self.exchange(method, path, body)).await {
            Ok(answer) => answer.context(what),
            Err(_) => Err(anyhow!("{what}: no answer within {} s", DEADLINE.as_secs())),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Bytes> {
        let host = self.server.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.server.port_u16().unwrap_or(6443);
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect((host.as_str(), port)))
            .await
            .map_err(|_| anyhow!("connecting took longer than {} s", CONNECT.as_secs()))?
            .context("connect")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host.clone()).context("read the server's name")?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await.context("TLS")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, format!("{host}:{port}"));
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = sender.send_request(request.body(Full::new(Bytes::from(body.unwrap_or_default())))?).await?;
        let code = answer.status();
        let bytes = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await.map_err(|error| anyhow!(error))?.to_bytes();
        drop(sender);
        driver.abort();
        if code.is_success() {
            return Ok(bytes);
        }
        Err(Refused { server: self.server.clone(), code: code.as_u16(), message: message_of(&bytes) }.into())
    }
}

/// SHA-256 of an authority's certificate, as join tokens have it.
pub fn authority_hash(authority_pem: &str) -> Result<String> {
    use rustls::pki_types::pem::PemObject;
    let der = CertificateDer::from_pem_slice(authority_pem.as_bytes()).context("read the certificate authority")?;
    Ok(sha256_hex(&der))
}

/// What a Status says, or the text itself.
fn message_of(bytes: &[u8]) -> String {
    let status: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let message = status.as_ref().and_then(|status| status.get("message")?.as_str());
    message.map_or_else(|| String::from_utf8_lossy(bytes).chars().take(300).collect(), str::to_owned)
}

fn server_uri(url: &str) -> Result<Uri> {
    let text = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let uri: Uri = text.parse().with_context(|| format!("read the server URL {url}: want https://HOST:6443"))?;
    if uri.scheme_str() != Some("https") || uri.host().is_none() {
        bail!("server URL {url}: want https://HOST:6443");
    }
    Ok(uri)
}

/// Accepts any certificate: good for one question, whose answer is checked against the token's hash.
fn trusting_nobody() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Unchecked(provider));
    ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
}

#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Refuses a data directory whose cluster has another authority than the join token names. Without a token there is nothing to compare.
pub fn check_directory(dir: &std::path::Path, authority_hash: &str, token: Option<&str>, file: Option<&std::path::Path>) -> Result<()> {
    match read_token(token, file) {
        Ok(token) if token.check_authority(authority_hash).is_err() => bail!(
            "the data directory {} belongs to another cluster than the join token: use another directory, or the token of that cluster",
            dir.display()
        ),
        _ => Ok(()),
    }
}

/// The token of `--token` or of the file `--token-file`.
pub fn read_token(token: Option<&str>, file: Option<&std::path::Path>) -> Result<JoinToken> {
    let text = match (token, file) {
        (Some(token), _) => token.to_owned(),
        (None, Some(file)) => std::fs::read_to_string(file).with_context(|| format!("read the join token {}", file.display()))?,
        (None, None) => bail!("no join token: give --token or --token-file; `tricorn token create` on the cluster makes one"),
    };
    Ok(text.parse::<JoinToken>()?)
}
