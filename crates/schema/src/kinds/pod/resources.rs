//! Names and amounts of resources: what containers and pods ask for, and what quotas and limits are about.

use std::collections::BTreeMap;

use serde_json::Value;
use tricorn_meta::{FieldError, Quantity, names};

use crate::kinds::check::{At, Errors};

const OF_CONTAINERS: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];
const COUNTED: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];
const MEASURED: [&str; 7] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
];

/// What a resource is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Container,
    Pod,
    Quota,
    /// Whatever else: limits of storage.
    Any,
}

pub(crate) fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Of the cluster's own naming, as opposed to somebody's devices.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A device of somebody's naming, which is counted.
fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether more may be promised than is there.
pub(crate) fn can_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge(name)
}

fn in_quota(name: &str) -> bool {
    OF_CONTAINERS.contains(&name)
        || COUNTED.contains(&name)
        || MEASURED.contains(&name)
        || is_huge(name.strip_prefix("requests.").unwrap_or(name))
}

/// The rule of a resource's name; `at` is where it is told of.
pub(crate) fn name(whose: Whose, name: &str, at: &At<'_>, errors: &mut Errors) {
    let mut wrong = names::qualified_name(name);
    let short = !name.contains('/');
    if wrong.is_empty() && short && !(in_quota(name) || name == "storage") {
        wrong.push("must be a standard resource type or fully qualified".to_owned());
    }
    let more = match whose {
        Whose::Container if short => {
            (!OF_CONTAINERS.contains(&name) && !is_huge(name)).then_some("must be a standard resource for containers")
        }
        Whose::Container => (!is_native(name) && !is_extended(name)).then_some("doesn't follow extended resource name standard"),
        Whose::Quota if short => (!in_quota(name)).then_some("must be a standard resource for quota"),
        _ => None,
    };
    let fits = wrong.is_empty();
    wrong.into_iter().chain(more.map(str::to_owned)).for_each(|wrong| at.invalid_as(name, wrong, errors));
    if fits && whose == Whose::Pod && !matches!(name, "cpu" | "memory") && !is_huge(name) {
        errors.push(FieldError::not_supported(&at.path, name, &["cpu", "hugepages-", "memory"]));
    }
}

/// The rule of an amount. Gives the amount, if it is one.
pub(crate) fn amount(name: &str, at: &At<'_>, errors: &mut Errors) -> Option<Quantity> {
    let quantity = at.quantity(errors)?;
    if quantity.is_negative() {
        at.invalid_as(quantity.to_string(), "must be greater than or equal to 0", errors);
    }
    if (COUNTED.contains(&name) || is_extended(name)) && quantity.milli_value() % 1000 != 0 {
        at.invalid("must be an integer", errors);
    }
    Some(quantity)
}

/// What a container asks for.
pub(super) fn of_container(at: &At<'_>, claims: &[&str], errors: &mut Errors) {
    requirements(at, Whose::Container, errors);
    claimed(&at.get("claims"), claims, errors);
}

/// What a pod costs beyond its containers.
pub(crate) fn overhead(at: &At<'_>, errors: &mut Errors) {
    let limits = at.told_at(at.path.child("limits"));
    amounts(&limits, Whose::Container, errors);
}

fn requirements(at: &At<'_>, whose: Whose, errors: &mut Errors) {
    let (limits_at, requests_at) = (at.get("limits"), at.get("requests"));
    let limits = amounts(&limits_at, whose, errors);
    for (name, request) in amounts(&requests_at, whose, errors) {
        match limits.get(name) {
            Some(limit) if request != *limit && !can_overcommit(name) => {
                requests_at.invalid_as(request.to_string(), format!("must be equal to {name} limit of {limit}"), errors);
            }
            Some(limit) if request > *limit => {
                requests_at.invalid_as(request.to_string(), format!("must be less than or equal to {name} limit of {limit}"), errors);
            }
            None if !can_overcommit(name) => limits_at.required("Limit must be set for non overcommitable resources", errors),
            _ => {}
        }
    }
    let named = |which: fn(&str) -> bool| [&limits_at, &requests_at].iter().any(|l| l.entries().any(|(name, _)| which(name)));
    if named(is_huge) && !named(|name| matches!(name, "cpu" | "memory")) {
        at.forbidden("HugePages require cpu or memory", errors);
    }
}

fn amounts<'a>(list: &At<'a>, whose: Whose, errors: &mut Errors) -> BTreeMap<&'a str, Quantity> {
    let mut found = BTreeMap::new();
    for (resource, at) in list.entries() {
        name(whose, resource, &at, errors);
        let Some(quantity) = amount(resource, &at, errors) else { continue };
        let page = resource.strip_prefix("hugepages-").and_then(|size| size.parse::<Quantity>().ok()).map(Quantity::value);
        if is_huge(resource) && page.is_none_or(|size| size <= 0 || quantity.value() % size != 0) {
            at.invalid_as(quantity.to_string(), format!("{quantity} is not positive integer multiple of {resource}"), errors);
        }
        found.insert(resource, quantity);
    }
    found
}

/// The pod's claims that a container uses, whole or one request of them.
fn claimed(list: &At<'_>, claims: &[&str], errors: &mut Errors) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for item in list.items() {
        let (name, request) = (item.get("name").text(), item.get("request").text());
        if name.is_empty() {
            item.required("", errors);
            continue;
        }
        item.get("request").maybe_named(names::dns1123_label, errors);
        if seen.contains(&(name, "")) || (request.is_empty() && seen.iter().any(|(n, _)| *n == name)) {
            errors.push(FieldError::duplicate(&item.path, name));
        } else if seen.contains(&(name, request)) {
            errors.push(FieldError::duplicate(&item.path, format!("{name}/{request}")));
        }
        seen.push((name, request));
        if !claims.contains(&name) {
            let mut error = FieldError::not_found(&item.path, name);
            let mut known = claims.to_vec();
            known.sort_unstable();
            let rest = if known.is_empty() { " which is empty".to_owned() } else { format!(": {}", known.join(", ")) };
            error.detail = format!("must be one of the names in pod.spec.resourceClaims{rest}");
            errors.push(error);
        }
    }
}

/// What a pod asks for as a whole: no container may be promised more.
pub(super) fn of_pod(spec: &At<'_>, errors: &mut Errors) {
    let at = spec.get("resources");
    if !at.is_set() {
        return;
    }
    if !at.get("claims").is_empty() {
        at.get("claims").forbidden("claims cannot be set for Resources at pod-level", errors);
    }
    requirements(&at, Whose::Pod, errors);
    for (name, pod) in at.get("requests").entries() {
        let (Some(pod_amount), sum) = (Quantity::from_json(pod.value), together(spec, name)) else { continue };
        if sum > pod_amount {
            let words = format!("must be greater than or equal to aggregate container requests of {sum}");
            pod.invalid_as(pod_amount.to_string(), words, errors);
        }
    }
    for (i, container) in spec.get("containers").items().enumerate() {
        for (name, limit) in container.at("resources.limits").entries() {
            let pod = at.get("limits").value.get(name).and_then(Quantity::from_json);
            if let (Some(limit), Some(pod)) = (Quantity::from_json(limit.value), pod)
                && limit > pod
            {
                let path = at.path.child("containers").index(i).key(name).child("limits");
                errors.push(FieldError::invalid(&path, limit.to_string(), format!("must be less than or equal to pod limits of {pod}")));
            }
        }
    }
}

/// What the containers of a pod ask for at most at one time.
fn together(spec: &At<'_>, name: &str) -> Quantity {
    let request = |c: &At<'_>| c.at("resources.requests").value.get(name).and_then(Quantity::from_json).unwrap_or(Quantity::ZERO);
    let (mut beside, mut most) = (Quantity::ZERO, Quantity::ZERO);
    for container in spec.get("initContainers").items() {
        if container.get("restartPolicy").text() == "Always" {
            beside += request(&container);
            most = most.max(beside);
        } else {
            most = most.max(beside + request(&container));
        }
    }
    let ordinary: Quantity = spec.get("containers").items().map(|c| request(&c)).sum();
    most.max(ordinary + beside)
}

/// The amount in a map of resources.
pub(crate) fn in_map(map: &At<'_>, name: &str) -> Option<Quantity> {
    map.value.get(name).and_then(|v: &Value| Quantity::from_json(v))
}
