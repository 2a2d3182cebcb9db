//! Accounts, secrets, bindings and certificates.

use serde_json::Value;
use tricorn_meta::json::{int, list, text};
use tricorn_meta::time;

use super::cell::{Cell, Column, NONE, col, wide};

pub(super) const SERVICE_ACCOUNT: &[Column] =
    &[col("Name", Cell::Name), col("Secrets", Cell::Count("secrets")).called("string"), col("Age", Cell::Age)];

pub(super) const SECRET: &[Column] =
    &[col("Name", Cell::Name), col("Type", Cell::Plain("type")), col("Data", Cell::Count("data")).called("string"), col("Age", Cell::Age)];

pub(super) const BINDING: &[Column] = &[
    col("Name", Cell::Name),
    col("Role", Cell::Make(|o, _| format!("{}/{}", text(o, "roleRef.kind"), text(o, "roleRef.name")))),
    col("Age", Cell::Age),
    wide("Users", Cell::Make(|o, _| subjects(o, "User"))),
    wide("Groups", Cell::Make(|o, _| subjects(o, "Group"))),
    wide("ServiceAccounts", Cell::Make(|o, _| subjects(o, "ServiceAccount"))),
];

pub(super) const CSR: &[Column] = &[
    col("Name", Cell::Name),
    col("Age", Cell::Age),
    col("SignerName", Cell::Text("spec.signerName")),
    col("Requestor", Cell::Plain("spec.username")),
    col("RequestedDuration", Cell::Make(|o, _| int(o, "spec.expirationSeconds").map_or_else(|| NONE.to_owned(), time::human_duration))),
    col("Condition", Cell::Make(|o, _| condition(o))),
];

fn subjects(binding: &Value, kind: &str) -> String {
    let of_kind = list(binding, "subjects").iter().filter(|s| text(s, "kind") == kind);
    let names: Vec<String> = of_kind
        .map(|s| match kind {
            "ServiceAccount" => format!("{}/{}", text(s, "namespace"), text(s, "name")),
            _ => text(s, "name").to_owned(),
        })
        .collect();
    names.join(", ")
}

fn condition(request: &Value) -> String {
    let has = |kind: &str| list(request, "status.conditions").iter().any(|c| text(c, "type") == kind);
    let mut words = Vec::new();
    words.push(match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    });
    words.extend(has("Failed").then_some("Failed"));
    words.extend((!text(request, "status.certificate").is_empty()).then_some("Issued"));
    words.join(",")
}
