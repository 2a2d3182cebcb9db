//! Pods from templates, and the short hash that tells templates apart.

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// Longest prefix that leaves room for a generated suffix in a pod's name.
const PREFIX_CHARACTERS: usize = 253 - 10;
/// Letters and digits that cannot spell a word by accident, as generated names use them.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The pod that `template` describes, with a generated name after `owner`.
pub(crate) fn pod_from(template: &PodTemplateSpec, namespace: &str, owner: OwnerReference) -> Pod {
    let mut prefix = owner.name.clone();
    prefix.truncate(PREFIX_CHARACTERS);
    let mut pod = Pod { spec: template.spec.clone(), ..Pod::default() };
    if let Some(meta) = &template.metadata {
        pod.metadata.labels = meta.labels.clone();
        pod.metadata.annotations = meta.annotations.clone();
        pod.metadata.finalizers = meta.finalizers.clone();
    }
    pod.metadata.namespace = Some(namespace.to_owned());
    pod.metadata.generate_name = Some(format!("{prefix}-"));
    pod.metadata.owner_references = Some(vec![owner]);
    pod
}

/// A short hash of a template, for names and labels. `collisions` changes it when two templates share one.
pub(crate) fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut state = Fnv32::default();
    // A template that came through the API can always be written again.
    let text = serde_json::to_vec(template).unwrap_or_default();
    state.write(&text);
    if let Some(collisions) = collisions {
        state.write(&i64::from(collisions).to_le_bytes());
    }
    safe_encode(&state.0.to_string())
}

/// Replaces each character by one that cannot help to form a word.
pub(crate) fn safe_encode(text: &str) -> String {
    text.bytes().map(|byte| char::from(SAFE[usize::from(byte) % SAFE.len()])).collect()
}

/// FNV-1a, 32 bits.
pub(crate) struct Fnv32(u32);

impl Default for Fnv32 {
    fn default() -> Self {
        Self(0x811c_9dc5)
    }
}

impl Fnv32 {
    /// Takes in more bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            self.0 = self.0.wrapping_mul(0x0100_0193);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_stable_and_collisions_change_it() {
        let template = PodTemplateSpec::default();
        assert_eq!(hash(&template, None), hash(&template.clone(), None));
        assert_ne!(hash(&template, None), hash(&template, Some(1)));
        assert!(hash(&template, None).bytes().all(|byte| SAFE.contains(&byte)));
    }

    #[test]
    fn fnv_matches_its_reference() {
        let mut state = Fnv32::default();
        state.write(b"foobar");
        assert_eq!(state.0, 0xbf9c_f968);
    }
}
