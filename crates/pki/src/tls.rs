//! TLS settings made from PEM: who one is, whom one trusts, who must show a certificate.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use crate::{Error, Identity};

/// What a server asks of its clients.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// No certificate is asked for.
    None,
    /// A certificate is asked for; one that is shown must come from these authorities (PEM).
    Optional(String),
    /// Nobody enters without a certificate from these authorities (PEM).
    Required(String),
}

/// An identity that can be exchanged while connections are open: new handshakes show the new one.
#[derive(Debug)]
pub struct RotatingIdentity(RwLock<Arc<CertifiedKey>>);

impl RotatingIdentity {
    /// Starts with `identity`.
    pub fn new(identity: &Identity) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(RwLock::new(certified_key(identity)?))))
    }

    /// From now on, show `identity`.
    pub fn replace(&self, identity: &Identity) -> Result<(), Error> {
        let key = certified_key(identity)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for RotatingIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for RotatingIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A server's settings. `protocols` are offered by ALPN, best first: `&["h2", "http/1.1"]`.
pub fn server_config(identity: Arc<RotatingIdentity>, clients: &ClientAuth, protocols: &[&str]) -> Result<ServerConfig, Error> {
    let verifier = client_verifier(clients)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::make("TLS server settings", error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity);
    config.alpn_protocols = alpn(protocols);
    Ok(config)
}

/// A client's settings: it trusts the authorities in `authority_pem`, and shows `identity` when asked for a certificate.
pub fn client_config(authority_pem: &str, identity: Option<Arc<RotatingIdentity>>, protocols: &[&str]) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::make("TLS client settings", error))?
        .with_root_certificates(roots(authority_pem)?);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn(protocols);
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client_verifier(clients: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let builder = |authority_pem: &str| -> Result<_, Error> {
        Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority_pem)?), provider()))
    };
    let built = match clients {
        ClientAuth::None => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientAuth::Optional(authority_pem) => builder(authority_pem)?.allow_unauthenticated().build(),
        ClientAuth::Required(authority_pem) => builder(authority_pem)?.build(),
    };
    built.map_err(|error| Error::make("check of client certificates", error))
}

fn roots(authority_pem: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority_pem, "certificate authorities")? {
        roots.add(certificate).map_err(|error| Error::read("certificate authorities", error))?;
    }
    Ok(roots)
}

fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|error| Error::read(what, error))?;
    if certificates.is_empty() {
        return Err(Error::read(what, "there is no certificate in it"));
    }
    Ok(certificates)
}

fn certified_key(identity: &Identity) -> Result<Arc<CertifiedKey>, Error> {
    let chain = certificates(&identity.certificate_pem, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(|error| Error::read("private key", error))?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| Error::read("certificate and key", error))?;
    Ok(Arc::new(key))
}

fn alpn(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}
