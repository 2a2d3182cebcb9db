//! Storage classes, CSI drivers and what they know of nodes and space, attachments.

use tricorn_meta::{FieldError, names};

use super::check::{At, Errors, same};
use super::{metadata, volume};

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "StorageClass" => class(at, errors),
        "VolumeAttributesClass" => {
            provisioner(&at.get("driverName"), errors);
            let parameters = at.get("parameters");
            if parameters.is_empty() {
                parameters.required("must contain at least one key/value pair", errors);
            }
            pairs(&parameters, errors);
        }
        "CSIDriver" => driver(at, errors),
        "CSINode" => node(&at.get("spec"), errors),
        "CSIStorageCapacity" => capacity(at, errors),
        "VolumeAttachment" => attachment(&at.get("spec"), errors),
        _ => {}
    }
}

fn provisioner(at: &At<'_>, errors: &mut Errors) {
    if at.need(errors) {
        let wrong = names::qualified_name(&at.text().to_lowercase());
        wrong.into_iter().for_each(|wrong| at.invalid(wrong, errors));
    }
}

const PARAMETERS_MAX: usize = 512;
const PARAMETERS_MAX_BYTES: usize = 256 * 1024;

fn pairs(at: &At<'_>, errors: &mut Errors) {
    if at.len() > PARAMETERS_MAX {
        return errors.push(FieldError::too_long(&at.path, PARAMETERS_MAX));
    }
    if at.entries().any(|(key, _)| key.is_empty()) {
        at.invalid_as("", "field can not be empty.", errors);
    }
    if at.entries().map(|(key, value)| key.len() + value.text().len()).sum::<usize>() > PARAMETERS_MAX_BYTES {
        errors.push(FieldError::too_long(&at.path, PARAMETERS_MAX_BYTES));
    }
}

fn class(at: &At<'_>, errors: &mut Errors) {
    provisioner(&at.get("provisioner"), errors);
    pairs(&at.get("parameters"), errors);
    at.get("reclaimPolicy").one_of(&["Delete", "Retain"], errors);
    at.get("volumeBindingMode").required_one_of(&["Immediate", "WaitForFirstConsumer"], errors);
    let mut seen = Vec::new();
    for term in at.get("allowedTopologies").items() {
        let expressions = term.get("matchLabelExpressions");
        topology(&expressions, errors);
        if seen.contains(&expressions.value) {
            errors.push(FieldError::duplicate(&expressions.path, ""));
        }
        seen.push(expressions.value);
    }
}

fn topology(expressions: &At<'_>, errors: &mut Errors) {
    let mut keys: Vec<&str> = Vec::new();
    for expression in expressions.items() {
        let (key, values) = (expression.get("key"), expression.get("values"));
        values.need(errors);
        let mut seen: Vec<&str> = Vec::new();
        values.items().for_each(|v| v.unique(&mut seen, errors));
        key.named(names::qualified_name, errors);
        key.unique(&mut keys, errors);
    }
}

fn driver(at: &At<'_>, errors: &mut Errors) {
    volume::driver(&at.at("metadata.name").told_at("name".into()), errors);
    let spec = at.get("spec");
    for key in ["attachRequired", "podInfoOnMount", "storageCapacity"] {
        if !spec.get(key).is_set() {
            spec.get(key).required("", errors);
        }
    }
    spec.get("volumeLifecycleModes").items().for_each(|m| m.one_of(&["Ephemeral", "Persistent"], errors));
    spec.get("fsGroupPolicy").one_of(&["File", "None", "ReadWriteOnceWithFSType"], errors);
    let mut audiences: Vec<&str> = Vec::new();
    for token in spec.get("tokenRequests").items() {
        let (audience, seconds) = (token.get("audience"), token.get("expirationSeconds"));
        audience.unique(&mut audiences, errors);
        volume::files::token_lifetime(&seconds, errors);
    }
    let period = spec.get("nodeAllocatableUpdatePeriodSeconds");
    if period.int().is_some_and(|s| s < 10) {
        period.invalid("must be greater than or equal to 10 seconds", errors);
    }
}

const NODE_ID_MAX_BYTES: usize = 256;

fn node(spec: &At<'_>, errors: &mut Errors) {
    let mut drivers: Vec<&str> = Vec::new();
    for item in spec.get("drivers").items() {
        let (name, id, keys) = (item.get("name"), item.get("nodeID"), item.get("topologyKeys"));
        volume::driver(&name, errors);
        if id.need(errors) && id.text().len() > NODE_ID_MAX_BYTES {
            id.invalid(format!("must be {NODE_ID_MAX_BYTES} characters or less"), errors);
        }
        item.at("allocatable.count").not_negative(errors);
        let mut seen: Vec<&str> = Vec::new();
        for key in keys.items() {
            if key.is_empty() {
                keys.required("", errors);
            }
            key.told_at(keys.path.clone()).unique(&mut seen, errors);
            key.told_at(keys.path.clone()).named(names::qualified_name, errors);
        }
        name.unique(&mut drivers, errors);
    }
}

fn capacity(at: &At<'_>, errors: &mut Errors) {
    metadata::selector(&at.get("nodeTopology"), errors);
    let class = at.get("storageClassName");
    class.named(names::dns1123_subdomain, errors);
    for key in ["capacity", "maximumVolumeSize"] {
        let amount = at.get(key);
        if amount.is_set()
            && let Some(quantity) = amount.quantity(errors)
            && quantity.is_negative()
        {
            amount.invalid_as(quantity.to_string(), "must be greater than or equal to 0", errors);
        }
    }
}

fn attachment(spec: &At<'_>, errors: &mut Errors) {
    volume::driver(&spec.get("attacher"), errors);
    let source = spec.get("source");
    let (inline, name) = (source.get("inlineVolumeSpec"), source.get("persistentVolumeName"));
    match (inline.is_set(), name.is_set()) {
        (false, false) => source.required("must specify exactly one of inlineVolumeSpec and persistentVolumeName", errors),
        (true, true) => source.forbidden("must specify exactly one of inlineVolumeSpec and persistentVolumeName", errors),
        (false, true) if name.is_empty() => name.required("must specify non empty persistentVolumeName", errors),
        (false, true) => name.named(names::dns1123_subdomain, errors),
        (true, false) => {}
    }
    spec.get("nodeName").named(names::dns1123_subdomain, errors);
}

/// What may not change.
pub(super) fn change(kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match kind {
        "StorageClass" => {
            fixed(at, before, &["parameters", "provisioner", "reclaimPolicy"], errors);
            at.get("volumeBindingMode").unchanged(&before.get("volumeBindingMode"), errors);
        }
        "VolumeAttributesClass" => {
            fixed(at, before, &["driverName", "parameters"], errors);
        }
        "CSIDriver" => {
            let (now, then) = (at.get("spec"), before.get("spec"));
            now.get("attachRequired").told_at(now.path.child("attachedRequired")).unchanged(&then.get("attachRequired"), errors);
            now.get("volumeLifecycleModes").unchanged(&then.get("volumeLifecycleModes"), errors);
        }
        "CSINode" => {
            let now = at.at("spec.drivers");
            for old in before.at("spec.drivers").items() {
                let name = old.get("name").text();
                if now.items().any(|new| {
                    let kept = ["nodeID", "topologyKeys"].iter().all(|key| same(new.get(key).value, old.get(key).value));
                    new.get("name").text() == name && !kept
                }) {
                    now.told_at("CSINodeDriver".into()).invalid("field is immutable", errors);
                }
            }
        }
        "CSIStorageCapacity" => {
            for key in ["nodeTopology", "storageClassName"] {
                at.get(key).unchanged(&before.get(key), errors);
            }
        }
        "VolumeAttachment" => at.get("spec").unchanged(&before.get("spec"), errors),
        _ => {}
    }
}

fn fixed(at: &At<'_>, before: &At<'_>, keys: &[&str], errors: &mut Errors) {
    for key in keys {
        if !same(at.get(key).value, before.get(key).value) {
            at.get(key).forbidden(&format!("updates to {key} are forbidden."), errors);
        }
    }
}
