//! Kinds that extend the API: custom resource definitions and aggregated servers.

use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "CustomResourceDefinition" => definition(at, errors),
        "APIService" => service(at, errors),
        _ => {}
    }
}

fn definition(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let (group, plural) = (spec.get("group"), spec.at("names.plural"));
    group.need_named(names::dns1123_subdomain, errors);
    plural.need_named(names::dns1035_label, errors);
    let kind = spec.at("names.kind");
    if kind.need(errors) {
        names::dns1035_label(&kind.text().to_lowercase())
            .into_iter()
            .for_each(|wrong| kind.invalid(format!("may have mixed case, but should otherwise match: {wrong}"), errors));
    }
    spec.get("scope").required_one_of(&["Cluster", "Namespaced"], errors);
    let name = at.at("metadata.name");
    let expected = format!("{}.{}", plural.text(), group.text());
    if name.text() != expected && !plural.is_empty() && !group.is_empty() {
        name.invalid("must be spec.names.plural+\".\"+spec.group", errors);
    }
    let versions = spec.get("versions");
    let mut stored = 0;
    let mut seen = Vec::new();
    for version in versions.items() {
        let name = version.get("name");
        name.need_named(names::dns1035_label, errors);
        if seen.contains(&name.text()) {
            name.duplicate(errors);
        }
        seen.push(name.text());
        stored += i32::from(version.get("storage").flag());
        let schema = version.at("schema.openAPIV3Schema");
        if !schema.is_set() {
            schema.required("schemas are required", errors);
        }
    }
    if stored != 1 {
        errors.push(FieldError::invalid(&versions.path, versions.value.clone(), "must have exactly one version marked as storage version"));
    }
    spec.at("conversion.strategy").one_of(&["None", "Webhook"], errors);
}

fn service(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let (group, version) = (spec.get("group"), spec.get("version"));
    version.need_named(names::dns1035_label, errors);
    let expected = format!("{}.{}", version.text(), group.text());
    let name = at.at("metadata.name");
    if name.text() != expected && name.text() != expected.trim_end_matches('.') {
        name.invalid(format!("must be `spec.version+\".\"+spec.group`: {expected:?}"), errors);
    }
    let priority = spec.get("groupPriorityMinimum");
    if !(1..=20_000).contains(&priority.int().unwrap_or(0)) {
        errors.push(FieldError::invalid(&priority.path, priority.int().unwrap_or(0), "must be positive and less than 20000"));
    }
    let priority = spec.get("versionPriority");
    if !(1..=1000).contains(&priority.int().unwrap_or(0)) {
        errors.push(FieldError::invalid(&priority.path, priority.int().unwrap_or(0), "must be positive and less than 1000"));
    }
    let service = spec.get("service");
    if service.is_set() {
        service.get("namespace").need(errors);
        service.get("name").need(errors);
    }
}
