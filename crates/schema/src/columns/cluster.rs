//! Small kinds, most of which configure the cluster.

use std::collections::BTreeMap;

use serde_json::Value;
use tricorn_meta::json::{list, strings, text};

use super::cell::{Cell, Column, NONE, col, shown};

pub(super) fn columns(group: &str, kind: &str) -> Option<&'static [Column]> {
    Some(match (group, kind) {
        ("", "Namespace") => const { &[col("Name", Cell::Name), col("Status", Cell::Plain("status.phase")), col("Age", Cell::Age)] },
        ("", "ConfigMap") => const { &[col("Name", Cell::Name), col("Data", Cell::Number(data)).called("string"), col("Age", Cell::Age)] },
        ("", "ResourceQuota") => {
            const {
                &[
                    col("Name", Cell::Name),
                    col("Request", Cell::Make(|o, _| quota(o, false))),
                    col("Limit", Cell::Make(|o, _| quota(o, true))),
                    col("Age", Cell::Age),
                ]
            }
        }
        ("", "ComponentStatus") => {
            const {
                &[
                    col("Name", Cell::Name),
                    col("Status", Cell::Make(|o, _| healthy(o))),
                    col("Message", Cell::Plain("conditions.0.message")),
                    col("Error", Cell::Plain("conditions.0.error")),
                ]
            }
        }
        ("coordination.k8s.io", "Lease") => {
            const { &[col("Name", Cell::Name), col("Holder", Cell::Plain("spec.holderIdentity")), col("Age", Cell::Age)] }
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            const {
                &[
                    col("Name", Cell::Name),
                    col("Value", Cell::Int("value")),
                    col("Global-Default", Cell::Bool("globalDefault")),
                    col("Age", Cell::Age),
                    col("PreemptionPolicy", Cell::Plain("preemptionPolicy")),
                ]
            }
        }
        ("node.k8s.io", "RuntimeClass") => {
            const { &[col("Name", Cell::Name), col("Handler", Cell::Plain("handler")), col("Age", Cell::Age)] }
        }
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration") => {
            const { &[col("Name", Cell::Name), col("Webhooks", Cell::Count("webhooks")), col("Age", Cell::Age)] }
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            const {
                &[
                    col("Name", Cell::Name),
                    col("Validations", Cell::Count("spec.validations")),
                    col("ParamKind", Cell::Make(|o, _| param_kind(o))),
                    col("Age", Cell::Age),
                ]
            }
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            const {
                &[
                    col("Name", Cell::Name),
                    col("Mutations", Cell::Count("spec.mutations")),
                    col("ParamKind", Cell::Make(|o, _| param_kind(o))),
                    col("Age", Cell::Age),
                ]
            }
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding") => {
            const {
                &[
                    col("Name", Cell::Name),
                    col("PolicyName", Cell::Plain("spec.policyName")),
                    col("ParamRef", Cell::Make(|o, _| param_ref(o))),
                    col("Age", Cell::Age),
                ]
            }
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
            const {
                &[
                    col("Name", Cell::Name),
                    col("PriorityLevel", Cell::Plain("spec.priorityLevelConfiguration.name")),
                    col("MatchingPrecedence", Cell::Int("spec.matchingPrecedence")).called("string"),
                    col("DistinguisherMethod", Cell::Text("spec.distinguisherMethod.type")),
                    col("Age", Cell::Age),
                    col("MissingPL", Cell::Make(|o, _| dangling(o))),
                ]
            }
        }
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            const {
                &[
                    col("Name", Cell::Name),
                    col("Type", Cell::Plain("spec.type")),
                    col("NominalConcurrencyShares", Cell::Make(|o, _| shares(o))),
                    col("Queues", Cell::Text("spec.limited.limitResponse.queuing.queues")),
                    col("HandSize", Cell::Text("spec.limited.limitResponse.queuing.handSize")),
                    col("QueueLengthLimit", Cell::Text("spec.limited.limitResponse.queuing.queueLengthLimit")),
                    col("Age", Cell::Age),
                ]
            }
        }
        ("apiregistration.k8s.io", "APIService") => {
            const {
                &[
                    col("Name", Cell::Name),
                    col("Service", Cell::Make(|o, _| service(o))),
                    col("Available", Cell::Make(|o, _| available(o))),
                    col("Age", Cell::Age),
                ]
            }
        }
        ("resource.k8s.io", "ResourceClaim") => {
            const { &[col("Name", Cell::Name), col("State", Cell::Make(|o, _| claim_state(o))), col("Age", Cell::Age)] }
        }
        ("resource.k8s.io", "DeviceClass" | "ResourceClaimTemplate") => const { &[col("Name", Cell::Name), col("Age", Cell::Age)] },
        ("resource.k8s.io", "ResourceSlice") => {
            const {
                &[
                    col("Name", Cell::Name),
                    col("Node", Cell::Plain("spec.nodeName")),
                    col("Driver", Cell::Plain("spec.driver")),
                    col("Pool", Cell::Plain("spec.pool.name")),
                    col("Age", Cell::Age),
                ]
            }
        }
        _ => return None,
    })
}

/// How many keys, of text and of bytes.
fn data(map: &Value) -> i64 {
    let count = |key: &str| map.get(key).and_then(Value::as_object).map_or(0, serde_json::Map::len);
    i64::try_from(count("data") + count("binaryData")).unwrap_or(i64::MAX)
}

/// `cpu: 1/2, pods: 3/10`: what is used of what is allowed, for limits or for everything else.
fn quota(quota: &Value, limits: bool) -> String {
    let (hard, used): (BTreeMap<String, String>, BTreeMap<String, String>) = (strings(quota, "status.hard"), strings(quota, "status.used"));
    let of_kind = hard.iter().filter(|(name, _)| name.starts_with("limits.") == limits);
    let parts: Vec<String> = of_kind.map(|(name, hard)| format!("{name}: {}/{hard}", used.get(name).map_or("0", String::as_str))).collect();
    parts.join(", ")
}

fn healthy(status: &Value) -> String {
    let condition = list(status, "conditions").iter().find(|c| text(c, "type") == "Healthy");
    match condition.map(|c| text(c, "status")) {
        Some("True") => "Healthy",
        Some("False") => "Unhealthy",
        _ => "Unknown",
    }
    .to_owned()
}

fn param_kind(policy: &Value) -> String {
    let kind = text(policy, "spec.paramKind.kind");
    if kind.is_empty() { "<unset>".to_owned() } else { format!("{}/{kind}", text(policy, "spec.paramKind.apiVersion")) }
}

fn param_ref(binding: &Value) -> String {
    let (namespace, name) = (text(binding, "spec.paramRef.namespace"), text(binding, "spec.paramRef.name"));
    match (namespace, name) {
        ("", "") => "<unset>".to_owned(),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    }
}

fn dangling(schema: &Value) -> String {
    let condition = list(schema, "status.conditions").iter().find(|c| text(c, "type") == "Dangling");
    condition.map_or("?", |c| text(c, "status")).to_owned()
}

fn shares(level: &Value) -> String {
    shown(level, "spec.limited.nominalConcurrencyShares")
        .or_else(|| shown(level, "spec.exempt.nominalConcurrencyShares"))
        .unwrap_or_else(|| NONE.to_owned())
}

fn service(api: &Value) -> String {
    match text(api, "spec.service.name") {
        "" => "Local".to_owned(),
        name => format!("{}/{name}", text(api, "spec.service.namespace")),
    }
}

fn available(api: &Value) -> String {
    let condition = list(api, "status.conditions").iter().find(|c| text(c, "type") == "Available");
    match condition {
        None => "Unknown".to_owned(),
        Some(c) if text(c, "status") == "True" => "True".to_owned(),
        Some(c) => format!("{} ({})", text(c, "status"), text(c, "reason")),
    }
}

fn claim_state(claim: &Value) -> String {
    let mut words = Vec::new();
    if !text(claim, "metadata.deletionTimestamp").is_empty() {
        words.push("deleted");
    }
    if claim.get("status").and_then(|s| s.get("allocation")).is_some_and(|a| !a.is_null()) {
        words.push("allocated");
    } else if words.is_empty() {
        words.push("pending");
    }
    if !list(claim, "status.reservedFor").is_empty() {
        words.push("reserved");
    }
    words.join(",")
}
