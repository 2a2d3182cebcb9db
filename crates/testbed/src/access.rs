//! Asking a server something over its TLS endpoint with the administrator's certificate.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::dial::Dialer;
use crate::error::{Error, Result};

const PORT: u16 = 6443;

/// The administrator's way to the servers of a cluster.
#[derive(Clone)]
pub struct ApiAccess {
    tls: TlsConnector,
    dialer: Dialer,
}

impl std::fmt::Debug for ApiAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiAccess")
    }
}

impl ApiAccess {
    /// Reads the credentials of `kubeconfig` and connects through `dialer`.
    pub fn new(kubeconfig: &Path, dialer: Dialer) -> Result<Self> {
        let text = std::fs::read_to_string(kubeconfig).map_err(|e| Error::io(format!("read {}", kubeconfig.display()), e))?;
        let tls = tls_of(&text, kubeconfig)?;
        Ok(Self { tls: TlsConnector::from(Arc::new(tls)), dialer })
    }

    /// GET `path` from the server at `address`: its status code and body, within `deadline`.
    pub async fn get(&self, address: IpAddr, path: &str, deadline: Duration) -> Result<(u16, Bytes)> {
        let what = format!("GET https://{address}:{PORT}{path}");
        let fail = |problem: String| Error::Api { what: what.clone(), problem };
        match tokio::time::timeout(deadline, self.exchange(address, path)).await {
            Ok(answer) => answer.map_err(|e| fail(e.to_string())),
            Err(_) => Err(fail(format!("no answer within {} ms", deadline.as_millis()))),
        }
    }

    /// GET `path` as JSON; anything but success is an error that carries the answer.
    pub async fn json(&self, address: IpAddr, path: &str, deadline: Duration) -> Result<serde_json::Value> {
        let (code, body) = self.get(address, path, deadline).await?;
        let fail = |problem: String| Error::Api { what: format!("GET https://{address}:{PORT}{path}"), problem };
        if code != 200 {
            let said: String = String::from_utf8_lossy(&body).chars().take(300).collect();
            return Err(fail(format!("answered {code}: {said}")));
        }
        serde_json::from_slice(&body).map_err(|e| fail(format!("answered no JSON: {e}")))
    }

    async fn exchange(&self, address: IpAddr, path: &str) -> std::result::Result<(u16, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = self.dialer.connect(SocketAddr::new(address, PORT), Duration::from_secs(5)).await?;
        let stream = self.tls.connect(ServerName::IpAddress(address.into()), stream).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = hyper::Request::get(path)
            .header("host", format!("{address}:{PORT}"))
            .header("accept", "application/json")
            .header("user-agent", concat!("tricorn-testbed/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        drop(sender);
        driver.abort();
        Ok((code, body))
    }
}

/// The TLS settings that a kubeconfig's current context asks for.
fn tls_of(text: &str, path: &Path) -> Result<ClientConfig> {
    let fail = |problem: String| Error::Api { what: format!("use {}", path.display()), problem };
    let config: serde_json::Value = serde_yaml_ng::from_str(text).map_err(|e| fail(e.to_string()))?;
    let part = |pointer: &str, key: &str| -> Result<Vec<u8>> {
        let entry = config.pointer(pointer).ok_or_else(|| fail(format!("has no {pointer}")))?;
        if let Some(data) = entry.get(format!("{key}-data")).and_then(|v| v.as_str()) {
            return base64::engine::general_purpose::STANDARD.decode(data).map_err(|e| fail(format!("{key}-data: {e}")));
        }
        let file = entry.get(key).and_then(|v| v.as_str()).ok_or_else(|| fail(format!("has no {key}")))?;
        std::fs::read(file).map_err(|e| Error::io(format!("read {file}"), e))
    };
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(&part("/clusters/0/cluster", "certificate-authority")?) {
        let cert = cert.map_err(|e| fail(e.to_string()))?;
        roots.add(cert).map_err(|e| fail(e.to_string()))?;
    }
    let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&part("/users/0/user", "client-certificate")?).collect();
    let chain = chain.map_err(|e| fail(e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(&part("/users/0/user", "client-key")?).map_err(|e| fail(e.to_string()))?;
    ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(e.to_string()))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|e| fail(e.to_string()))
}
