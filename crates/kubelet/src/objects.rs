//! ConfigMaps, Secrets and tokens from the API, remembered for a while so that pods that share one ask once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;

use crate::pod::spec;
use crate::volumes::payload::Objects;

/// How long an object is used without asking again.
pub const FRESH: Duration = Duration::from_secs(20);
/// A token older than this is replaced whatever its lifetime.
const TOKEN_AGE_MOST: Duration = Duration::from_secs(24 * 3600);

type Cache<T> = Mutex<HashMap<(String, String), (Instant, Option<T>)>>;

struct Token {
    text: String,
    made: Timestamp,
    expires: Timestamp,
}

/// Objects of the API with a short memory.
pub struct ApiObjects {
    client: kube::Client,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
    tokens: Mutex<HashMap<(String, String, i64), Token>>,
}

impl ApiObjects {
    /// Asks through this client.
    pub fn new(client: kube::Client) -> Self {
        Self { client, config_maps: Mutex::default(), secrets: Mutex::default(), tokens: Mutex::default() }
    }

    /// Forgets what is old, and the tokens of pods that are gone.
    pub fn forget(&self, is_there: impl Fn(&str) -> bool) {
        fn sweep<T>(cache: &Cache<T>) {
            if let Ok(mut cache) = cache.lock() {
                cache.retain(|_, (at, _)| at.elapsed() < FRESH);
            }
        }
        sweep(&self.config_maps);
        sweep(&self.secrets);
        if let Ok(mut tokens) = self.tokens.lock() {
            tokens.retain(|(uid, ..), _| is_there(uid));
        }
    }

    async fn cached<T>(&self, cache: &Cache<T>, namespace: &str, name: &str) -> Result<Option<T>, String>
    where
        T: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let key = (namespace.to_owned(), name.to_owned());
        if let Ok(cache) = cache.lock()
            && let Some((at, object)) = cache.get(&key)
            && at.elapsed() < FRESH
            && object.is_some()
        {
            return Ok(object.clone());
        }
        let api: Api<T> = Api::namespaced(self.client.clone(), namespace);
        let object = api.get_opt(name).await.map_err(|error| format!("get {namespace}/{name}: {error}"))?;
        if let Ok(mut cache) = cache.lock() {
            cache.insert(key, (Instant::now(), object.clone()));
        }
        Ok(object)
    }
}

/// Whether a token is to be replaced: four fifths of its life are over, or a day.
fn stale(token: &Token, now: Timestamp) -> bool {
    let age = Duration::try_from(now.duration_since(token.made)).unwrap_or_default();
    let life = Duration::try_from(token.expires.duration_since(token.made)).unwrap_or_default();
    age > TOKEN_AGE_MOST || age >= life * 4 / 5
}

#[async_trait::async_trait]
impl Objects for ApiObjects {
    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, String> {
        self.cached(&self.config_maps, namespace, name).await
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, String> {
        self.cached(&self.secrets, namespace, name).await
    }

    async fn token(&self, pod: &Pod, audience: Option<&str>, seconds: i64) -> Result<String, String> {
        let key = (spec::uid(pod).to_owned(), audience.unwrap_or_default().to_owned(), seconds);
        let now = Timestamp::now();
        if let Ok(tokens) = self.tokens.lock()
            && let Some(token) = tokens.get(&key)
            && !stale(token, now)
        {
            return Ok(token.text.clone());
        }
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_else(|| "default".into());
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: audience.map(|audience| vec![audience.to_owned()]),
                expiration_seconds: Some(seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    name: Some(spec::name(pod).to_owned()),
                    uid: Some(spec::uid(pod).to_owned()),
                }),
            }),
            ..Default::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), spec::namespace(pod));
        let answer: TokenRequest = api
            .create_subresource("token", &account, &PostParams::default(), &request)
            .await
            .map_err(|error| format!("failed to fetch token of service account {}/{account}: {error}", spec::namespace(pod)))?;
        let status = answer.status.ok_or_else(|| "the token request was answered without a token".to_owned())?;
        let text = status.token.unwrap_or_default();
        let token = Token { text: text.clone(), made: now, expires: status.expiration_timestamp.map_or(now, |time| time.0) };
        if let Ok(mut tokens) = self.tokens.lock() {
            tokens.insert(key, token);
        }
        Ok(text)
    }
}
