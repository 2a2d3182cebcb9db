//! Continue tokens: where the next page of a list starts, and of which revision it is.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tricorn_meta::Status;

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// The revision of the first page; `None`: whatever is current (an inconsistent continuation).
    pub revision: Option<i64>,
    /// The first key of the page, relative to the listed prefix.
    pub start: String,
}

#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default)]
    start: String,
}

impl Continuation {
    /// Reads a token that a client hands back.
    pub fn decode(token: &str) -> Result<Self, Status> {
        let invalid = |why: &str| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|error| invalid(&error.to_string()))?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if token.v != TOKEN_VERSION {
            return Err(invalid(&format!("server does not recognize this encoded version \"{}\"", token.v)));
        }
        if token.rv == 0 || token.rv < -1 {
            return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        if token.start.is_empty() {
            return Err(invalid("encoded start key empty (version meta.k8s.io/v1)"));
        }
        if token.start.split('/').any(|part| part == ".." || part == ".") {
            return Err(invalid(&format!("start key {:?} leaves its prefix", token.start)));
        }
        Ok(Self { revision: (token.rv > 0).then_some(token.rv), start: token.start })
    }

    /// The token for the client.
    pub fn encode(&self) -> String {
        let token = Token { v: TOKEN_VERSION.to_owned(), rv: self.revision.unwrap_or(-1), start: self.start.clone() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tokens_survive_the_way_to_the_client_and_back() {
        for revision in [Some(17), None] {
            let here = Continuation { revision, start: "ns/name\0".to_owned() };
            assert_eq!(Continuation::decode(&here.encode()).unwrap(), here);
        }
        assert!(Continuation::decode("nonsense").is_err());
        assert!(Continuation::decode(&Continuation { revision: Some(1), start: "../x".into() }.encode()).is_err());
    }
}
