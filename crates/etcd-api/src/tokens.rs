//! What a client shows after it has logged in: a word that all members know, or a signed statement that any of them can check.

use std::sync::Arc;

use tonic::Status;
use tricorn_proto::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};
use tricorn_store::{Caller, Credential, Error, Result, Store, mvcc};

use crate::error::status_of;
use crate::jwt::SignedTokens;

/// How tokens are made and read.
#[derive(Clone, Debug, Default)]
pub enum TokenMode {
    /// Random words, told to every member through the log.
    #[default]
    Simple,
    /// JSON web tokens: no member needs to know them.
    Signed(Arc<SignedTokens>),
}

impl TokenMode {
    /// Reads etcd's `--auth-token`: `simple`, or `jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=5m`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let kind = parts.next().unwrap_or_default();
        let mut options = Vec::new();
        for part in parts {
            let pair = part.split_once('=').filter(|(_, value)| !value.contains('='));
            let (name, value) = pair.ok_or_else(|| format!("token option {part}: want NAME=VALUE"))?;
            if options.iter().any(|(known, _)| *known == name) {
                return Err(format!("token option {name} is given twice"));
            }
            options.push((name, value));
        }
        match kind {
            "simple" => Ok(Self::Simple),
            "jwt" => Ok(Self::Signed(Arc::new(SignedTokens::new(&options)?))),
            other => Err(format!("unknown kind of token {other:?}: want simple or jwt")),
        }
    }

    /// Gives a token for the right password.
    pub(crate) async fn authenticate(&self, store: &Store, request: AuthenticateRequest) -> Result<AuthenticateResponse, Status> {
        let Self::Signed(signed) = self else {
            return store.authenticate(request).await.map_err(|error| status_of(&error));
        };
        let user = request.name.clone();
        let revision = store.check_password(request.name, request.password).await.map_err(|error| status_of(&error))?;
        let token = signed.sign(&Caller { user, revision });
        let token = token.ok_or_else(|| Status::unknown("auth: token signing attempted with verify-only key"))?;
        let token = token.map_err(|error| Status::internal(format!("etcdserver: sign a token: {error}")))?;
        Ok(AuthenticateResponse { header: Some(store.header()), token })
    }

    /// What a token that was shown says. It counts only while authentication is on.
    pub(crate) fn read(&self, store: &Store, token: &str) -> Result<Credential> {
        match self {
            Self::Simple => Ok(Credential::Token(token.to_owned())),
            Self::Signed(_) if !store.auth_state().enabled => Ok(Credential::Nobody),
            Self::Signed(signed) => {
                let caller = signed.verify(token).ok_or(Error::Refused(mvcc::Error::InvalidAuthToken))?;
                Ok(Credential::Signed(caller))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        assert!(matches!(TokenMode::parse("simple"), Ok(TokenMode::Simple)));
        for wrong in ["", "none", "jwt", "jwt,sign-method=RS256", "jwt,sign-method", "jwt,sign-method=HS256,sign-method=HS256", "jwt,a=b=c"]
        {
            assert!(TokenMode::parse(wrong).is_err(), "{wrong}");
        }
    }
}
