//! Devices: what there is, what is asked for, and what was given.

use tricorn_meta::names;

use super::check::{At, Errors};
use super::pod::scheduling;
use super::{metadata, volume};

const REQUESTS_MAX: usize = 32;
const CHOICES_MAX: usize = 8;
const SELECTORS_MAX: usize = 32;
const EXPRESSION_MAX_BYTES: usize = 10 * 1024;
const RESERVED_MAX: usize = 256;

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "ResourceClaim" => claim(&at.at("spec.devices"), errors),
        "ResourceClaimTemplate" => {
            let meta = at.at("spec.metadata");
            metadata::annotations(&meta.get("annotations"), errors);
            metadata::labels(&meta.get("labels"), errors);
            let others = meta.map().into_iter().flatten().filter(|(k, v)| !v.is_null() && !matches!(k.as_str(), "annotations" | "labels"));
            others.for_each(|(key, _)| meta.get(key).forbidden("cannot be set", errors));
            claim(&at.at("spec.spec.devices"), errors);
        }
        "DeviceClass" => {
            selectors(&at.at("spec.selectors"), errors);
            at.at("spec.config").at_most_items(REQUESTS_MAX, errors);
            at.at("spec.config").items().for_each(|c| opaque(&c, errors));
        }
        "ResourceSlice" => slice(&at.get("spec"), errors),
        _ => {}
    }
}

fn claim(devices: &At<'_>, errors: &mut Errors) {
    let requests = devices.get("requests");
    requests.at_most_items(REQUESTS_MAX, errors);
    let mut known: Vec<String> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for item in requests.items() {
        let (name, exactly, choices) = (item.get("name"), item.get("exactly"), item.get("firstAvailable"));
        name.need_named(names::dns1123_label, errors);
        name.unique(&mut seen, errors);
        known.push(name.text().to_owned());
        match (exactly.is_set(), !choices.is_empty()) {
            (false, false) => item.required("exactly one of `exactly` or `firstAvailable` is required", errors),
            (true, true) => {
                let words = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
                item.invalid_as(serde_json::Value::Null, words, errors);
            }
            (true, false) => request(&exactly, errors),
            (false, true) => {
                choices.at_most_items(CHOICES_MAX, errors);
                let mut inner: Vec<&str> = Vec::new();
                for choice in choices.items() {
                    choice.get("name").need_named(names::dns1123_label, errors);
                    choice.get("name").unique(&mut inner, errors);
                    known.push(format!("{}/{}", name.text(), choice.get("name").text()));
                    request(&choice, errors);
                }
            }
        }
    }
    for list in ["constraints", "config"] {
        let list = devices.get(list);
        list.at_most_items(REQUESTS_MAX, errors);
        for named in list.items().flat_map(|item| item.get("requests").items()) {
            if !known.iter().any(|k| k == named.text()) {
                let words = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
                named.invalid(words, errors);
            }
        }
    }
    devices.get("config").items().for_each(|c| opaque(&c, errors));
}

fn request(at: &At<'_>, errors: &mut Errors) {
    at.get("deviceClassName").need_named(names::dns1123_subdomain, errors);
    selectors(&at.get("selectors"), errors);
    let (mode, count) = (at.get("allocationMode"), at.get("count"));
    mode.one_of(&["All", "ExactCount"], errors);
    match mode.text() {
        "All" if count.int().is_some_and(|n| n != 0) => {
            count.invalid("must not be specified when allocationMode is 'All'", errors);
        }
        "ExactCount" => count.positive(errors),
        _ => {}
    }
}

fn selectors(list: &At<'_>, errors: &mut Errors) {
    list.at_most_items(SELECTORS_MAX, errors);
    for cel in list.items().map(|s| s.get("cel")) {
        if cel.is_set() {
            cel.get("expression").at_most_bytes(EXPRESSION_MAX_BYTES, errors);
        } else {
            cel.required("", errors);
        }
    }
}

fn opaque(config: &At<'_>, errors: &mut Errors) {
    let opaque = config.get("opaque");
    if !opaque.is_set() {
        return opaque.required("", errors);
    }
    volume::driver(&opaque.get("driver"), errors);
    if !opaque.get("parameters").is_set() {
        opaque.get("parameters").required("", errors);
    }
}

fn slice(spec: &At<'_>, errors: &mut Errors) {
    volume::driver(&spec.get("driver"), errors);
    let pool = spec.get("pool");
    if pool.get("name").need(errors) {
        for part in pool.get("name").text().split('/') {
            names::dns1123_subdomain(part).into_iter().for_each(|wrong| pool.get("name").invalid_as(part, wrong, errors));
        }
    }
    if pool.get("resourceSliceCount").int().unwrap_or(0) <= 0 {
        let count = pool.get("resourceSliceCount");
        count.invalid_as(count.int().unwrap_or(0), "must be greater than zero", errors);
    }
    pool.get("generation").not_negative(errors);
    place(spec, errors);
    let mut seen: Vec<&str> = Vec::new();
    for device in spec.get("devices").items() {
        let name = device.get("name");
        name.need_named(names::dns1123_label, errors);
        name.unique(&mut seen, errors);
        properties(&device, errors);
    }
}

const PROPERTIES_MAX: usize = 32;
const VALUE_MAX_BYTES: usize = 64;

/// What is said of a device, and how much of what it has.
fn properties(device: &At<'_>, errors: &mut Errors) {
    let (attributes, capacity) = (device.get("attributes"), device.get("capacity"));
    let all = attributes.len() + capacity.len();
    if all > PROPERTIES_MAX {
        device.invalid_as(all, format!("the total number of attributes and capacities must not exceed {PROPERTIES_MAX}"), errors);
    }
    for (_, attribute) in attributes.entries() {
        let given = attribute.map().into_iter().flatten().filter(|(_, value)| !value.is_null()).count();
        if given != 1 {
            attribute.invalid("exactly one value must be specified", errors);
        }
        for key in ["string", "version"] {
            attribute.get(key).at_most_bytes(VALUE_MAX_BYTES, errors);
        }
    }
}

/// Exactly one way to say which nodes have the devices.
fn place(spec: &At<'_>, errors: &mut Errors) {
    let [node, selector, all, each] = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"].map(|key| spec.get(key));
    let mut given: Vec<&str> = Vec::new();
    if node.is_set() {
        if node.is_empty() {
            node.invalid("must be either unset or set to a non-empty string", errors);
        } else {
            given.push("`nodeName`");
            node.named(names::dns1123_subdomain, errors);
        }
    }
    if selector.is_set() {
        given.push("`nodeSelector`");
        scheduling::node_selector(&selector, errors);
        if selector.get("nodeSelectorTerms").len() != 1 {
            selector.get("nodeSelectorTerms").invalid("must have exactly one node selector term", errors);
        }
    }
    for (at, name) in [(&all, "`allNodes`"), (&each, "`perDeviceNodeSelection`")] {
        if at.flag() {
            given.push(name);
        } else if at.is_set() {
            at.invalid("must be either unset or set to true", errors);
        }
    }
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match given.len() {
        0 => spec.required(ONE, errors),
        1 => {}
        _ => spec.invalid_as(format!("{{{}}}", given.join(", ")), format!("{ONE}, but multiple fields are set"), errors),
    }
}

/// What may not change: what was asked for, and where a slice's devices are.
pub(super) fn change(kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match kind {
        "ResourceClaim" | "ResourceClaimTemplate" => at.get("spec").unchanged(&before.get("spec"), errors),
        "ResourceSlice" => {
            for path in ["spec.pool.name", "spec.driver", "spec.nodeName"] {
                at.at(path).unchanged(&before.at(path), errors);
            }
        }
        _ => {}
    }
}

/// What is told of a claim.
pub(super) fn status(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (status, then) = (at.get("status"), before.get("status"));
    let (reserved, allocation) = (status.get("reservedFor"), status.get("allocation"));
    reserved.at_most_items(RESERVED_MAX, errors);
    let mut seen: Vec<&str> = Vec::new();
    for consumer in reserved.items() {
        consumer.needs(&["resource", "name", "uid"], errors);
        if seen.contains(&consumer.get("uid").text()) {
            consumer.duplicate(errors);
        }
        seen.push(consumer.get("uid").text());
    }
    if !reserved.is_empty() && !allocation.is_set() {
        reserved.forbidden("may not be specified when `allocated` is not set", errors);
    } else if at.at("metadata.deletionTimestamp").is_set() {
        let old = then.get("reservedFor");
        if reserved.items().any(|new| !old.items().any(|o| o.value == new.value)) {
            reserved.forbidden("new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set", errors);
        }
    }
    if then.get("allocation").is_set() && allocation.is_set() {
        allocation.unchanged(&then.get("allocation"), errors);
    }
}
