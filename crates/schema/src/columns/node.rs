//! Nodes.

use serde_json::Value;
use tricorn_meta::json::{flag, list, object, text};

use super::cell::{Cell, Column, NONE, col, joined, shown, wide};

pub(super) const NODE: &[Column] = &[
    col("Name", Cell::Name),
    col("Status", Cell::Make(|o, _| status(o))),
    col("Roles", Cell::Make(|o, _| roles(o))),
    col("Age", Cell::Age),
    col("Version", Cell::Plain("status.nodeInfo.kubeletVersion")),
    wide("Internal-IP", Cell::Make(|o, _| address(o, "InternalIP"))),
    wide("External-IP", Cell::Make(|o, _| address(o, "ExternalIP"))),
    wide("OS-Image", Cell::Make(|o, _| known(o, "status.nodeInfo.osImage"))),
    wide("Kernel-Version", Cell::Make(|o, _| known(o, "status.nodeInfo.kernelVersion"))),
    wide("Container-Runtime", Cell::Make(|o, _| known(o, "status.nodeInfo.containerRuntimeVersion"))),
];

fn status(node: &Value) -> String {
    let ready = list(node, "status.conditions").iter().find(|c| text(c, "type") == "Ready");
    let word = match ready.map(|c| text(c, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if flag(node, "spec.unschedulable") { format!("{word},SchedulingDisabled") } else { word.to_owned() }
}

fn roles(node: &Value) -> String {
    let labels = object(node, "metadata.labels").into_iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role).filter(|r| !r.is_empty()),
            None if key == "kubernetes.io/role" => value.as_str().filter(|r| !r.is_empty()),
            None => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    joined(roles)
}

fn address(node: &Value, kind: &str) -> String {
    let found = list(node, "status.addresses").iter().find(|a| text(a, "type") == kind);
    found.map_or(NONE, |a| text(a, "address")).to_owned()
}

fn known(node: &Value, path: &str) -> String {
    shown(node, path).unwrap_or_else(|| "<unknown>".to_owned())
}
