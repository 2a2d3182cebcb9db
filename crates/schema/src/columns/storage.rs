//! Volumes, claims and classes.

use serde_json::Value;
use tricorn_meta::json::{get, list, text};

use super::cell::{Cell, Column, col, joined, shown, wide};

pub(super) const VOLUME: &[Column] = &[
    col("Name", Cell::Name),
    col("Capacity", Cell::Plain("spec.capacity.storage")),
    col("Access Modes", Cell::Make(|o, _| modes(o, "spec.accessModes"))),
    col("Reclaim Policy", Cell::Plain("spec.persistentVolumeReclaimPolicy")),
    col("Status", Cell::Make(|o, _| phase(o))),
    col("Claim", Cell::Make(|o, _| claim(o))),
    col("StorageClass", Cell::Make(|o, _| class(o))),
    col("VolumeAttributesClass", Cell::Make(|o, _| unset(o, "spec.volumeAttributesClassName"))),
    col("Reason", Cell::Plain("status.reason")),
    col("Age", Cell::Age),
    wide("VolumeMode", Cell::Make(|o, _| unset(o, "spec.volumeMode"))),
];

pub(super) const CLAIM: &[Column] = &[
    col("Name", Cell::Name),
    col("Status", Cell::Make(|o, _| phase(o))),
    col("Volume", Cell::Plain("spec.volumeName")),
    col("Capacity", Cell::Make(|o, _| bound(o, |o| text(o, "status.capacity.storage").to_owned()))),
    col("Access Modes", Cell::Make(|o, _| bound(o, |o| modes(o, "status.accessModes")))),
    col("StorageClass", Cell::Make(|o, _| class(o))),
    col("VolumeAttributesClass", Cell::Make(|o, _| unset(o, "spec.volumeAttributesClassName"))),
    col("Age", Cell::Age),
    wide("VolumeMode", Cell::Make(|o, _| unset(o, "spec.volumeMode"))),
];

pub(super) const CLASS: &[Column] = &[
    col("Name", Cell::Make(|o, _| class_name(o))),
    col("Provisioner", Cell::Plain("provisioner")),
    col("ReclaimPolicy", Cell::Plain("reclaimPolicy")),
    col("VolumeBindingMode", Cell::Plain("volumeBindingMode")),
    col("AllowVolumeExpansion", Cell::Bool("allowVolumeExpansion")).called("string"),
    col("Age", Cell::Age),
];

pub(super) const CSI_NODE: &[Column] = &[col("Name", Cell::Name), col("Drivers", Cell::Count("spec.drivers")), col("Age", Cell::Age)];

pub(super) const CSI_DRIVER: &[Column] = &[
    col("Name", Cell::Name),
    col("AttachRequired", Cell::Bool("spec.attachRequired")),
    col("PodInfoOnMount", Cell::Bool("spec.podInfoOnMount")),
    col("StorageCapacity", Cell::Bool("spec.storageCapacity")),
    col("TokenRequests", Cell::Make(|o, _| tokens(o))),
    col("RequiresRepublish", Cell::Bool("spec.requiresRepublish")),
    col("Modes", Cell::Make(|o, _| joined(list(o, "spec.volumeLifecycleModes").iter().filter_map(Value::as_str)))),
    col("Age", Cell::Age),
];

pub(super) const CSI_CAPACITY: &[Column] = &[
    col("Name", Cell::Name),
    col("StorageClassName", Cell::Plain("storageClassName")),
    col("Capacity", Cell::Make(|o, _| unset(o, "capacity"))),
];

pub(super) const ATTACHMENT: &[Column] = &[
    col("Name", Cell::Name),
    col("Attacher", Cell::Plain("spec.attacher")),
    col("PV", Cell::Plain("spec.source.persistentVolumeName")),
    col("Node", Cell::Plain("spec.nodeName")),
    col("Attached", Cell::Bool("status.attached")),
    col("Age", Cell::Age),
];

pub(super) const ATTRIBUTES: &[Column] = &[col("Name", Cell::Name), col("DriverName", Cell::Plain("driverName")), col("Age", Cell::Age)];

fn unset(object: &Value, path: &str) -> String {
    shown(object, path).unwrap_or_else(|| "<unset>".to_owned())
}

fn phase(object: &Value) -> String {
    if text(object, "metadata.deletionTimestamp").is_empty() { text(object, "status.phase") } else { "Terminating" }.to_owned()
}

fn bound(claim: &Value, make: fn(&Value) -> String) -> String {
    if text(claim, "spec.volumeName").is_empty() { String::new() } else { make(claim) }
}

/// `RWO,ROX`: access modes in short, in the order upstream has.
fn modes(object: &Value, path: &str) -> String {
    let given: Vec<&str> = list(object, path).iter().filter_map(Value::as_str).collect();
    let short = [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let found: Vec<&str> = short.iter().filter(|(long, _)| given.contains(long)).map(|(_, short)| *short).collect();
    found.join(",")
}

fn claim(volume: &Value) -> String {
    match get(volume, "spec.claimRef") {
        Some(claim) if claim.is_object() => format!("{}/{}", text(claim, "namespace"), text(claim, "name")),
        _ => String::new(),
    }
}

/// The class, which old objects have in an annotation.
fn class(object: &Value) -> String {
    let annotation =
        get(object, "metadata.annotations").and_then(|a| a.get("volume.beta.kubernetes.io/storage-class")).and_then(Value::as_str);
    annotation.unwrap_or(text(object, "spec.storageClassName")).to_owned()
}

fn class_name(class: &Value) -> String {
    let annotation = |key: &str| get(class, "metadata.annotations").and_then(|a| a.get(key)).and_then(Value::as_str) == Some("true");
    let default =
        annotation("storageclass.kubernetes.io/is-default-class") || annotation("storageclass.beta.kubernetes.io/is-default-class");
    let name = text(class, "metadata.name");
    if default { format!("{name} (default)") } else { name.to_owned() }
}

fn tokens(driver: &Value) -> String {
    let audiences: Vec<&str> = list(driver, "spec.tokenRequests").iter().map(|t| text(t, "audience")).collect();
    if audiences.is_empty() { "<unset>".to_owned() } else { audiences.join(",") }
}
