//! Small kinds that configure the cluster: leases, classes of priority and of runtimes.

use tricorn_meta::names;

use super::check::{At, Errors};
use super::metadata;
use super::pod::{resources, scheduling};

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    match kind {
        "Lease" => {
            let seconds = spec.get("leaseDurationSeconds");
            if seconds.int().is_some_and(|s| s <= 0) {
                seconds.invalid("must be greater than 0", errors);
            }
            spec.get("leaseTransitions").not_negative(errors);
        }
        "PriorityClass" => {
            let name = at.at("metadata.name");
            let value = at.get("value");
            if name.text().starts_with("system-") {
                if let Some(why) = no_system_class(name.text(), value.int().unwrap_or(0), at.get("globalDefault").flag()) {
                    let words = "priority class names with 'system-' prefix are reserved for system use only. error";
                    name.forbidden(&format!("{words}: {why}"), errors);
                }
            } else if value.int().is_some_and(|v| v > 1_000_000_000) {
                value.forbidden("maximum allowed value of a user defined priority is 1000000000", errors);
            }
            at.get("preemptionPolicy").required_one_of(&["Never", "PreemptLowerPriority"], errors);
        }
        "RuntimeClass" => {
            at.get("handler").named(names::dns1123_label, errors);
            resources::overhead(&at.at("overhead.podFixed").told_at(at.path.child("overhead")), errors);
            metadata::labels(&at.at("scheduling.nodeSelector"), errors);
            let tolerations = at.at("scheduling.tolerations");
            scheduling::tolerations(&tolerations, errors);
            let mut seen = Vec::new();
            for item in tolerations.items() {
                if seen.contains(&item.value) {
                    item.duplicate(errors);
                }
                seen.push(item.value);
            }
        }
        _ => {}
    }
}

/// The classes that every cluster has, and their values.
const SYSTEM_CLASSES: [(&str, i64); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// Why a class is none of the cluster's own.
fn no_system_class(name: &str, value: i64, by_default: bool) -> Option<String> {
    match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, known)) if *known != value => Some(format!("value of {name} PriorityClass must be {known}")),
        Some(_) => by_default.then(|| format!("globalDefault of {name} PriorityClass must be false")),
    }
}

/// What may not change.
pub(super) fn change(kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match kind {
        "PriorityClass" => {
            if at.get("value").int() != before.get("value").int() {
                at.get("value").forbidden("may not be changed in an update.", errors);
            }
            at.get("preemptionPolicy").unchanged(&before.get("preemptionPolicy"), errors);
        }
        "RuntimeClass" => at.get("handler").unchanged(&before.get("handler"), errors),
        _ => {}
    }
}
