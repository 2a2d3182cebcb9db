//! Certificates as a handshake sees them, and tokens as a checker sees them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use tricorn_pki::*;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn authority() -> Authority {
    Authority::create("test-ca", SystemTime::now(), 10 * YEAR).unwrap()
}

/// Shakes hands in memory and gives the certificate that the server saw.
fn handshake(server: rustls::ServerConfig, client: rustls::ClientConfig, name: &str) -> Result<Option<Subject>, rustls::Error> {
    let mut server = ServerConnection::new(Arc::new(server))?;
    let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from(name.to_owned()).unwrap())?;
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    Ok(server.peer_certificates().map(|chain| subject(&chain[0]).unwrap()))
}

fn server_identity(authority: &Authority) -> Arc<RotatingIdentity> {
    let profile = Profile::server("api", vec!["api.example".into(), "127.0.0.1".into()], YEAR);
    RotatingIdentity::new(&authority.issue(&profile, SystemTime::now()).unwrap()).unwrap()
}

#[test]
fn mutual_tls_shows_the_server_who_the_client_is() {
    let authority = authority();
    let profile = Profile::client("system:node:w1", &["system:nodes", "extra"], YEAR);
    let client = RotatingIdentity::new(&authority.issue(&profile, SystemTime::now()).unwrap()).unwrap();
    for name in ["api.example", "127.0.0.1"] {
        let server =
            server_config(server_identity(&authority), &ClientAuth::Required(authority.certificate_pem().into()), &["h2"]).unwrap();
        let client = client_config(authority.certificate_pem(), Some(client.clone()), &["h2"]).unwrap();
        let seen = handshake(server, client, name).unwrap().unwrap();
        assert_eq!(seen.common_name, "system:node:w1");
        assert_eq!(seen.organizations, ["system:nodes", "extra"]);
    }
}

#[test]
fn strangers_wrong_names_and_wrong_usages_are_refused() {
    let (authority, other) = (authority(), authority());
    let required = ClientAuth::Required(authority.certificate_pem().into());
    let server = |clients: &ClientAuth| server_config(server_identity(&authority), clients, &[]).unwrap();
    let anonymous = || client_config(authority.certificate_pem(), None, &[]).unwrap();
    assert!(handshake(server(&required), anonymous(), "api.example").is_err(), "no certificate");
    assert!(handshake(server(&ClientAuth::None), anonymous(), "elsewhere.example").is_err(), "wrong name");
    let optional = ClientAuth::Optional(authority.certificate_pem().into());
    assert_eq!(handshake(server(&optional), anonymous(), "api.example").unwrap(), None);

    let distrustful = client_config(other.certificate_pem(), None, &[]).unwrap();
    assert!(handshake(server(&ClientAuth::None), distrustful, "api.example").is_err(), "foreign server");
    let stranger = RotatingIdentity::new(&other.issue(&Profile::client("mallory", &["system:masters"], YEAR), SystemTime::now()).unwrap());
    let stranger = client_config(authority.certificate_pem(), Some(stranger.unwrap()), &[]).unwrap();
    assert!(handshake(server(&optional), stranger, "api.example").is_err(), "foreign client");
    let misused = client_config(authority.certificate_pem(), Some(server_identity(&authority)), &[]).unwrap();
    assert!(handshake(server(&required), misused, "api.example").is_err(), "server certificate used by a client");
}

#[test]
fn an_expired_certificate_is_refused_and_a_rotated_one_is_shown() {
    let authority = authority();
    let past = SystemTime::now() - 2 * YEAR;
    let old = authority.issue(&Profile::server("api", vec!["api.example".into()], YEAR), past).unwrap();
    assert_eq!(certificate_info(&old.certificate_pem).unwrap().remaining(SystemTime::now()), None);
    let identity = RotatingIdentity::new(&old).unwrap();
    let server = server_config(identity.clone(), &ClientAuth::None, &[]).unwrap();
    let client = client_config(authority.certificate_pem(), None, &[]).unwrap();
    assert!(handshake(server.clone(), client.clone(), "api.example").is_err());
    let new = authority.issue(&Profile::server("api", vec!["api.example".into()], YEAR), SystemTime::now()).unwrap();
    identity.replace(&new).unwrap();
    handshake(server, client, "api.example").unwrap();
}

#[test]
fn an_authority_survives_its_files() {
    let authority = authority();
    let again = Authority::from_pem(authority.certificate_pem(), &authority.key_pem()).unwrap();
    assert_eq!(again.hash(), authority.hash());
    let leaf = again.issue(&Profile::client("someone", &[], YEAR), SystemTime::now()).unwrap();
    let info = certificate_info(&leaf.certificate_pem).unwrap();
    assert_eq!((info.issuer.as_str(), info.is_authority), ("test-ca", false));
    assert!(certificate_info(authority.certificate_pem()).unwrap().is_authority);
    let foreign = self::authority();
    assert!(Authority::from_pem(authority.certificate_pem(), &foreign.key_pem()).is_err(), "the key of another one");
}

#[test]
fn a_signing_request_gets_its_subject_but_not_its_wishes() {
    let authority = authority();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wish = rcgen::CertificateParams::new(vec!["w1".to_owned(), "10.0.0.1".to_owned()]).unwrap();
    wish.distinguished_name.push(rcgen::DnType::CommonName, "system:node:w1");
    wish.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    wish.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = wish.serialize_request(&key).unwrap().pem().unwrap();
    let signed = authority.sign_request(&request, Usage::Client, SystemTime::now(), YEAR).unwrap();
    let info = certificate_info(&signed).unwrap();
    assert!(!info.is_authority, "a request must not make an authority");
    assert_eq!(info.subject, Subject { common_name: "system:node:w1".into(), organizations: vec!["system:nodes".into()] });
    assert_eq!(info.names, ["w1", "10.0.0.1"]);
    assert!(info.remaining(SystemTime::now()).unwrap() <= YEAR);
}

fn claims() -> Claims {
    Claims {
        aud: vec!["https://kubernetes.default.svc".into()],
        exp: 2_000,
        iat: 1_000,
        nbf: 1_000,
        iss: "https://kubernetes.default.svc".into(),
        jti: "id".into(),
        sub: "system:serviceaccount:default:builder".into(),
        kubernetes: KubernetesClaims {
            namespace: "default".into(),
            serviceaccount: Reference { name: "builder".into(), uid: "u1".into() },
            pod: Some(Reference { name: "p".into(), uid: "u2".into() }),
            ..KubernetesClaims::default()
        },
    }
}

#[test]
fn tokens_are_checked_for_signature_time_issuer_and_audience() {
    let key = ServiceAccountKey::from_pem(&ServiceAccountKey::create().unwrap().private_pem()).unwrap();
    let verifier = key.verifier(vec![claims().iss]);
    let token = key.sign(&claims()).unwrap();
    assert_eq!(verifier.verify(&token, 1_500, &claims().aud), Ok(claims()));
    assert_eq!(verifier.verify(&token, 2_000, &claims().aud), Err(TokenError::Expired));
    assert_eq!(verifier.verify(&token, 900, &claims().aud), Err(TokenError::NotYet));
    assert_eq!(verifier.verify(&token, 970, &claims().aud), Ok(claims()));
    assert!(matches!(verifier.verify(&token, 1_500, &["vault".into()]), Err(TokenError::Audience { .. })));
    assert_eq!(key.verifier(vec!["elsewhere".into()]).verify(&token, 1_500, &claims().aud), Err(TokenError::NotOurs));
    assert_eq!(verifier.verify("opaque", 1_500, &claims().aud), Err(TokenError::NotOurs));

    let stranger = ServiceAccountKey::create().unwrap();
    assert!(matches!(verifier.verify(&stranger.sign(&claims()).unwrap(), 1_500, &claims().aud), Err(TokenError::Invalid(_))));
    let mut forged: Vec<&str> = token.split('.').collect();
    let other = key.sign(&Claims { exp: 9_999, ..claims() }).unwrap();
    forged[1] = other.split('.').nth(1).unwrap();
    assert!(matches!(verifier.verify(&forged.join("."), 1_500, &claims().aud), Err(TokenError::Invalid(_))));
}

#[test]
fn keys_can_be_exchanged_and_are_published() {
    let (old, new) = (ServiceAccountKey::create().unwrap(), ServiceAccountKey::create().unwrap());
    let mut verifier = new.verifier(vec![claims().iss]);
    verifier.add_public_pem(&old.public_pem()).unwrap();
    for key in [&old, &new] {
        verifier.verify(&key.sign(&claims()).unwrap(), 1_500, &claims().aud).unwrap();
    }
    let set = verifier.key_set();
    assert_eq!(set["keys"][0]["kid"], new.id());
    assert_eq!(set["keys"][1]["kid"], old.id());
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_value(set).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwks.keys[1]).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.validate_exp = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Claims>(old.sign(&claims()).unwrap(), &key, &validation).unwrap();
}
