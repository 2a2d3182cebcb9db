//! Service account tokens: signed statements by which a pod proves whose it is, and the key set by which others
//! (any OIDC client) can check them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Error;

/// How far the clocks of issuer and checker may be apart: a token may seem to come from this many seconds ahead.
const LEEWAY_SECONDS: i64 = 60;

/// Name and uid of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// metadata.name
    pub name: String,
    /// metadata.uid
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// What the claim `kubernetes.io` says: the service account, and what the token dies with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesClaims {
    /// Namespace of the service account, and of pod and secret.
    pub namespace: String,
    /// The node the pod runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The pod that the token was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The secret that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The service account.
    pub serviceaccount: Reference,
    /// From this time on (Unix seconds) use of the token is worth a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// All claims of a service account token. Times are Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom the token is meant.
    pub aud: Vec<String>,
    /// Not good any more from here on.
    pub exp: i64,
    /// Issued at.
    pub iat: i64,
    /// Who issued it.
    pub iss: String,
    /// The token's own id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// What Kubernetes adds.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: KubernetesClaims,
    /// Not good before.
    pub nbf: i64,
    /// `system:serviceaccount:NAMESPACE:NAME`
    pub sub: String,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of this kind, or from another issuer: another way of authenticating may take it.
    #[error("not a service account token of this cluster")]
    NotOurs,
    /// Signature or form are wrong.
    #[error("invalid service account token: {0}")]
    Invalid(String),
    /// Its time has passed.
    #[error("service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("service account token is not valid yet")]
    NotYet,
    /// Meant for somebody else.
    #[error("invalid bearer token, token audiences {found:?} is invalid for the target audiences {expected:?}")]
    Audience {
        /// In the token.
        found: Vec<String>,
        /// Wanted here.
        expected: Vec<String>,
    },
}

/// A key that signs tokens (ECDSA P-256, ES256).
pub struct ServiceAccountKey {
    pair: KeyPair,
    signer: EncodingKey,
    id: String,
}

impl std::fmt::Debug for ServiceAccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccountKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ServiceAccountKey {
    /// Makes a new key.
    pub fn create() -> Result<Self, Error> {
        Self::from_pair(KeyPair::generate().map_err(|error| Error::make("service account key", error))?)
    }

    /// Takes up a key from the PEM that [`Self::private_pem`] gave.
    pub fn from_pem(private_pem: &str) -> Result<Self, Error> {
        let pair = KeyPair::from_pem(private_pem).map_err(|error| Error::read("service account key", error))?;
        if pair.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(Error::read("service account key", "only ECDSA P-256 keys are supported"));
        }
        Self::from_pair(pair)
    }

    fn from_pair(pair: KeyPair) -> Result<Self, Error> {
        let signer = EncodingKey::from_ec_der(pair.serialized_der());
        let id = key_id(&pair.subject_public_key_info());
        Ok(Self { pair, signer, id })
    }

    /// The private key (PKCS#8 PEM).
    pub fn private_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// The public key (PEM), for servers that only check tokens.
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// How the header of a token names this key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Signs `claims`: the token.
    pub fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = None;
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.signer).map_err(|error| Error::make("service account token", error))
    }

    /// Checks tokens that this key signed.
    pub fn verifier(&self, issuers: Vec<String>) -> Verifier {
        Verifier { keys: vec![VerifyingKey::new(self.pair.public_key_raw(), self.id.clone())], issuers }
    }
}

/// One public key.
#[derive(Clone, Debug)]
struct VerifyingKey {
    id: String,
    /// Both coordinates, uncompressed, without the leading 4.
    point: Vec<u8>,
    key: DecodingKey,
}

impl VerifyingKey {
    fn new(raw: &[u8], id: String) -> Self {
        Self { id, point: raw.get(1..).unwrap_or_default().to_vec(), key: DecodingKey::from_ec_der(raw) }
    }
}

/// Checks tokens against one or more keys.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    issuers: Vec<String>,
}

impl Verifier {
    /// Accepts another key (public PEM) too, as while keys are being exchanged.
    pub fn add_public_pem(&mut self, public_pem: &str) -> Result<(), Error> {
        let (raw, id) = public_key_from_pem(public_pem)?;
        self.keys.push(VerifyingKey::new(&raw, id));
        Ok(())
    }

    /// Checks signature, issuer, times and audience of `token`; `now` in Unix seconds. One of `audiences` must be among the
    /// token's. Whether service account, pod and node still exist is for the caller to look up.
    pub fn verify(&self, token: &str, now: i64, audiences: &[String]) -> Result<Claims, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::NotOurs)?;
        let issuer = unverified_issuer(token).ok_or(TokenError::NotOurs)?;
        if !self.issuers.contains(&issuer) {
            return Err(TokenError::NotOurs);
        }
        let claims = self.check_signature(token, header.kid.as_deref())?;
        if now >= claims.exp {
            return Err(TokenError::Expired);
        }
        if now + LEEWAY_SECONDS < claims.nbf {
            return Err(TokenError::NotYet);
        }
        if !claims.aud.iter().any(|audience| audiences.contains(audience)) {
            return Err(TokenError::Audience { found: claims.aud, expected: audiences.to_vec() });
        }
        Ok(claims)
    }

    /// Tries the key that the token names, or all of them when it names none.
    fn check_signature(&self, token: &str, id: Option<&str>) -> Result<Claims, TokenError> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        // Times and audience are checked by the caller, against a clock that is handed in.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let mut last = TokenError::Invalid("signed by a key that is not known".to_owned());
        for key in self.keys.iter().filter(|key| id.is_none_or(|id| id == key.id)) {
            match jsonwebtoken::decode::<Claims>(token, &key.key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => last = TokenError::Invalid(error.to_string()),
            }
        }
        Err(last)
    }

    /// The JSON Web Key Set to be served at `/openid/v1/jwks`.
    pub fn key_set(&self) -> Value {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .map(|key| {
                let (x, y) = key.point.split_at(key.point.len() / 2);
                json!({
                    "use": "sig", "kty": "EC", "kid": key.id, "crv": "P-256", "alg": "ES256",
                    "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
                })
            })
            .collect();
        json!({ "keys": keys })
    }

    /// The document to be served at `/.well-known/openid-configuration`.
    pub fn discovery(&self, keys_url: &str) -> Value {
        json!({
            "issuer": self.issuers.first(),
            "jwks_uri": keys_url,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

/// A public key's raw point and id, from PEM.
pub fn public_key_from_pem(public_pem: &str) -> Result<(Vec<u8>, String), Error> {
    let info = rcgen::SubjectPublicKeyInfo::from_pem(public_pem).map_err(|error| Error::read("service account public key", error))?;
    if info.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(Error::read("service account public key", "only ECDSA P-256 keys are supported"));
    }
    Ok((info.der_bytes().to_vec(), key_id(&info.subject_public_key_info())))
}

/// Who a token says it is from, before anything of it has been checked.
fn unverified_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Issuer>(&payload).ok().map(|claims| claims.iss)
}

fn key_id(public_key_info: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(public_key_info))
}
