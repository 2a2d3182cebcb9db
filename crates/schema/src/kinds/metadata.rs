//! The rules of `metadata`, which all kinds share but for what their names may be.

use serde_json::Value;
use tricorn_meta::{FieldError, names};

use super::addresses::canonical_ip;
use super::check::{At, Errors};

const ANNOTATIONS_MAX: usize = 256 * 1024;

/// What a kind's names may be.
type NameRule = fn(&str) -> Vec<String>;

/// The rule of names of a kind.
fn name_rule(group: &str, kind: &str) -> NameRule {
    match (group, kind) {
        ("", "Namespace") | ("apps", "StatefulSet") => names::dns1123_label,
        ("", "Service") => names::dns1035_label,
        ("rbac.authorization.k8s.io", _) => names::path_segment,
        ("certificates.k8s.io", "CertificateSigningRequest") => names::path_segment,
        ("batch", "CronJob") => |name| {
            let mut wrong = names::dns1123_subdomain(name);
            if name.len() > 52 {
                wrong.push("must be no more than 52 characters".to_owned());
            }
            wrong
        },
        ("networking.k8s.io", "IPAddress") => canonical_ip,
        _ => names::dns1123_subdomain,
    }
}

/// The rules for a new object.
pub(crate) fn create(group: &str, kind: &str, namespaced: bool, object: &Value, errors: &mut Errors) {
    let metadata = At::root(object).get("metadata");
    let rule = name_rule(group, kind);
    let prefix = metadata.get("generateName");
    if !prefix.is_empty() {
        // What is generated is appended, so a trailing dash or dot is fine.
        let probe = format!("{}a", prefix.text());
        rule(&probe).into_iter().for_each(|wrong| prefix.invalid(wrong, errors));
    }
    let name = metadata.get("name");
    if name.is_empty() {
        name.required("name or generateName is required", errors)
    } else {
        name.named(rule, errors)
    }
    let namespace = metadata.get("namespace");
    match namespaced {
        true => namespace.need_named(names::dns1123_label, errors),
        false if !namespace.is_empty() => namespace.forbidden("not allowed on this type", errors),
        false => {}
    }
    common(group, &metadata, errors);
}

/// The rules for the metadata of an object inside of another. It may have a name, and a namespace.
pub(crate) fn embedded(metadata: &At<'_>, errors: &mut Errors) {
    metadata.get("name").maybe_named(names::path_segment, errors);
    metadata.get("namespace").maybe_named(names::dns1123_label, errors);
    common("embedded", metadata, errors);
}

fn common(group: &str, metadata: &At<'_>, errors: &mut Errors) {
    let ours = OURS.contains(&group);
    metadata.get("generation").not_negative(errors);
    labels(&metadata.get("labels"), errors);
    annotations(&metadata.get("annotations"), errors);
    owners(&metadata.get("ownerReferences"), errors);
    let finalizers = metadata.get("finalizers");
    for item in finalizers.items() {
        item.told_at(finalizers.path.clone()).named(names::qualified_name, errors);
        standard(&item, ours, errors);
    }
    let has = |name: &str| finalizers.items().any(|f| f.text() == name);
    if has("orphan") && has("foregroundDeletion") {
        finalizers.invalid("finalizer orphan and foregroundDeletion cannot be both set", errors);
    }
    metadata.get("managedFields").items().for_each(|entry| managed(&entry, errors));
}

const MANAGER_MAX_BYTES: usize = 128;
const SUBRESOURCE_MAX_BYTES: usize = 256;

/// The rules for an entry of `managedFields`.
fn managed(entry: &At<'_>, errors: &mut Errors) {
    let (operation, kind, manager) = (entry.get("operation"), entry.get("fieldsType"), entry.get("manager"));
    if !matches!(operation.text(), "Apply" | "Update") {
        operation.invalid_as(operation.text(), "must be `Apply` or `Update`", errors);
    }
    if !matches!(kind.text(), "" | "FieldsV1") {
        kind.invalid("must be `FieldsV1`", errors);
    }
    manager.at_most_bytes(MANAGER_MAX_BYTES, errors);
    if manager.text().chars().any(char::is_control) {
        manager.invalid("should only contain printable characters", errors);
    }
    entry.get("subresource").at_most_bytes(SUBRESOURCE_MAX_BYTES, errors);
}

/// The name of a finalizer.
pub(crate) fn finalizer(at: &At<'_>, ours: bool, errors: &mut Errors) {
    at.named(names::qualified_name, errors);
    standard(at, ours, errors);
}

/// In kinds of the cluster's own, a finalizer without a domain is one of three.
fn standard(at: &At<'_>, ours: bool, errors: &mut Errors) {
    if ours && !at.text().contains('/') && !["kubernetes", "orphan", "foregroundDeletion"].contains(&at.text()) {
        at.invalid("name is neither a standard finalizer name nor is it fully qualified", errors);
    }
}

/// Groups that hold kinds of the cluster's own, and nobody else's.
const OURS: [&str; 16] = [
    "",
    "apps",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Keys and values of labels.
pub(crate) fn labels(labels: &At<'_>, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        names::qualified_name(key).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&labels.path, key, wrong)));
        names::label_value(value.text()).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&labels.path, value.text(), wrong)));
    }
}

/// Keys and the total size of annotations.
pub(crate) fn annotations(annotations: &At<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.entries() {
        names::qualified_name(&key.to_lowercase())
            .into_iter()
            .for_each(|wrong| errors.push(FieldError::invalid(&annotations.path, key, wrong)));
        size += key.len() + value.text().len();
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(&annotations.path, ANNOTATIONS_MAX));
    }
}

fn owners(owners: &At<'_>, errors: &mut Errors) {
    let mut controller: Option<&str> = None;
    for owner in owners.items() {
        let version = owner.get("apiVersion");
        if version.is_empty() {
            errors.push(FieldError::invalid(&version.path, "", "version must not be empty"));
        }
        for key in ["kind", "name", "uid"] {
            let at = owner.get(key);
            if at.is_empty() {
                errors.push(FieldError::invalid(&at.path, "", "must not be empty"));
            }
        }
        if (version.text(), owner.get("kind").text()) == ("v1", "Event") {
            owner.invalid("/v1, Kind=Event is disallowed from being an owner", errors);
        }
        if owner.get("controller").flag() {
            let name = owner.get("name").text();
            match controller {
                Some(other) => {
                    let words =
                        format!("Only one reference can have Controller set to true. Found \"true\" in references for {other} and {name}");
                    owners.invalid(words, errors);
                }
                None => controller = Some(name),
            }
        }
    }
}

/// The rules for a change of an object.
pub(crate) fn update(group: &str, new: &Value, old: &Value, errors: &mut Errors) {
    let (metadata, before) = (At::root(new).get("metadata"), At::root(old).get("metadata"));
    for key in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        metadata.get(key).unchanged(&before.get(key), errors);
    }
    let generation = metadata.get("generation");
    if generation.int().unwrap_or(0) < before.get("generation").int().unwrap_or(0) {
        generation.invalid("must not be decremented", errors);
    }
    if before.get("deletionTimestamp").is_set() {
        let had: Vec<&str> = before.get("finalizers").items().map(|f| f.text()).collect();
        let added: Vec<String> =
            metadata.get("finalizers").items().map(|f| f.text()).filter(|f| !had.contains(f)).map(|f| format!("{f:?}")).collect();
        if !added.is_empty() {
            let words = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.push(FieldError::forbidden(&metadata.get("finalizers").path, words));
        }
    }
    common(group, &metadata, errors);
}

/// Some operators need values, and some have none.
pub(crate) fn operands(operator: &At<'_>, values: &At<'_>, errors: &mut Errors) {
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => values.required("must be specified when `operator` is 'In' or 'NotIn'", errors),
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'", errors)
        }
        _ => {}
    }
}

/// A selector in the object form.
pub(crate) fn selector(selector: &At<'_>, errors: &mut Errors) {
    label_map(&selector.get("matchLabels"), errors);
    for expression in selector.get("matchExpressions").items() {
        expression.get("key").named(names::qualified_name, errors);
        let (operator, values) = (expression.get("operator"), expression.get("values"));
        operands(&operator, &values, errors);
        if !["In", "NotIn", "Exists", "DoesNotExist"].contains(&operator.text()) {
            operator.invalid("not a valid selector operator", errors);
        }
        values.items().for_each(|v| v.named(names::label_value, errors));
    }
}

/// A map of labels to be equal to.
pub(crate) fn label_map(map: &At<'_>, errors: &mut Errors) {
    labels(map, errors);
}
