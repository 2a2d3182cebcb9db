//! Nodes.

use serde_json::Value;
use tricorn_meta::{FieldError, names};

use super::addresses::{cidr, one_a_family};
use super::check::{At, Errors};
use super::pod::{resources, scheduling};

/// The rules for a node.
pub(super) fn rules(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    // Upstream tells of taints as if they were in the metadata.
    let taints = spec.get("taints");
    taint_rules(&taints.told_at(at.path.child("metadata").child("taints")), errors);
    amounts(at, errors);
    let blocks = spec.get("podCIDRs");
    blocks.items().for_each(|b| b.named(cidr, errors));
    one_a_family(&blocks, "CIDR", |b| b.value.clone(), |b| b.as_str().unwrap_or_default(), errors);
}

fn taint_rules(taints: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for taint in taints.items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        key.named(names::qualified_name, errors);
        let wrong = names::label_value(value.text());
        if !wrong.is_empty() {
            value.invalid_as(value.text(), wrong.join(";"), errors);
        }
        effect.required_one_of(&scheduling::EFFECTS, errors);
        if seen.contains(&(key.text(), effect.text())) {
            let mut error = FieldError::duplicate(&taint.path, taint.value.clone());
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
        seen.push((key.text(), effect.text()));
    }
}

/// What a node has, and what of it pods may have.
fn amounts(at: &At<'_>, errors: &mut Errors) {
    for list in ["capacity", "allocatable"] {
        let list = at.get("status").get(list);
        for (name, amount) in list.entries() {
            resources::amount(name, &amount.told_at(list.path.child(name)), errors);
        }
    }
}

/// What of a node may not change.
pub(super) fn change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    status(at, errors);
    let (now, then) = (at.get("spec"), before.get("spec"));
    if !then.get("podCIDRs").is_empty() && now.get("podCIDRs").value != then.get("podCIDRs").value {
        now.get("podCIDRs").forbidden("node updates may not change podCIDR except from \"\" to valid", errors);
    }
    if !then.get("providerID").is_empty() && now.get("providerID").text() != then.get("providerID").text() {
        now.get("providerID").forbidden("node updates may not change providerID except from \"\" to valid", errors);
    }
    if now.get("externalID").text() != then.get("externalID").text() {
        now.get("externalID").forbidden("may not be updated", errors);
    }
}

/// What is told of a node.
pub(super) fn status(at: &At<'_>, errors: &mut Errors) {
    amounts(at, errors);
    let mut seen: Vec<&Value> = Vec::new();
    for address in at.at("status.addresses").items() {
        if seen.contains(&address.value) {
            address.duplicate(errors);
        }
        seen.push(address.value);
    }
}
