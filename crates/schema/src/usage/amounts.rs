//! Amounts of resources by name, and what a pod asks for as a whole.

use std::collections::BTreeMap;

use serde_json::Value;
use tricorn_meta::Quantity;
use tricorn_meta::json::list;

/// Amounts by the names of resources.
pub type Amounts = BTreeMap<String, Quantity>;

/// The amounts of a map as manifests have it; what is no amount is left out.
pub fn amounts(list: Option<&Value>) -> Amounts {
    let entries = list.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), Quantity::from_json(amount)?))).collect()
}

/// Adds the amounts of `more` to those of `into`.
pub fn add(into: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = into.get(name).map_or(*amount, |have| *have + *amount);
        into.insert(name.clone(), sum);
    }
}

fn raise(into: &mut Amounts, to: &Amounts) {
    for (name, amount) in to {
        if into.get(name).is_none_or(|have| have < amount) {
            into.insert(name.clone(), *amount);
        }
    }
}

/// Storage comes in whole bytes, whatever was asked for: quotas take nothing else.
pub(super) fn whole_bytes(amount: Quantity) -> Quantity {
    let whole = Quantity::from_integer(amount.value());
    if whole == amount { amount } else { whole }
}

/// What the pod as a whole asks for: its containers together, or its largest init container if that is more. `part` is `requests` or `limits`.
pub fn pod_total(pod: &Value, part: &str) -> Amounts {
    let of = |container: &Value| amounts(container.pointer(&format!("/resources/{part}")));
    let mut total = Amounts::new();
    list(pod, "spec.containers").iter().for_each(|c| add(&mut total, &of(c)));
    // Init containers run one after another, next to those sidecars that have been started before.
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in list(pod, "spec.initContainers") {
        let mut now = of(container);
        if container.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
            add(&mut total, &now);
            add(&mut sidecars, &now);
            now = sidecars.clone();
        } else {
            add(&mut now, &sidecars);
        }
        raise(&mut peak, &now);
    }
    raise(&mut total, &peak);
    for (name, amount) in amounts(pod.pointer(&format!("/spec/resources/{part}"))) {
        total.insert(name, amount);
    }
    // What the runtime needs for itself is asked for always, and limited only where something is.
    let mut overhead = amounts(pod.pointer("/spec/overhead"));
    if part == "limits" {
        overhead.retain(|name, _| total.contains_key(name));
    }
    add(&mut total, &overhead);
    total
}
