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
            let system = ["system-node-critical", "system-cluster-critical"].contains(&name.text());
            if name.text().starts_with("system-") && !system {
                name.forbidden("priority class names with 'system-' prefix are reserved for system use only. error: only well-known system priority classes may use the prefix", errors);
            }
            let value = at.get("value");
            if value.int().is_some_and(|v| v > 1_000_000_000) && !system {
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
