//! Tokens that are signed statements: who the client is, at which auth revision, and until when.

use std::fmt;
use std::fs;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey, EncodeRsaPrivateKey, EncodeRsaPublicKey};
use serde::{Deserialize, Serialize};
use tricorn_store::Caller;

/// How long a token is good when the options do not say.
const TTL: Duration = Duration::from_secs(300);

/// Signs tokens, or only checks them when there is no private key.
pub struct SignedTokens {
    algorithm: Algorithm,
    signer: Option<EncodingKey>,
    checker: DecodingKey,
    validation: Validation,
    ttl: Duration,
}

impl fmt::Debug for SignedTokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SignedTokens").field("algorithm", &self.algorithm).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

/// etcd's claims.
#[derive(Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: u64,
    exp: u64,
}

struct Keys {
    signer: Option<EncodingKey>,
    checker: DecodingKey,
}

impl SignedTokens {
    /// Reads etcd's options: `sign-method`, `priv-key`, `pub-key`, `ttl`.
    pub fn new(options: &[(&str, &str)]) -> Result<Self, String> {
        let option = |name: &str| options.iter().find(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| *value);
        for (name, _) in options {
            if !["sign-method", "priv-key", "pub-key", "ttl"].contains(name) {
                tracing::warn!(option = name, "unknown option of signed tokens");
            }
        }
        let method = option("sign-method").ok_or("signed tokens need a sign-method")?;
        let algorithm = Algorithm::from_str(method).map_err(|_| format!("sign-method {method} is not known"))?;
        let read = |name: &str| option(name).map(|file| fs::read_to_string(file).map_err(|error| format!("{name} {file}: {error}")));
        let (private, public) = (read("priv-key").transpose()?, read("pub-key").transpose()?);
        let ttl = option("ttl").map_or(Ok(TTL), |text| duration(text).ok_or_else(|| format!("ttl {text}: want a time as 5m or 90s")))?;
        let keys = Keys::read(algorithm, private.as_deref(), public.as_deref())?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        validation.validate_aud = false;
        Ok(Self { algorithm, signer: keys.signer, checker: keys.checker, validation, ttl })
    }

    /// A token that says who the caller is; none when only a public key was given.
    pub(crate) fn sign(&self, caller: &Caller) -> Option<Result<String, String>> {
        let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + self.ttl;
        let claims = Claims { username: caller.user.clone(), revision: caller.revision, exp: until.as_secs() };
        let signed = jsonwebtoken::encode(&Header::new(self.algorithm), &claims, self.signer.as_ref()?);
        Some(signed.map_err(|error| error.to_string()))
    }

    /// What a token says, if it is ours and its time is not up.
    pub(crate) fn verify(&self, token: &str) -> Option<Caller> {
        match jsonwebtoken::decode::<Claims>(token, &self.checker, &self.validation) {
            Ok(token) => Some(Caller { user: token.claims.username, revision: token.claims.revision }),
            Err(error) => {
                tracing::debug!(%error, "a token was refused");
                None
            }
        }
    }
}

impl Keys {
    fn read(algorithm: Algorithm, private: Option<&str>, public: Option<&str>) -> Result<Self, String> {
        let given = private.or(public).ok_or("signed tokens need a priv-key, or a pub-key to check them only")?;
        let keys = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                // The bytes of the file are the secret.
                let secret = private.ok_or("a sign-method with a shared secret needs it as priv-key")?.as_bytes();
                return Ok(Self { signer: Some(EncodingKey::from_secret(secret)), checker: DecodingKey::from_secret(secret) });
            }
            Algorithm::ES256 => Self::p256(given, private.is_some()),
            Algorithm::ES384 => Self::p384(given, private.is_some()),
            Algorithm::EdDSA => Self::ed25519(given, private.is_some()),
            _ => Self::rsa(given, private.is_some()),
        };
        let keys = keys.ok_or_else(|| format!("the key is not one for {algorithm:?}, or not in PEM"))?;
        if let (Some(_), Some(public)) = (private, public) {
            let other = Self::read(algorithm, None, Some(public))?;
            if other.checker.try_get_as_bytes().ok() != keys.checker.try_get_as_bytes().ok() {
                return Err("priv-key and pub-key do not belong together".into());
            }
        }
        Ok(keys)
    }

    fn rsa(pem: &str, private: bool) -> Option<Self> {
        let (signer, public) = if private {
            let key = rsa::RsaPrivateKey::from_pkcs8_pem(pem).ok().or_else(|| rsa::RsaPrivateKey::from_pkcs1_pem(pem).ok())?;
            (Some(EncodingKey::from_rsa_der(key.to_pkcs1_der().ok()?.as_bytes())), key.to_public_key())
        } else {
            (None, rsa::RsaPublicKey::from_public_key_pem(pem).ok().or_else(|| rsa::RsaPublicKey::from_pkcs1_pem(pem).ok())?)
        };
        Some(Self { signer, checker: DecodingKey::from_rsa_der(public.to_pkcs1_der().ok()?.as_bytes()) })
    }

    fn p256(pem: &str, private: bool) -> Option<Self> {
        let (signer, public) = if private {
            let key = p256::SecretKey::from_pkcs8_pem(pem).ok().or_else(|| p256::SecretKey::from_sec1_pem(pem).ok())?;
            (Some(EncodingKey::from_ec_der(key.to_pkcs8_der().ok()?.as_bytes())), key.public_key())
        } else {
            (None, p256::PublicKey::from_public_key_pem(pem).ok()?)
        };
        Some(Self { signer, checker: DecodingKey::from_ec_der(public.to_encoded_point(false).as_bytes()) })
    }

    fn p384(pem: &str, private: bool) -> Option<Self> {
        let (signer, public) = if private {
            let key = p384::SecretKey::from_pkcs8_pem(pem).ok().or_else(|| p384::SecretKey::from_sec1_pem(pem).ok())?;
            (Some(EncodingKey::from_ec_der(key.to_pkcs8_der().ok()?.as_bytes())), key.public_key())
        } else {
            (None, p384::PublicKey::from_public_key_pem(pem).ok()?)
        };
        Some(Self { signer, checker: DecodingKey::from_ec_der(public.to_encoded_point(false).as_bytes()) })
    }

    fn ed25519(pem: &str, private: bool) -> Option<Self> {
        let (signer, public) = if private {
            let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem).ok()?;
            (Some(EncodingKey::from_ed_der(key.to_pkcs8_der().ok()?.as_bytes())), key.verifying_key())
        } else {
            (None, ed25519_dalek::VerifyingKey::from_public_key_pem(pem).ok()?)
        };
        Some(Self { signer, checker: DecodingKey::from_ed_der(public.as_bytes()) })
    }
}

/// A time as Go writes it, in whole numbers: `1h30m`, `90s`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit);
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(match unit {
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return None,
        })?;
        rest = next;
    }
    (total > Duration::ZERO).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::pkcs8::{EncodePublicKey, LineEnding};
    use std::path::Path;

    fn file(dir: &Path, name: &str, text: &str) -> String {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn alice() -> Caller {
        Caller { user: "alice".into(), revision: 7 }
    }

    /// Signed with the private key, checked with the public one alone, and refused by all others.
    fn round(method: &str, private: &str, public: &str) {
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = (file(dir.path(), "private", private), file(dir.path(), "public", public));
        let both = SignedTokens::new(&[("sign-method", method), ("priv-key", &private), ("pub-key", &public)]).unwrap();
        let checks = SignedTokens::new(&[("sign-method", method), ("pub-key", &public), ("ttl", "")]).unwrap();
        let token = both.sign(&alice()).unwrap().unwrap();
        assert_eq!(both.verify(&token), Some(alice()), "{method}");
        assert_eq!(checks.verify(&token), Some(alice()), "{method}");
        assert!(checks.sign(&alice()).is_none());
        let (body, signature) = token.rsplit_once('.').unwrap();
        assert_eq!(checks.verify(&format!("{body}x.{signature}")), None);
        let other = file(dir.path(), "secret", "another secret");
        let foreign = SignedTokens::new(&[("sign-method", "HS256"), ("priv-key", &other)]).unwrap();
        assert_eq!(checks.verify(&foreign.sign(&alice()).unwrap().unwrap()), None);
        assert_eq!(foreign.verify(&token), None);
    }

    #[test]
    fn every_kind_of_key_signs_and_checks() {
        let bytes = [7; 32];
        let key = p256::SecretKey::from_slice(&bytes).unwrap();
        let public = key.public_key().to_public_key_pem(LineEnding::LF).unwrap();
        round("ES256", &key.to_sec1_pem(LineEnding::LF).unwrap(), &public);
        round("ES256", &key.to_pkcs8_pem(LineEnding::LF).unwrap(), &public);
        let key = p384::SecretKey::from_slice(&[7; 48]).unwrap();
        round("ES384", &key.to_pkcs8_pem(LineEnding::LF).unwrap(), &key.public_key().to_public_key_pem(LineEnding::LF).unwrap());
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let public = key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
        round("RS256", &rsa::pkcs8::EncodePrivateKey::to_pkcs8_pem(&key, LineEnding::LF).unwrap(), &public);
        round("PS384", &key.to_pkcs1_pem(LineEnding::LF).unwrap(), &key.to_public_key().to_pkcs1_pem(LineEnding::LF).unwrap());
        let key = ed25519_dalek::SigningKey::from_bytes(&bytes);
        round("EdDSA", &key.to_pkcs8_pem(LineEnding::LF).unwrap(), &key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let secret = file(dir.path(), "secret", "secret");
        for wrong in [
            &[("sign-method", "HS256")][..],
            &[("priv-key", secret.as_str())],
            &[("sign-method", "HS257"), ("priv-key", &secret)],
            &[("sign-method", "RS256"), ("priv-key", &secret)],
            &[("sign-method", "HS256"), ("priv-key", "/no/such/file")],
            &[("sign-method", "HS256"), ("priv-key", &secret), ("ttl", "soon")],
        ] {
            assert!(SignedTokens::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_token_ends() {
        let dir = tempfile::tempdir().unwrap();
        let secret = file(dir.path(), "secret", "secret");
        let tokens = SignedTokens::new(&[("sign-method", "HS256"), ("priv-key", &secret)]).unwrap();
        let past = Claims { username: "alice".into(), revision: 7, exp: 1_000_000_000 };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &past, tokens.signer.as_ref().unwrap()).unwrap();
        assert_eq!(tokens.verify(&token), None);
    }

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, seconds) in [("5m", 300), ("1h30m", 5400), ("90s", 90), ("1m1000ms", 61)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "5", "m", "0s", "5x", "-5m"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
