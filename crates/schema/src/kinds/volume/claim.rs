//! Claims to volumes.

use serde_json::{Map, Value};
use tricorn_meta::{FieldError, Quantity, names};

use crate::kinds::check::{At, Errors, same};
use crate::kinds::metadata;
use crate::kinds::pod::resources;

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// Ways to use a volume.
pub(super) fn modes(at: &At<'_>, errors: &mut Errors) {
    for mode in at.items().filter(|m| !MODES.contains(&m.text())) {
        errors.push(FieldError::not_supported(&at.path, mode.text(), &MODES));
    }
    let known = |alone: bool| at.items().any(|m| MODES.contains(&m.text()) && (m.text() == "ReadWriteOncePod") == alone);
    if known(true) && known(false) {
        at.forbidden("may not use ReadWriteOncePod with other access modes", errors);
    }
}

/// The rules for a claim's spec.
pub(in crate::kinds) fn spec(spec: &At<'_>, errors: &mut Errors) {
    let access = spec.get("accessModes");
    if access.is_empty() {
        access.required("at least 1 access mode is required", errors);
    }
    if spec.get("selector").is_set() {
        metadata::selector(&spec.get("selector"), errors);
    }
    modes(&access, errors);
    let wanted = spec.at("resources.requests").get("storage").told_at(spec.path.child("resources").key("storage"));
    if !wanted.is_set() {
        wanted.required("", errors);
    } else if let Some(quantity) = wanted.quantity(errors)
        && (quantity.is_negative() || quantity.is_zero())
    {
        wanted.invalid_as(quantity.to_string(), "must be greater than zero", errors);
    }
    spec.get("storageClassName").maybe_named(names::dns1123_subdomain, errors);
    spec.get("volumeMode").one_of(&["Block", "Filesystem"], errors);
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    data_source(&source, errors);
    data_source(&reference, errors);
    if !reference.get("namespace").is_empty() {
        reference.get("namespace").named(names::dns1123_label, errors);
        if source.is_set() {
            spec.invalid_as(source.path.to_string(), "may not be specified when dataSourceRef.namespace is specified", errors);
        }
    } else if source.is_set() && reference.is_set() {
        let equal = ["apiGroup", "kind", "name"].iter().all(|key| source.get(key).text() == reference.get(key).text());
        if !equal {
            spec.invalid_as(source.path.to_string(), "must match dataSourceRef", errors);
        }
    }
    spec.get("volumeAttributesClassName").maybe_named(names::dns1123_subdomain, errors);
}

/// What the volume begins with.
fn data_source(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    at.get("name").need(errors);
    at.get("kind").need(errors);
    let (group, kind) = (at.get("apiGroup"), at.get("kind").text());
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        at.invalid_as(kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup", errors);
    }
    group.maybe_named(names::dns1123_subdomain, errors);
}

const FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// What of a claim may not change.
pub(in crate::kinds) fn change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (now, then) = (at.get("spec"), before.get("spec"));
    let note = |of: &At<'_>| of.at("metadata.annotations").value.get(BETA_CLASS).and_then(Value::as_str).map(str::to_owned);
    let (noted, noted_before) = (note(at), note(before));
    let (class, class_before) = (now.get("storageClassName"), then.get("storageClassName"));
    let fits = noted_before.as_deref().is_none_or(|n| n == class.text());
    let named_late = class.is_set() && !class_before.is_set() && fits;
    if noted != noted_before && !(named_late && noted.is_none()) {
        let path = at.get("metadata").path.child("annotations").child(BETA_CLASS);
        errors.push(FieldError::invalid(&path, noted.unwrap_or_default(), "field is immutable"));
    }
    let bound = before.at("status.phase").text() == "Bound";
    let free = |key: &str| match key {
        "volumeName" => then.get(key).is_empty(),
        "storageClassName" => named_late,
        "volumeAttributesClassName" => bound && now.get(key).is_set(),
        "resources" => bound && only_storage(&now.get(key), &then.get(key)),
        _ => false,
    };
    let mut keys = now.map().into_iter().chain(then.map()).flat_map(Map::keys);
    if keys.any(|key| !free(key) && !same(now.get(key).value, then.get(key).value)) {
        now.forbidden(FIXED, errors);
    }
    let size = |map: &At<'_>| resources::in_map(map, "storage").unwrap_or(Quantity::ZERO);
    let wanted = now.at("resources.requests");
    if size(&wanted) < size(&then.at("resources.requests")) && size(&wanted) <= size(&before.at("status.capacity")) {
        wanted.get("storage").forbidden("field can not be less than status.capacity", errors);
    }
    now.get("volumeMode").told_at("volumeMode".into()).unchanged(&then.get("volumeMode"), errors);
    let class = now.get("volumeAttributesClassName");
    if then.get("volumeAttributesClassName").is_set() {
        if !class.is_set() {
            class.forbidden("update from non-nil value to nil is forbidden", errors);
        } else if class.is_empty() {
            class.forbidden("update from non-nil value to an empty string is forbidden", errors);
        }
    }
}

/// Whether nothing differs but the size that is asked for.
fn only_storage(now: &At<'_>, then: &At<'_>) -> bool {
    let rest = |of: &At<'_>| {
        let mut value = of.value.clone();
        value.get_mut("requests").and_then(Value::as_object_mut).map(|map| map.remove("storage"));
        value
    };
    rest(now) == rest(then)
}

const RESIZES: [&str; 5] =
    ["ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"];

/// The rules for a claim's status.
pub(in crate::kinds) fn status(at: &At<'_>, errors: &mut Errors) {
    for (_, amount) in at.at("status.capacity").entries() {
        sized(&amount, errors);
    }
    let statuses = at.at("status.allocatedResourceStatuses");
    let told = at.path.child("status").child("allocatedResourceStatus");
    for (name, resize) in statuses.entries() {
        claimed(name, &resize.told_at(told.clone()), errors);
        if !RESIZES.contains(&resize.text()) {
            errors.push(FieldError::not_supported(&told, name, &RESIZES));
        }
    }
    let allocated = at.at("status.allocatedResources");
    for (name, amount) in allocated.entries() {
        claimed(name, &amount.told_at(allocated.path.clone()), errors);
        sized(&amount, errors);
    }
}

fn sized(amount: &At<'_>, errors: &mut Errors) {
    if let Some(quantity) = amount.quantity(errors)
        && quantity.is_negative()
    {
        amount.invalid_as(quantity.value(), "must be a valid resource quantity", errors);
    }
}

fn claimed(name: &str, at: &At<'_>, errors: &mut Errors) {
    let wrong = names::qualified_name(name);
    if wrong.is_empty() && name != "storage" && (!name.contains('/') || name.contains("kubernetes.io/")) {
        errors.push(FieldError::not_supported(&at.path, name, &["storage"]));
    }
    wrong.into_iter().for_each(|wrong| at.invalid_as(name, wrong, errors));
}
