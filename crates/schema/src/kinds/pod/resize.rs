//! A running pod is given more or less.

use super::{MIRROR, qos_class, spec};
use crate::kinds::check::{At, Errors, same};

/// The rules for a change of what a pod's containers ask for.
pub(in crate::kinds) fn resize(new: &At<'_>, old: &At<'_>, errors: &mut Errors) {
    let no = |what: &str, errors: &mut Errors| At::whole(new.value).forbidden(what, errors);
    if old.at("metadata.annotations").value.get(MIRROR).is_some() {
        return no("static pods cannot be resized", errors);
    }
    if old.at("spec.os.name").text() == "windows" {
        return no("windows pods cannot be resized", errors);
    }
    let (now, then) = (new.get("spec"), old.get("spec"));
    spec::whole(&now, Some(new.at("metadata.name").text()), errors);
    let class = old.at("status.qosClass").text();
    let class = if class.is_empty() { qos_class(old.value) } else { class };
    if class != qos_class(new.value) {
        now.invalid_as(class, "Pod QOS Class may not change as a result of resizing", errors);
    }
    for list in ["initContainers", "containers"] {
        containers(&now, &now.get(list), &then.get(list), errors);
    }
}

fn containers(spec: &At<'_>, now: &At<'_>, then: &At<'_>, errors: &mut Errors) {
    for (new, old) in now.items().zip(then.items()) {
        let sidecar = old.get("restartPolicy").text() == "Always";
        let ordinary = now.path.as_str().ends_with(".containers");
        let (new_amounts, old_amounts) = (new.get("resources"), old.get("resources"));
        if !ordinary && !sidecar {
            if !same(new_amounts.value, old_amounts.value) {
                spec.forbidden("resources for non-sidecar init containers are immutable", errors);
            }
            continue;
        }
        for (key, words) in [("requests", "resource requests cannot be removed"), ("limits", "resource limits cannot be removed")] {
            let (new_list, old_list) = (new_amounts.get(key), old_amounts.get(key));
            if old_list.entries().any(|(name, _)| new_list.value.get(name).is_none()) {
                new_list.forbidden(words, errors);
            }
            let names = new_list.entries().chain(old_list.entries()).map(|(name, _)| name);
            let others = names.filter(|n| !matches!(*n, "cpu" | "memory"));
            if others.into_iter().any(|name| new_list.value.get(name) != old_list.value.get(name)) {
                let words = if ordinary {
                    "only cpu and memory resources are mutable"
                } else {
                    "only cpu and memory resources for sidecar containers are mutable"
                };
                spec.forbidden(words, errors);
            }
        }
    }
}
