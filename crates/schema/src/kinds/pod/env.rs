//! Environment variables and where they come from; files and variables that tell a container of itself.

use tricorn_meta::{FieldError, Quantity, names};

use super::spec::Around;
use crate::kinds::check::{At, Errors};
use crate::kinds::volume;

const VARIABLE_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What a downward API volume can hold.
pub(crate) const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The rules for `env`.
pub(super) fn variables(env: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    for variable in env.items() {
        variable.get("name").need_named(names::env_var_name, errors);
        let source = variable.get("valueFrom");
        if source.is_set() {
            value_from(&source, &variable.get("value"), around, errors);
        }
    }
}

fn value_from(source: &At<'_>, value: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    let [field, resource, map, secret, file] =
        ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"].map(|key| source.get(key));
    if field.is_set() {
        field_ref(&field, &VARIABLE_FIELDS, errors);
    }
    if resource.is_set() {
        resource_ref(&resource, false, errors);
    }
    for reference in [&map, &secret].into_iter().filter(|r| r.is_set()) {
        reference.get("name").named(names::dns1123_subdomain, errors);
        reference.get("key").need_named(names::config_map_key, errors);
    }
    if file.is_set() {
        file_ref(&file, around, errors);
    }
    let wrong = match [&field, &resource, &map, &secret, &file].iter().filter(|s| s.is_set()).count() {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if !value.is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    source.invalid_as("", wrong, errors);
}

fn file_ref(file: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    file.get("key").need_named(names::env_var_name, errors);
    let (name, path) = (file.get("volumeName"), file.get("path"));
    if name.need(errors) && !around.volumes.iter().any(|v| v.get("name").text() == name.text()) {
        name.not_found(errors);
    }
    if path.need(errors) {
        volume::local_path(&path, errors);
    }
}

/// A field of the pod, by its path; maps are asked for one key with `['key']`.
pub(crate) fn field_ref(at: &At<'_>, allowed: &[&str], errors: &mut Errors) {
    const KNOWN: [&str; 7] = [
        "metadata.annotations",
        "metadata.labels",
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.phase",
        "spec.nodeName",
        "spec.serviceAccountName",
    ];
    let (version, path) = (at.get("apiVersion"), at.get("fieldPath"));
    if !version.need(errors) || !path.need(errors) {
        return;
    }
    let no = |what: &str| format!("error converting fieldPath: {what}");
    if version.text() != "v1" {
        return path.invalid(no(&format!("unsupported pod version: {}", version.text())), errors);
    }
    match path.text().strip_suffix("']").and_then(|p| p.split_once("['")) {
        Some(("metadata.annotations", key)) => complain(at, key, &key.to_lowercase(), errors),
        Some(("metadata.labels", key)) => complain(at, key, key, errors),
        Some((before, _)) if !before.is_empty() => {
            path.invalid(no(&format!("field label does not support subscript: {}", path.text())), errors);
        }
        _ if allowed.contains(&path.text()) || (path.text() == "spec.host" && allowed.contains(&"spec.nodeName")) => {}
        _ if KNOWN.contains(&path.text()) || VARIABLE_FIELDS.contains(&path.text()) => path.unsupported(allowed, errors),
        _ => path.invalid(no(&format!("field label not supported: {}", path.text())), errors),
    }
}

fn complain(at: &At<'_>, key: &str, judged: &str, errors: &mut Errors) {
    names::qualified_name(judged).into_iter().for_each(|wrong| at.invalid_as(key, wrong, errors));
}

const RESOURCES: [&str; 6] =
    ["limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"];
const DIVISORS: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// An amount that a container asks for or is limited to. A volume has to say of which container.
pub(crate) fn resource_ref(at: &At<'_>, in_volume: bool, errors: &mut Errors) {
    let name = at.get("resource");
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|p| name.text().starts_with(p));
    if in_volume && at.get("containerName").is_empty() {
        at.get("containerName").required("", errors);
    } else if name.need(errors) && !huge && !RESOURCES.contains(&name.text()) {
        name.unsupported(&RESOURCES, errors);
    }
    let divisor = at.get("divisor");
    let Some(amount) = Quantity::from_json(divisor.value).filter(|q| !q.is_zero()) else { return };
    let written = amount.to_string();
    let (allowed, what): (&[&str], &str) = match name.text() {
        "limits.cpu" | "requests.cpu" => (&["1m", "1"], "cpu"),
        "limits.memory" | "requests.memory" => (&DIVISORS, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (&DIVISORS, "local ephemeral storage"),
        _ if huge => (&DIVISORS, "hugepages"),
        _ => return,
    };
    if !allowed.contains(&written.as_str()) {
        let list = if what == "cpu" { "1m and 1".to_owned() } else { DIVISORS.join(", ") };
        divisor.invalid_as(name.text(), format!("only divisor's values {list} are supported with the {what} resource"), errors);
    }
}

/// The rules for `envFrom`.
pub(super) fn sources(sources: &At<'_>, errors: &mut Errors) {
    for source in sources.items() {
        source.get("prefix").maybe_named(names::env_var_name, errors);
        let both = ["configMapRef", "secretRef"].map(|key| source.get(key));
        for reference in both.iter().filter(|r| r.is_set()) {
            reference.get("name").need_named(names::dns1123_subdomain, errors);
        }
        let wrong = match both.iter().filter(|r| r.is_set()).count() {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errors.push(FieldError::invalid(&sources.path, "", wrong));
    }
}
