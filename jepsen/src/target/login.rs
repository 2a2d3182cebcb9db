//! Users of a group: logging in, and asking with a token.

use super::client::ANSWER;
use super::{Client, Failure};
use tonic::Request;
use tonic::metadata::MetadataValue;
use tricorn_proto::etcdserverpb as pb;
use tricorn_proto::etcdserverpb::auth_client::AuthClient;

/// A request with a token; without one for who is nobody.
pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    // A token that is no text was given to nobody.
    if let Some(value) = MetadataValue::try_from(token).ok().filter(|_| !token.is_empty()) {
        request.metadata_mut().insert("token", value);
    }
    request
}

impl Client {
    /// Logs in; a token.
    pub async fn authenticate(&self, name: &str, password: &str) -> Result<String, Failure> {
        let channel = self.channel().await?;
        let request = pb::AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
        let reply = self.call(ANSWER, AuthClient::new(channel).authenticate(request)).await;
        // Logging in changes nothing.
        reply.map(|reply| reply.token).map_err(|failure| Failure::Not(failure.to_string()))
    }
}
