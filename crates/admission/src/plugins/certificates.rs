//! The three plugins of certificate signing requests: who may approve, who may sign, and what may not be asked for.

use async_trait::async_trait;
use base64::Engine;
use serde_json::Value;
use tricorn_authz::Attributes;
use tricorn_meta::Status;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use crate::{Objects, Operation, Plugin, Request};

const GROUP: &str = "certificates.k8s.io";
const RESOURCE: &str = "certificatesigningrequests";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const SUPERUSERS: &str = "system:masters";

/// Approving needs the verb `approve` on the signer.
pub struct CertificateApproval;

/// Handing out a certificate needs the verb `sign` on the signer.
pub struct CertificateSigning;

/// The signer of API clients makes no superusers.
pub struct CertificateSubjectRestriction;

fn signer(csr: &Value) -> &str {
    csr.pointer("/spec/signerName").and_then(Value::as_str).unwrap_or_default()
}

/// Whether the user holds `verb` on the signer, or on all signers of its domain.
fn may(request: &Request<'_>, objects: &dyn Objects, verb: &str, signer: &str) -> bool {
    let asks = |name: &str| {
        objects.authorize(&Attributes { name, api_version: "*", ..Attributes::resource(request.user, verb, GROUP, "signers") }).allowed()
    };
    let domain = signer.split_once('/').map(|(domain, _)| format!("{domain}/*"));
    asks(signer) || domain.is_some_and(|domain| asks(&domain))
}

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Update && request.is(GROUP, RESOURCE, "approval")
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        // The signer cannot change: the stored one counts.
        let signer = signer(request.stored());
        if may(request, objects, "approve", signer) {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        request.operation == Operation::Update && request.is(GROUP, RESOURCE, "status")
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let signed = |csr: &Value| csr.pointer("/status/certificate").and_then(Value::as_str).unwrap_or_default().to_owned();
        let failed = |csr: &Value| condition(csr, "Failed").cloned();
        let (old, new) = (request.stored(), request.new_object());
        if signed(old) == signed(new) && failed(old) == failed(new) {
            return Ok(());
        }
        let signer = signer(old);
        if may(request, objects, "sign", signer) {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to sign requests with signerName {signer:?}")))
    }
}

fn condition<'a>(csr: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = csr.pointer("/status/conditions").and_then(Value::as_array)?;
    conditions.iter().find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
}

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        request.creates(GROUP, RESOURCE) && signer(request.new_object()) == CLIENT_SIGNER
    }

    async fn validate(&self, request: &mut Request<'_>, _objects: &dyn Objects) -> Result<(), Status> {
        let encoded = request.new_object().pointer("/spec/request").and_then(Value::as_str).unwrap_or_default();
        let organizations = organizations(encoded).map_err(|why| request.forbidden(format!("unable to parse csr: {why}")))?;
        if organizations.iter().any(|o| o == SUPERUSERS) {
            return Err(request.forbidden(format!("use of {CLIENT_SIGNER} signer with {SUPERUSERS} group is not allowed")));
        }
        Ok(())
    }
}

/// The groups that a request asks for: the organizations of its subject. `encoded` is base64 of PEM.
fn organizations(encoded: &str) -> Result<Vec<String>, String> {
    let pem = base64::engine::general_purpose::STANDARD.decode(encoded).map_err(|e| e.to_string())?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
    if pem.label != "CERTIFICATE REQUEST" {
        return Err("PEM block type must be CERTIFICATE REQUEST".to_owned());
    }
    let (_, csr) = X509CertificationRequest::from_der(&pem.contents).map_err(|e| e.to_string())?;
    let subject = &csr.certification_request_info.subject;
    Ok(subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect())
}
