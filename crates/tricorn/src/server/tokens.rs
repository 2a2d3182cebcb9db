//! Join tokens: kept in the store, so that every server knows them, and as digests, so that nobody who reads it does.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tricorn_apiserver::TokenAuthenticator;
use tricorn_meta::UserInfo;
use tricorn_pki::{JoinToken, Role, new_secret, same_secret, sha256_hex};
use tricorn_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use tricorn_registry::Store;

use crate::protocol::TokenInfo;

/// Beside the objects, and never under `/registry`.
const PREFIX: &str = "/tricorn/tokens/";
/// Digits of the digest that name a token.
const ID_DIGITS: usize = 10;
/// More tokens than this are not looked at.
const TOKENS: i64 = 1000;

/// The group of whoever shows a server's join token.
pub const SERVER_JOINERS: &str = "tricorn:joiners:server";
/// The group of whoever shows a worker's join token.
pub const AGENT_JOINERS: &str = "tricorn:joiners:agent";

#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    info: TokenInfo,
    secret_sha256: String,
}

/// The cluster's join tokens.
#[derive(Clone)]
pub struct Tokens {
    store: Store,
    authority_hash: String,
}

fn seconds_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}

fn key(id: &str) -> Vec<u8> {
    format!("{PREFIX}{id}").into_bytes()
}

impl Tokens {
    /// The tokens in `store`, of the cluster whose authority has this hash.
    pub fn new(store: Store, authority_hash: String) -> Self {
        Self { store, authority_hash }
    }

    /// Makes a token.
    pub async fn create(&self, role: Role, description: &str, ttl_seconds: Option<i64>) -> Result<(JoinToken, TokenInfo)> {
        let token = JoinToken { authority_hash: self.authority_hash.clone(), role, secret: new_secret() };
        let digest = sha256_hex(token.secret.as_bytes());
        let created = seconds_now();
        let info = TokenInfo {
            id: digest.chars().take(ID_DIGITS).collect(),
            role: role.as_str().to_owned(),
            description: description.to_owned(),
            created,
            expires: ttl_seconds.map(|ttl| created.saturating_add(ttl)),
        };
        let value = serde_json::to_vec(&Record { info: info.clone(), secret_sha256: digest })?;
        let put = PutRequest { key: key(&info.id).into(), value: value.into(), ..PutRequest::default() };
        self.store.put(put, None).await.context("keep the join token")?;
        Ok((token, info))
    }

    /// All tokens, those that have ended too.
    pub async fn list(&self) -> Result<Vec<TokenInfo>> {
        Ok(self.records().await?.into_iter().map(|record| record.info).collect())
    }

    /// Takes a token back; whether there was one.
    pub async fn delete(&self, id: &str) -> Result<bool> {
        let request = DeleteRangeRequest { key: key(id).into(), ..DeleteRangeRequest::default() };
        Ok(self.store.delete_range(request, None).await.context("delete the join token")?.deleted > 0)
    }

    async fn records(&self) -> Result<Vec<Record>> {
        let mut end = PREFIX.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        let request =
            RangeRequest { key: PREFIX.as_bytes().to_vec().into(), range_end: end.into(), limit: TOKENS, ..RangeRequest::default() };
        let found = self.store.range(request).await.context("read the join tokens")?;
        Ok(found.kvs.iter().filter_map(|kv| serde_json::from_slice(&kv.value).ok()).collect())
    }
}

#[async_trait::async_trait]
impl TokenAuthenticator for Tokens {
    async fn authenticate(&self, token: &str) -> Option<UserInfo> {
        let token: JoinToken = token.parse().ok()?;
        let records = match self.records().await {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "a join token could not be checked");
                return None;
            }
        };
        let (digest, now) = (sha256_hex(token.secret.as_bytes()), seconds_now());
        let known = records.iter().find(|record| same_secret(&record.secret_sha256, &digest))?;
        if known.info.role != token.role.as_str() || known.info.expires.is_some_and(|end| end <= now) {
            return None;
        }
        let group = match token.role {
            Role::Server => SERVER_JOINERS,
            Role::Agent => AGENT_JOINERS,
        };
        Some(UserInfo::new(format!("tricorn:joiner:{}", known.info.id), [group]))
    }
}
