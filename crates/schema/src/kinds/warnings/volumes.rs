//! Persistent volumes and claims to them.

use super::{Said, noted, pods, tell};
use crate::kinds::check::At;

/// The annotation that named a class before there was a field for it.
pub(super) const CLASS_NOTES: &[(&str, &str)] =
    &[("volume.beta.kubernetes.io/storage-class", "deprecated since v1.8; use \"storageClassName\" attribute instead")];
const MOUNT_NOTES: &[(&str, &str)] =
    &[("volume.beta.kubernetes.io/mount-options", "deprecated since v1.31; use \"mountOptions\" attribute instead")];

/// Sorts of volumes that nothing mounts any more.
const GONE: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Says whether a volume is of a sort that nothing mounts any more.
pub(super) fn gone(volume: &At<'_>, said: &mut Said) {
    for (key, words) in GONE.iter().filter(|(key, _)| volume.get(key).is_set()) {
        // Upstream writes this one otherwise in its texts.
        let told = if *key == "storageos" { "storageOS" } else { key };
        tell(&volume.path.child(told), words, said);
    }
}

pub(super) fn persistent(at: &At<'_>, said: &mut Said) {
    let spec = at.get("spec");
    for term in spec.at("nodeAffinity.required.nodeSelectorTerms").items() {
        pods::node_term(&term, false, said);
    }
    noted(at, CLASS_NOTES, said);
    noted(at, MOUNT_NOTES, said);
    let policy = spec.get("persistentVolumeReclaimPolicy");
    if policy.text() == "Recycle" {
        let words = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
        tell(&policy.path, words, said);
    }
    gone(&spec, said);
}

/// The spec of a claim.
pub(super) fn claim(spec: &At<'_>, said: &mut Said) {
    pods::fraction(&spec.at("resources.requests"), "storage", said);
}
