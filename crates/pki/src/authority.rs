//! A certificate authority and what it issues.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SubjectPublicKeyInfo,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::{Error, sha256_hex};

/// Certificates start this long before "now", so that a peer whose clock lags accepts them.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// A certificate and the private key that belongs to it, both as PEM.
///
/// `Debug` leaves the key out.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, followed by any intermediate ones.
    pub certificate_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To be shown by a server.
    Server,
    /// To be shown by a client.
    Client,
    /// Both, as between equals.
    Peer,
}

/// What a certificate to be issued shall say.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The subject's common name: to Kubernetes, the user's name.
    pub common_name: String,
    /// The subject's organizations: to Kubernetes, the user's groups.
    pub organizations: Vec<String>,
    /// DNS names and IP addresses (in text form) at which a server answers.
    pub names: Vec<String>,
    /// What it may be used for.
    pub usage: Usage,
    /// How long it is good for.
    pub lifetime: Duration,
}

impl Profile {
    /// A client called `common_name`, in the groups `organizations`.
    pub fn client(common_name: impl Into<String>, organizations: &[&str], lifetime: Duration) -> Self {
        Self {
            common_name: common_name.into(),
            organizations: organizations.iter().map(ToString::to_string).collect(),
            names: Vec::new(),
            usage: Usage::Client,
            lifetime,
        }
    }

    /// A server that answers at `names`.
    pub fn server(common_name: impl Into<String>, names: Vec<String>, lifetime: Duration) -> Self {
        Self { common_name: common_name.into(), organizations: Vec::new(), names, usage: Usage::Server, lifetime }
    }

    /// One of several equals: a server that answers at `names` and a client of the others.
    pub fn peer(common_name: impl Into<String>, names: Vec<String>, lifetime: Duration) -> Self {
        Self { usage: Usage::Peer, ..Self::server(common_name, names, lifetime) }
    }
}

/// A certificate authority: its own certificate, and the key that signs what it issues.
pub struct Authority {
    certificate_pem: String,
    certificate_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("hash", &self.hash()).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority with a new key, good from `now` (less a little for clocks that lag) for `lifetime`.
    pub fn create(common_name: &str, now: SystemTime, lifetime: Duration) -> Result<Self, Error> {
        let what = || format!("certificate authority {common_name:?}");
        let key = KeyPair::generate().map_err(|error| Error::make(what(), error))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(common_name, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, lifetime);
        let certificate = params.self_signed(&key).map_err(|error| Error::make(what(), error))?;
        Ok(Self { certificate_pem: certificate.pem(), certificate_der: certificate.der().clone(), issuer: Issuer::new(params, key) })
    }

    /// Takes up an authority from what [`Self::certificate_pem`] and [`Self::key_pem`] gave.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let certificate_der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|error| Error::read("certificate authority's certificate", error))?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| Error::read("certificate authority's key", error))?;
        if certificate_public_key(&certificate_der)? != rcgen::PublicKeyData::der_bytes(&key) {
            return Err(Error::read("certificate authority", "the key does not belong to the certificate"));
        }
        let issuer =
            Issuer::from_ca_cert_der(&certificate_der, key).map_err(|error| Error::read("certificate authority's certificate", error))?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), certificate_der, issuer })
    }

    /// The authority's certificate: what others need in order to trust it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The signing key. Whoever has it is the cluster.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// SHA-256 of the certificate (DER), in hexadecimal: how a join token names its cluster.
    pub fn hash(&self) -> String {
        sha256_hex(&self.certificate_der)
    }

    /// Issues a certificate with a new key.
    pub fn issue(&self, profile: &Profile, now: SystemTime) -> Result<Identity, Error> {
        let what = || format!("certificate for {:?}", profile.common_name);
        let key = KeyPair::generate().map_err(|error| Error::make(what(), error))?;
        let certificate = self.params(profile, now)?.signed_by(&key, &self.issuer).map_err(|error| Error::make(what(), error))?;
        Ok(Identity { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    fn params(&self, profile: &Profile, now: SystemTime) -> Result<CertificateParams, Error> {
        let mut params = CertificateParams::default();
        let organizations: Vec<&str> = profile.organizations.iter().map(String::as_str).collect();
        params.distinguished_name = distinguished_name(&profile.common_name, &organizations)?;
        params.subject_alt_names = profile.names.iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
        self.restrict(&mut params, profile.usage, now, profile.lifetime);
        Ok(params)
    }

    /// Issues a certificate for a public key (PEM) whose private half stays with whoever made it: see [`new_key`]. All that the
    /// certificate says is ours.
    pub fn certify(&self, profile: &Profile, public_key_pem: &str, now: SystemTime) -> Result<String, Error> {
        let key = SubjectPublicKeyInfo::from_pem(public_key_pem).map_err(|error| Error::read("public key", error))?;
        let params = self.params(profile, now)?;
        let certificate = params.signed_by(&key, &self.issuer);
        certificate
            .map(|certificate| certificate.pem())
            .map_err(|error| Error::make(format!("certificate for {:?}", profile.common_name), error))
    }

    /// Issues a certificate for a signing request (PEM): subject, names and public key are the request's, everything
    /// else is ours. Whether the requester may have that subject is for the caller to decide, before this.
    pub fn sign_request(&self, request_pem: &str, usage: Usage, now: SystemTime, lifetime: Duration) -> Result<String, Error> {
        let mut request =
            CertificateSigningRequestParams::from_pem(request_pem).map_err(|error| Error::read("certificate signing request", error))?;
        self.restrict(&mut request.params, usage, now, lifetime);
        let certificate = request.signed_by(&self.issuer).map_err(|error| Error::make("certificate for a signing request", error))?;
        Ok(certificate.pem())
    }

    /// Sets everything that the subject has no say in.
    fn restrict(&self, params: &mut CertificateParams, usage: Usage, now: SystemTime, lifetime: Duration) {
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = match usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Peer => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        set_validity(params, now, lifetime);
    }
}

/// A new key pair, both halves as PEM: the private one (PKCS#8), and the public one for [`Authority::certify`].
pub fn new_key() -> Result<(String, String), Error> {
    let key = KeyPair::generate().map_err(|error| Error::make("key".to_owned(), error))?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, lifetime: Duration) {
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + lifetime).into();
}

/// The certificate library keeps one value an attribute type; spelling the type in two ways makes room for two.
fn distinguished_name(common_name: &str, organizations: &[&str]) -> Result<DistinguishedName, Error> {
    const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
    let mut name = DistinguishedName::new();
    match organizations {
        [] => {}
        [only] => name.push(DnType::OrganizationName, *only),
        [first, second] => {
            name.push(DnType::OrganizationName, *first);
            name.push(DnType::CustomDnType(ORGANIZATION.to_vec()), *second);
        }
        more => {
            let what = format!("certificate for {common_name:?}");
            return Err(Error::make(what, format!("{} organizations, at most two are supported", more.len())));
        }
    }
    name.push(DnType::CommonName, common_name);
    Ok(name)
}

fn alternative_name(name: &str) -> Result<SanType, Error> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => {
            let name_ia5 = name.try_into().map_err(|error| Error::make(format!("certificate for the name {name:?}"), error))?;
            Ok(SanType::DnsName(name_ia5))
        }
    }
}

/// The bare public key bits of a certificate.
fn certificate_public_key(der: &[u8]) -> Result<Vec<u8>, Error> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|error| Error::read("certificate", error))?;
    Ok(certificate.public_key().subject_public_key.data.to_vec())
}
