//! What a certificate says: to whom it belongs, and how long.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::Error;

/// Whom a certificate names. To Kubernetes, a user and the groups it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The common name.
    pub common_name: String,
    /// All organizations, in the order of the certificate.
    pub organizations: Vec<String>,
}

/// What people want to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Whom it names.
    pub subject: Subject,
    /// The issuer's common name.
    pub issuer: String,
    /// DNS names and IP addresses.
    pub names: Vec<String>,
    /// Good from.
    pub not_before: SystemTime,
    /// Good until.
    pub not_after: SystemTime,
    /// Whether it is a certificate authority's own.
    pub is_authority: bool,
}

impl CertificateInfo {
    /// Time left until it expires; `None` when it has.
    pub fn remaining(&self, now: SystemTime) -> Option<Duration> {
        self.not_after.duration_since(now).ok()
    }
}

/// Whom the certificate `der` names. Says nothing about whether it is to be trusted.
pub fn subject(der: &[u8]) -> Result<Subject, Error> {
    parse(der).map(|certificate| subject_of(&certificate))
}

/// Reads the first certificate of a PEM document.
pub fn certificate_info(pem: &str) -> Result<CertificateInfo, Error> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| Error::read("certificate", error))?;
    let certificate = parse(&der)?;
    let alternative = certificate.subject_alternative_name().map_err(|error| Error::read("certificate's names", error))?;
    let names = alternative.map(|extension| extension.value.general_names.iter().filter_map(name_text).collect()).unwrap_or_default();
    let issuer = certificate.issuer().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
    Ok(CertificateInfo {
        subject: subject_of(&certificate),
        issuer: issuer.to_owned(),
        names,
        not_before: instant(certificate.validity().not_before.timestamp()),
        not_after: instant(certificate.validity().not_after.timestamp()),
        is_authority: certificate.is_ca(),
    })
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    x509_parser::parse_x509_certificate(der).map(|(_, certificate)| certificate).map_err(|error| Error::read("certificate", error))
}

fn subject_of(certificate: &X509Certificate<'_>) -> Subject {
    let subject = certificate.subject();
    Subject {
        common_name: subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned(),
        organizations: subject.iter_organization().filter_map(|name| name.as_str().ok()).map(str::to_owned).collect(),
    }
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let address = if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
                IpAddr::from(Ipv4Addr::from(four))
            } else {
                IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?))
            };
            Some(address.to_string())
        }
        _ => None,
    }
}

fn instant(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}
