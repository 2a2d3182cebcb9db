//! ServiceAccount: every pod runs as an account that exists, and finds its token where clients look for it.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tricorn_meta::Status;

use crate::{Objects, Operation, Plugin, Request};

const DEFAULT: &str = "default";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR: &str = "kubernetes.io/config.mirror";
const ENFORCE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";

/// Lifetime of a mounted token, in seconds; the few above an hour tell it from a token that somebody asked for.
const TOKEN_SECONDS: u32 = 3607;

/// Characters of generated names: no vowels and nothing that is easily mistaken.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// See the module.
pub struct ServiceAccount {
    suffix: fn() -> String,
}

impl Default for ServiceAccount {
    fn default() -> Self {
        Self { suffix: random_suffix }
    }
}

impl ServiceAccount {
    /// With a source of name suffixes (five characters) of one's own.
    pub fn with_suffix(suffix: fn() -> String) -> Self {
        Self { suffix }
    }
}

fn random_suffix() -> String {
    (0..5).map(|_| char::from(NAME_ALPHABET[rand::random_range(0..NAME_ALPHABET.len())])).collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn is_mirror(pod: &Value) -> bool {
    pod.pointer("/metadata/annotations").and_then(|a| a.get(MIRROR)).is_some()
}

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn mutates(&self, request: &Request<'_>) -> bool {
        request.creates("", "pods")
    }

    fn validates(&self, request: &Request<'_>) -> bool {
        request.creates("", "pods")
    }

    async fn mutate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        if is_mirror(request.new_object()) {
            return Ok(());
        }
        let name = match text(request.new_object(), "/spec/serviceAccountName") {
            "" => DEFAULT.to_owned(),
            name => name.to_owned(),
        };
        let account = find(request, objects, &name).await?;
        let suffix = self.suffix;
        if let Some(spec) = request.object.as_mut().and_then(|o| o.get_mut("spec")).and_then(Value::as_object_mut) {
            spec.insert("serviceAccountName".into(), name.as_str().into());
            spec.insert("serviceAccount".into(), name.into());
            let wanted = spec.get("automountServiceAccountToken").or_else(|| account.get("automountServiceAccountToken"));
            if wanted.and_then(Value::as_bool).unwrap_or(true) {
                mount_token(spec, suffix);
            }
            let no_secrets = spec.get("imagePullSecrets").and_then(Value::as_array).is_none_or(Vec::is_empty);
            if let (true, Some(secrets)) = (no_secrets, account.get("imagePullSecrets").and_then(Value::as_array).filter(|s| !s.is_empty()))
            {
                spec.insert("imagePullSecrets".into(), Value::Array(secrets.clone()));
            }
        }
        Ok(())
    }

    async fn validate(&self, request: &mut Request<'_>, objects: &dyn Objects) -> Result<(), Status> {
        let pod = request.new_object();
        if is_mirror(pod) {
            return validate_mirror(request);
        }
        let name = text(pod, "/spec/serviceAccountName").to_owned();
        if name.is_empty() {
            return Err(request.forbidden("no service account specified for pod"));
        }
        let account = find(request, objects, &name).await?;
        let enforced = account.pointer("/metadata/annotations").and_then(|a| a.get(ENFORCE_SECRETS)).and_then(Value::as_str);
        if enforced == Some("true") { limit_secrets(request, &account, &name) } else { Ok(()) }
    }
}

/// An account may limit the secrets that its pods use to those that it lists.
fn limit_secrets(request: &Request<'_>, account: &Value, name: &str) -> Result<(), Status> {
    let list = |value: &'_ Value, pointer: &str| value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let listed = list(account, "/secrets");
    let mountable = |secret: &str| secret.is_empty() || listed.iter().any(|s| text(s, "/name") == secret);
    let pod = request.new_object();
    for volume in list(pod, "/spec/volumes") {
        let secret = text(&volume, "/secret/secretName");
        if !mountable(secret) {
            let why = format!(
                "volume with secret.secretName={secret:?} is not allowed because service account {name} does not reference that secret"
            );
            return Err(request.forbidden(why));
        }
    }
    for (kind, containers) in [("init container", "/spec/initContainers"), ("container", "/spec/containers")] {
        for container in list(pod, containers) {
            for env in list(&container, "/env") {
                let secret = text(&env, "/valueFrom/secretKeyRef/name");
                if !mountable(secret) {
                    let (of, env) = (text(&container, "/name"), text(&env, "/name"));
                    let why = format!(
                        "{kind} {of} with envVar {env} referencing secret.secretName={secret:?} is not allowed because service account {name} does not reference that secret"
                    );
                    return Err(request.forbidden(why));
                }
            }
        }
    }
    let pullable = list(account, "/imagePullSecrets");
    for (i, secret) in list(pod, "/spec/imagePullSecrets").iter().enumerate() {
        let secret = text(secret, "/name");
        if !pullable.iter().any(|s| text(s, "/name") == secret) {
            let why = format!(
                "imagePullSecrets[{i}].name={secret:?} is not allowed because service account {name} does not reference that imagePullSecret"
            );
            return Err(request.forbidden(why));
        }
    }
    Ok(())
}

async fn find(request: &Request<'_>, objects: &dyn Objects, name: &str) -> Result<std::sync::Arc<Value>, Status> {
    debug_assert_eq!(request.operation, Operation::Create);
    let namespace = request.namespace;
    let found = match objects.get("", "serviceaccounts", namespace, name).await? {
        Some(account) => Some(account),
        None => objects.get_fresh("", "serviceaccounts", namespace, name).await?,
    };
    found
        .ok_or_else(|| request.forbidden(format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found")))
}

/// A mirror pod shows a static pod, which may depend on nothing in the API.
fn validate_mirror(request: &Request<'_>) -> Result<(), Status> {
    let pod = request.new_object();
    if !text(pod, "/spec/serviceAccountName").is_empty() {
        return Err(request.forbidden("a mirror pod may not reference service accounts"));
    }
    let volumes = || pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let sources = || volumes().filter_map(|v| v.pointer("/projected/sources").and_then(Value::as_array)).flatten();
    if volumes().any(|v| v.get("secret").is_some()) || sources().any(|s| s.get("secret").is_some()) {
        return Err(request.forbidden("a mirror pod may not reference secrets"));
    }
    if sources().any(|s| s.get("serviceAccountToken").is_some()) {
        return Err(request.forbidden("a mirror pod may not use ServiceAccountToken volume projections"));
    }
    Ok(())
}

fn mount_token(spec: &mut Map<String, Value>, suffix: fn() -> String) {
    let volumes = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let existing = volumes
        .filter(|v| v.get("projected").is_some())
        .map(|v| text(v, "/name"))
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(str::to_owned);
    let has_volume = existing.is_some();
    let volume = existing.unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", suffix()));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            mounted |= mount(container, &volume);
        }
    }
    if mounted && !has_volume {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if volumes.is_null() {
            *volumes = json!([]);
        }
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.push(token_volume(&volume));
        }
    }
}

/// Mounts the volume into a container, unless something is mounted there already.
fn mount(container: &mut Value, volume: &str) -> bool {
    let Some(container) = container.as_object_mut() else { return false };
    let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
    if mounts.is_null() {
        *mounts = json!([]);
    }
    let Some(mounts) = mounts.as_array_mut() else { return false };
    if mounts.iter().any(|m| text(m, "/mountPath") == MOUNT_PATH) {
        return false;
    }
    mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
    true
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ], "defaultMode": 420}})
}
