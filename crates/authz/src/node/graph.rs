//! Which node reaches which object: counted references from nodes over their pods, and from claims to volumes.

use std::collections::HashMap;

use serde_json::Value;

use super::references::{Key, What, of_pod, of_volume};

#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    /// For each node, what its pods refer to, and how many do.
    pub(super) nodes: HashMap<String, HashMap<(What, Key), usize>>,
    /// For each pod its node and what it refers to.
    pods: HashMap<Key, (String, Vec<(What, Key)>)>,
    /// For each volume the claim it is bound to and its secrets.
    volumes: HashMap<String, (Key, Vec<Key>)>,
    /// For each secret of a volume the claims that need it.
    volume_secrets: HashMap<Key, Vec<Key>>,
    /// Volume attachments and resource slices belong to one node each.
    attachments: HashMap<String, String>,
    slices: HashMap<String, String>,
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl Graph {
    pub(super) fn apply(&mut self, kind: &str, object: &Value) {
        let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        match kind {
            "Pod" => self.apply_pod(namespace, name, object),
            "PersistentVolume" => self.apply_volume(name, object),
            "VolumeAttachment" => {
                self.attachments.insert(name.to_owned(), text(object, "/spec/nodeName").to_owned());
            }
            "ResourceSlice" => {
                self.slices.insert(name.to_owned(), text(object, "/spec/nodeName").to_owned());
            }
            _ => {}
        }
    }

    pub(super) fn remove(&mut self, kind: &str, namespace: &str, name: &str) {
        match kind {
            "Pod" => self.remove_pod(&(namespace.to_owned(), name.to_owned())),
            "PersistentVolume" => self.remove_volume(name),
            "VolumeAttachment" => {
                self.attachments.remove(name);
            }
            "ResourceSlice" => {
                self.slices.remove(name);
            }
            _ => {}
        }
    }

    pub(super) fn reaches(&self, node: &str, what: What, namespace: &str, name: &str) -> bool {
        match what {
            What::Attachment => return self.attachments.get(name).is_some_and(|n| n == node),
            What::Slice => return self.slices.get(name).is_some_and(|n| n == node),
            _ => {}
        }
        let Some(reached) = self.nodes.get(node) else { return false };
        let key = (namespace.to_owned(), name.to_owned());
        let claim = |claim: &Key| reached.contains_key(&(What::Claim, claim.clone()));
        match what {
            What::Volume => self.volumes.get(name).is_some_and(|(of, _)| claim(of)),
            What::Secret => {
                self.volume_secrets.get(&key).is_some_and(|claims| claims.iter().any(claim)) || reached.contains_key(&(what, key))
            }
            _ => reached.contains_key(&(what, key)),
        }
    }

    fn apply_pod(&mut self, namespace: &str, name: &str, pod: &Value) {
        let key = (namespace.to_owned(), name.to_owned());
        let node = text(pod, "/spec/nodeName");
        let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") && pod.pointer("/metadata/deletionTimestamp").is_some();
        if node.is_empty() || ended {
            self.remove_pod(&key);
            return;
        }
        let mut references: Vec<(What, Key)> = of_pod(pod).into_iter().map(|(what, name)| (what, (namespace.to_owned(), name))).collect();
        references.push((What::Pod, key.clone()));
        if self.pods.get(&key).is_some_and(|(old_node, old)| old_node == node && *old == references) {
            return;
        }
        self.remove_pod(&key);
        let reached = self.nodes.entry(node.to_owned()).or_default();
        for reference in &references {
            *reached.entry(reference.clone()).or_default() += 1;
        }
        self.pods.insert(key, (node.to_owned(), references));
    }

    fn remove_pod(&mut self, key: &Key) {
        let Some((node, references)) = self.pods.remove(key) else { return };
        let Some(reached) = self.nodes.get_mut(&node) else { return };
        for reference in references {
            if let Some(count) = reached.get_mut(&reference) {
                *count -= 1;
                if *count == 0 {
                    reached.remove(&reference);
                }
            }
        }
        if reached.is_empty() {
            self.nodes.remove(&node);
        }
    }

    fn apply_volume(&mut self, name: &str, volume: &Value) {
        self.remove_volume(name);
        let Some((claim, secrets)) = of_volume(volume) else { return };
        for secret in &secrets {
            self.volume_secrets.entry(secret.clone()).or_default().push(claim.clone());
        }
        self.volumes.insert(name.to_owned(), (claim, secrets));
    }

    fn remove_volume(&mut self, name: &str) {
        let Some((claim, secrets)) = self.volumes.remove(name) else { return };
        for secret in secrets {
            let Some(claims) = self.volume_secrets.get_mut(&secret) else { continue };
            if let Some(at) = claims.iter().position(|c| *c == claim) {
                claims.swap_remove(at);
            }
            if claims.is_empty() {
                self.volume_secrets.remove(&secret);
            }
        }
    }
}
