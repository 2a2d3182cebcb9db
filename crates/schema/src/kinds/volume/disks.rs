//! Volumes that are disks and file systems somewhere else. Most of these drivers live outside of Kubernetes by now; their fields stay.

use tricorn_meta::{FieldError, names};

use super::{descending_path, host_path, secret};
use crate::kinds::check::{At, Errors};

/// The rules that the source has in a pod and in a PersistentVolume alike.
pub(super) fn source(kind: &str, at: &At<'_>, errors: &mut Errors) {
    let need = |keys: &[&str], errors: &mut Errors| at.needs(keys, errors);
    match kind {
        "hostPath" => host_path(at, errors),
        "gitRepo" => {
            need(&["repository"], errors);
            descending_path(&at.get("directory"), errors);
        }
        "gcePersistentDisk" => partitioned(at, "pdName", "persistentDisk", errors),
        "awsElasticBlockStore" => partitioned(at, "volumeID", "awsElasticBlockStore", errors),
        "nfs" => {
            need(&["server", "path"], errors);
            if !at.get("path").text().starts_with('/') {
                at.get("path").invalid_as(at.get("path").text(), "must be an absolute path", errors);
            }
        }
        "iscsi" => iscsi(at, errors),
        "glusterfs" => need(&["endpoints", "path"], errors),
        "flocker" => flocker(at, errors),
        "rbd" => need(&["monitors", "image"], errors),
        "cephfs" => need(&["monitors"], errors),
        "cinder" => {
            need(&["volumeID"], errors);
            secret(&at.get("secretRef"), &["name"], errors);
        }
        "quobyte" => quobyte(at, errors),
        "fc" => fibre_channel(at, errors),
        "flexVolume" => flex(at, errors),
        "azureFile" => need(&["secretName", "shareName"], errors),
        "azureDisk" => azure_disk(at, errors),
        "vsphereVolume" => need(&["volumePath"], errors),
        "photonPersistentDisk" => need(&["pdID"], errors),
        "portworxVolume" => need(&["volumeID"], errors),
        "scaleIO" => need(&["gateway", "system", "volumeName"], errors),
        "storageos" => {
            at.get("volumeName").need_named(names::dns1123_label, errors);
            at.get("volumeNamespace").maybe_named(names::dns1123_label, errors);
            secret(&at.get("secretRef"), &["name"], errors);
        }
        _ => {}
    }
}

/// `told` is what upstream calls the source in what it says of it.
fn partitioned(at: &At<'_>, id: &str, told: &str, errors: &mut Errors) {
    let parent = at.path.as_str().rsplit_once('.').map_or("", |(parent, _)| parent);
    let at = at.told_at(format!("{parent}.{told}").as_str().into());
    at.get(id).need(errors);
    let partition = at.get("partition");
    if partition.int().is_some_and(|n| !(0..=255).contains(&n)) {
        partition.invalid("must be between 0 and 255, inclusive", errors);
    }
}

/// What is said where a volume's name and its portal do not fit into an initiator's name together.
pub(super) const PORTAL: &str =
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

/// Whether a volume's name and its portal are too long together.
pub(super) fn too_long(volume: &str, iscsi: &At<'_>) -> bool {
    volume.len() + 1 + iscsi.get("targetPortal").text().len() > 64
}

fn iscsi(at: &At<'_>, errors: &mut Errors) {
    at.get("targetPortal").need(errors);
    let (name, initiator) = (at.get("iqn"), at.get("initiatorName"));
    if name.need(errors) {
        iscsi_name(&name, errors);
    }
    at.get("lun").within(0, 255, errors);
    if (at.get("chapAuthDiscovery").flag() || at.get("chapAuthSession").flag()) && !at.get("secretRef").is_set() {
        at.get("secretRef").required("", errors);
    }
    if initiator.is_set() {
        iscsi_name(&initiator.told_at(at.path.child("initiatorname")), errors);
    }
}

fn iscsi_name(at: &At<'_>, errors: &mut Errors) {
    let text = at.text();
    let hex = |digits: &str, lengths: &[usize]| lengths.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let good = match text.get(..3) {
        Some("iqn") => text[3..].starts_with('.') && is_iqn(&text[4..]),
        Some("eui") => text[3..].strip_prefix('.').is_some_and(|rest| hex(rest, &[16])),
        Some("naa") => text[3..].strip_prefix('.').is_some_and(|rest| hex(rest, &[16, 32])),
        _ => return at.invalid("must be valid format starting with iqn, eui, or naa", errors),
    };
    if !good {
        at.invalid("must be valid format", errors);
    }
}

/// `2024-01.com.example:name`, after the `iqn.`.
fn is_iqn(text: &str) -> bool {
    let (authority, rest) = text.split_once(':').unwrap_or((text, "x"));
    let mut parts = authority.splitn(2, '.');
    let date = parts.next().unwrap_or_default().as_bytes();
    let dated = date.len() == 7 && date[4] == b'-' && date.iter().enumerate().all(|(i, b)| i == 4 || b.is_ascii_digit());
    dated && parts.next().is_some_and(|domain| !domain.is_empty()) && !rest.is_empty()
}

fn flocker(at: &At<'_>, errors: &mut Errors) {
    let (name, id) = (at.get("datasetName"), at.get("datasetUUID"));
    match (name.is_empty(), id.is_empty()) {
        (true, true) => at.required("one of datasetName and datasetUUID is required", errors),
        (false, false) => at.invalid_as("resource", "datasetName and datasetUUID can not be specified simultaneously", errors),
        _ => {}
    }
    if name.text().contains('/') {
        name.invalid("must not contain '/'", errors);
    }
}

fn quobyte(at: &At<'_>, errors: &mut Errors) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = at.get("registry");
    if registry.is_empty() {
        registry.required(PAIRS, errors);
    } else if at.get("tenant").text().len() >= 65 {
        at.get("tenant").required("must be a UUID and may not exceed a length of 64 characters", errors);
    } else {
        let bad = registry.text().split(',').filter(|pair| !pair.contains(':'));
        bad.for_each(|_| registry.invalid(PAIRS, errors));
    }
    at.get("volume").need(errors);
}

fn fibre_channel(at: &At<'_>, errors: &mut Errors) {
    let (targets, ids, lun) = (at.get("targetWWNs"), at.get("wwids"), at.get("lun"));
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => targets.required("must specify either targetWWNs or wwids, but not both", errors),
        (false, false) => targets.invalid("targetWWNs and wwids can not be specified simultaneously", errors),
        _ => {}
    }
    if !targets.is_empty() {
        if lun.is_set() {
            lun.within(0, 255, errors);
        } else {
            lun.required("lun is required if targetWWNs is specified", errors);
        }
    }
}

fn flex(at: &At<'_>, errors: &mut Errors) {
    at.get("driver").need(errors);
    for (key, option) in at.get("options").entries() {
        let space = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if space.ends_with(".kubernetes.io") || space.ends_with(".k8s.io") {
            errors.push(FieldError::invalid(&option.path, key, "kubernetes.io and k8s.io namespaces are reserved"));
        }
    }
}

fn azure_disk(at: &At<'_>, errors: &mut Errors) {
    const MANAGED: &str = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let (uri, kind) = (at.get("diskURI"), at.get("kind"));
    at.get("diskName").need(errors);
    uri.need(errors);
    at.get("cachingMode").one_of(&["None", "ReadOnly", "ReadWrite"], errors);
    kind.one_of(&["Dedicated", "Managed", "Shared"], errors);
    match kind.text() {
        "" => {}
        "Managed" if !uri.text().starts_with("/subscriptions/") => uri.unsupported(&[MANAGED], errors),
        "Managed" => {}
        _ if !uri.text().starts_with("https://") => uri.unsupported(&[BLOB], errors),
        _ => {}
    }
}
