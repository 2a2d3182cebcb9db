//! Join tokens: what a new server or worker is told so that it finds the right cluster and may enter it.
//!
//! A token reads `TC1<sha-256 of the CA certificate>::<role>:<secret>`. The hash lets the joiner check whom it talks
//! to before it says the secret; the secret lets the cluster check the joiner.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Error, same_secret};

/// Format number included, so that a later form can be told apart.
const PREFIX: &str = "TC1";
/// Hexadecimal digits of a SHA-256.
const HASH_DIGITS: usize = 64;

/// As what a token lets its bearer join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// One of the servers.
    Server,
    /// A worker.
    Agent,
}

impl Role {
    /// The name in the token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Agent => "agent",
        }
    }
}

/// A join token taken apart. `Debug` leaves the secret out; `Display` gives the whole token.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the cluster's CA certificate, in hexadecimal.
    pub authority_hash: String,
    /// As what the bearer may join.
    pub role: Role,
    /// What only the cluster and the bearer know.
    pub secret: String,
}

impl JoinToken {
    /// Whether the certificate authority that a server has shown (its hash, see [`crate::Authority::hash`]) is the
    /// one this token names.
    pub fn check_authority(&self, found: &str) -> Result<(), Error> {
        if same_secret(&self.authority_hash, found) {
            return Ok(());
        }
        Err(Error::WrongAuthority { expected: self.authority_hash.clone(), found: found.to_owned() })
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}::{}:{}", self.authority_hash, self.role.as_str(), self.secret)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("authority_hash", &self.authority_hash).field("role", &self.role).finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = text.trim().strip_prefix(PREFIX).ok_or(Error::JoinToken("it does not begin with TC1"))?;
        let (hash, rest) = rest.split_once("::").ok_or(Error::JoinToken("there is no '::' after the hash"))?;
        if hash.len() != HASH_DIGITS || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::JoinToken("the hash is not 64 hexadecimal digits"));
        }
        let (role, secret) = rest.split_once(':').ok_or(Error::JoinToken("there is no ':' between role and secret"))?;
        let role = match role {
            "server" => Role::Server,
            "agent" => Role::Agent,
            _ => return Err(Error::JoinToken("the role is neither server nor agent")),
        };
        if secret.is_empty() {
            return Err(Error::JoinToken("the secret is empty"));
        }
        Ok(Self { authority_hash: hash.to_ascii_lowercase(), role, secret: secret.to_owned() })
    }
}

/// A new secret: 256 random bits in URL-safe letters.
pub fn new_secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn token() -> JoinToken {
        JoinToken { authority_hash: "ab".repeat(32), role: Role::Agent, secret: new_secret() }
    }

    #[test]
    fn a_token_survives_its_text() {
        let token = token();
        assert_eq!(token.to_string().parse::<JoinToken>().unwrap(), token);
        assert_eq!(format!(" {token}\n").parse::<JoinToken>().unwrap(), token);
    }

    #[test]
    fn malformed_tokens_say_what_is_wrong() {
        let good = token().to_string();
        for (bad, reason) in [
            (good.replace("TC1", "K10"), "TC1"),
            (good.replace("::", ":"), "'::'"),
            (good.replace("abab", ""), "64"),
            (good.replace("agent", "admin"), "role"),
            (good.split("agent:").next().unwrap().to_owned() + "agent:", "empty"),
        ] {
            let error = bad.parse::<JoinToken>().unwrap_err().to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn another_authority_is_refused() {
        let token = token();
        token.check_authority(&"ab".repeat(32)).unwrap();
        assert!(matches!(token.check_authority(&"cd".repeat(32)), Err(Error::WrongAuthority { .. })));
    }

    #[test]
    fn secrets_stay_out_of_logs() {
        let token = token();
        assert!(!format!("{token:?}").contains(&token.secret));
        assert_ne!(new_secret(), new_secret());
    }
}
