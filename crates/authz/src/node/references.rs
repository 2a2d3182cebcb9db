//! What a pod or a volume refers to.

use serde_json::Value;

/// Kinds of objects that a node may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum What {
    Secret,
    ConfigMap,
    Claim,
    Volume,
    ResourceClaim,
    ServiceAccount,
    Pod,
    Attachment,
    Slice,
}

/// One object that is referred to, in the namespace of the one that refers to it.
pub(super) type Reference = (What, String);

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|t| !t.is_empty())
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Everything that a pod refers to. A mirror pod stands for a static one, which may refer to nothing.
pub(super) fn of_pod(pod: &Value) -> Vec<Reference> {
    let mut out = Vec::new();
    if pod.pointer("/metadata/annotations").and_then(|a| a.get("kubernetes.io/config.mirror")).is_some() {
        return out;
    }
    let mut add = |what: What, name: Option<&str>| out.extend(name.map(|n| (what, n.to_owned())));
    add(What::ServiceAccount, text(pod, "/spec/serviceAccountName"));
    for secret in list(pod, "/spec/imagePullSecrets") {
        add(What::Secret, text(secret, "/name"));
    }
    for claim in list(pod, "/spec/resourceClaims").chain(list(pod, "/status/resourceClaimStatuses")) {
        add(What::ResourceClaim, text(claim, "/resourceClaimName"));
    }
    for containers in ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"] {
        for container in list(pod, containers) {
            for env in list(container, "/env") {
                add(What::Secret, text(env, "/valueFrom/secretKeyRef/name"));
                add(What::ConfigMap, text(env, "/valueFrom/configMapKeyRef/name"));
            }
            for from in list(container, "/envFrom") {
                add(What::Secret, text(from, "/secretRef/name"));
                add(What::ConfigMap, text(from, "/configMapRef/name"));
            }
        }
    }
    let pod_name = text(pod, "/metadata/name").unwrap_or_default();
    for volume in list(pod, "/spec/volumes") {
        add(What::ConfigMap, text(volume, "/configMap/name"));
        add(What::Claim, text(volume, "/persistentVolumeClaim/claimName"));
        if volume.get("ephemeral").is_some() {
            let claim = format!("{pod_name}-{}", text(volume, "/name").unwrap_or_default());
            add(What::Claim, Some(&claim));
        }
        for source in list(volume, "/projected/sources") {
            add(What::Secret, text(source, "/secret/name"));
            add(What::ConfigMap, text(source, "/configMap/name"));
        }
        for secret in secrets_of_source(volume) {
            add(What::Secret, Some(secret));
        }
    }
    out
}

/// Names of secrets that a volume source needs for mounting.
fn secrets_of_source(volume: &Value) -> impl Iterator<Item = &str> {
    let plain = ["/secret/secretName", "/azureFile/secretName", "/csi/nodePublishSecretRef/name"];
    let named = plain.into_iter().filter_map(|p| text(volume, p));
    let plugins = volume.as_object().into_iter().flat_map(|o| o.values());
    named.chain(plugins.filter_map(|plugin| text(plugin, "/secretRef/name")))
}

/// Namespace and name.
pub(super) type Key = (String, String);

/// The claim a persistent volume is bound to, and the secrets that a kubelet needs to mount it.
pub(super) fn of_volume(volume: &Value) -> Option<(Key, Vec<Key>)> {
    let spec = volume.get("spec")?;
    let claim = (text(spec, "/claimRef/namespace")?.to_owned(), text(spec, "/claimRef/name")?.to_owned());
    let mut secrets = Vec::new();
    let mut add = |reference: Option<&Value>| {
        if let Some(name) = reference.and_then(|r| text(r, "/name")) {
            let namespace = reference.and_then(|r| text(r, "/namespace")).unwrap_or(&claim.0);
            secrets.push((namespace.to_owned(), name.to_owned()));
        }
    };
    for reference in ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"] {
        add(spec.get("csi").and_then(|csi| csi.get(reference)));
    }
    for plugin in spec.as_object().into_iter().flat_map(|o| o.values()) {
        add(plugin.get("secretRef"));
    }
    if let Some(name) = text(spec, "/azureFile/secretName") {
        let namespace = text(spec, "/azureFile/secretNamespace").unwrap_or(&claim.0);
        secrets.push((namespace.to_owned(), name.to_owned()));
    }
    Some((claim, secrets))
}
