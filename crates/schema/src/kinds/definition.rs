//! Definitions of custom kinds.

use serde_json::Value;
use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};
use super::{structural, webhook};

/// The rules for a definition.
pub(super) fn rules(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let (group, plural, name) = (spec.get("group"), spec.at("names.plural"), at.at("metadata.name"));
    if name.text() != format!("{}.{}", plural.text(), group.text()) {
        name.invalid("must be spec.names.plural+\".\"+spec.group", errors);
    }
    if group.need(errors) {
        joined(&group, names::dns1123_subdomain(group.text()), "", errors);
        if !group.text().contains('.') {
            group.invalid("should be a domain with at least one dot", errors);
        }
    }
    spec.get("scope").required_one_of(&["Cluster", "Namespaced"], errors);
    versions(&spec, errors);
    let preserve = spec.get("preserveUnknownFields");
    if preserve.flag() {
        preserve.invalid("cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead", errors);
    }
    spec.get("names").needs(&["plural", "singular", "kind", "listKind"], errors);
    words(&spec.get("names"), errors);
    conversion(&spec.get("conversion"), errors);
    stored(at, &spec, errors);
}

/// All complaints about a name as one.
fn joined(at: &At<'_>, wrong: Vec<String>, before: &str, errors: &mut Errors) {
    if !wrong.is_empty() {
        at.invalid(format!("{before}{}", wrong.join(",")), errors);
    }
}

/// The rules for a new definition: groups of Kubernetes' own are open to nobody without its leave.
pub(super) fn create(at: &At<'_>, errors: &mut Errors) {
    const NOTE: &str = "api-approved.kubernetes.io";
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let group = at.at("spec.group").text();
    let guarded = ["k8s.io", "kubernetes.io"].iter().any(|own| group == *own || group.ends_with(&format!(".{own}")));
    if !guarded {
        return;
    }
    let notes = at.at("metadata.annotations");
    let path = notes.path.key(NOTE);
    match notes.value.get(NOTE).and_then(Value::as_str).unwrap_or_default() {
        "" => errors.push(FieldError::required(&path, format!("protected groups must have approval annotation \"{NOTE}\", {SEE}"))),
        text if text.starts_with("unapproved") || text.contains("://") => {}
        text => {
            let words = format!(
                "protected groups must have approval annotation \"{NOTE}\" with either a URL or a reason starting with \"unapproved\", {SEE}"
            );
            errors.push(FieldError::invalid(&path, text, words));
        }
    }
}

fn versions(spec: &At<'_>, errors: &mut Errors) {
    let versions = spec.get("versions");
    let mut seen: Vec<&str> = Vec::new();
    let (mut stored, mut twice) = (0, false);
    for version in versions.items() {
        let name = version.get("name");
        if !names::dns1035_label(name.text()).is_empty() {
            name.invalid_as(name.text(), names::dns1035_label(name.text()).join(","), errors);
        }
        twice |= seen.contains(&name.text());
        seen.push(name.text());
        stored += i32::from(version.get("storage").flag());
        warning(&version, errors);
        let schema = version.at("schema.openAPIV3Schema");
        if schema.is_set() {
            structural::rules(&schema, errors);
        } else {
            schema.required("schemas are required", errors);
        }
        subresources(&version.get("subresources"), errors);
        version.get("additionalPrinterColumns").items().for_each(|c| column(&c, errors));
        fields(&version.get("selectableFields"), errors);
    }
    if twice {
        versions.invalid("must contain unique version names", errors);
    }
    if stored != 1 {
        versions.invalid("must have exactly one version marked as storage version", errors);
    }
}

const WARNING_MAX_BYTES: usize = 256;

fn warning(version: &At<'_>, errors: &mut Errors) {
    let warning = version.get("deprecationWarning");
    if !warning.is_set() {
        return;
    }
    if !version.get("deprecated").flag() {
        return warning.invalid("can only be set for deprecated versions", errors);
    }
    if warning.text().len() > WARNING_MAX_BYTES {
        warning.invalid(format!("must be <= {WARNING_MAX_BYTES} characters long"), errors);
    }
    if warning.is_empty() {
        warning.invalid("must not be an empty string", errors);
    }
    if let Some((i, _)) = warning.text().char_indices().find(|(_, c)| c.is_control()) {
        let words = format!("must only contain printable UTF-8 characters; non-printable character found at index {i}");
        warning.invalid(words, errors);
    }
}

fn subresources(at: &At<'_>, errors: &mut Errors) {
    let scale = at.get("scale");
    if !scale.is_set() {
        return;
    }
    for (key, root, needed) in
        [("specReplicasPath", ".spec.", true), ("statusReplicasPath", ".status.", true), ("labelSelectorPath", ".status.", false)]
    {
        let path = scale.get(key);
        let below = path.text().starts_with(root) || (!needed && path.text().starts_with(".spec."));
        if path.is_empty() {
            if needed {
                path.required("", errors);
            }
        } else if !below {
            let words = match key {
                "labelSelectorPath" => "should be a json path under either .spec or .status".to_owned(),
                _ => format!("should be a json path under {}", root.trim_end_matches('.')),
            };
            path.invalid(words, errors);
        }
    }
}

fn column(at: &At<'_>, errors: &mut Errors) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    let (kind, format, path) = (at.get("type"), at.get("format"), at.get("jsonPath").told_at(at.path.child("JSONPath")));
    at.get("name").need(errors);
    if kind.is_empty() {
        kind.required(&format!("must be one of {}", TYPES.join(",")), errors);
    } else if !TYPES.contains(&kind.text()) {
        kind.invalid(format!("must be one of {}", TYPES.join(",")), errors);
    }
    if !format.is_empty() && !FORMATS.contains(&format.text()) {
        format.invalid(format!("must be one of {}", FORMATS.join(",")), errors);
    }
    if path.need(errors) && !path.text().starts_with('.') {
        path.invalid("is not a valid JSON path: does not start with '.'", errors);
    }
}

const FIELDS_MAX: usize = 8;

fn fields(list: &At<'_>, errors: &mut Errors) {
    list.at_most_items(FIELDS_MAX, errors);
    let mut seen: Vec<&str> = Vec::new();
    for path in list.items().map(|f| f.get("jsonPath")) {
        if path.need(errors) {
            path.unique(&mut seen, errors);
        }
    }
}

/// What the kind is called.
fn words(at: &At<'_>, errors: &mut Errors) {
    const MIXED: &str = "may have mixed case, but should otherwise match: ";
    for (key, before) in [("plural", ""), ("singular", ""), ("kind", MIXED), ("listKind", MIXED)] {
        let word = at.get(key);
        if !word.is_empty() {
            let text = if before.is_empty() { word.text().to_owned() } else { word.text().to_lowercase() };
            joined(&word, names::dns1035_label(&text), before, errors);
        }
    }
    for word in ["shortNames", "categories"].map(|key| at.get(key)).iter().flat_map(At::items) {
        joined(&word, names::dns1035_label(word.text()), "", errors);
    }
    let list = at.get("listKind");
    if !list.is_empty() && list.text() == at.get("kind").text() {
        list.invalid("kind and listKind may not be the same", errors);
    }
}

fn conversion(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    let (strategy, hook) = (at.get("strategy"), at.get("webhook"));
    strategy.required_one_of(&["None", "Webhook"], errors);
    // Upstream's own form has the webhook's fields beside the strategy, and tells of them there.
    let config = hook.get("clientConfig").told_at(at.path.child("webhookClientConfig"));
    let versions = hook.get("conversionReviewVersions").told_at(at.path.child("conversionReviewVersions"));
    if strategy.text() != "Webhook" {
        for at in [&config, &versions].into_iter().filter(|at| !at.is_empty()) {
            at.forbidden("should not be set when strategy is not set to Webhook", errors);
        }
        return;
    }
    if config.is_set() {
        webhook::client(&config, errors);
    } else {
        config.required("required when strategy is set to Webhook", errors);
    }
    webhook::versions(&versions, "", errors);
}

/// A version in which objects are stored cannot go.
fn stored(at: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    for version in at.at("status.storedVersions").items() {
        if !spec.get("versions").items().any(|v| v.get("name").text() == version.text()) {
            version.invalid("must appear in spec.versions", errors);
        }
    }
}

/// What of a definition may not change.
pub(super) fn change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (now, then) = (at.get("spec"), before.get("spec"));
    let established =
        before.at("status.conditions").items().any(|c| c.get("type").text() == "Established" && c.get("status").text() == "True");
    if established {
        now.get("scope").unchanged(&then.get("scope"), errors);
        now.at("names.kind").unchanged(&then.at("names.kind"), errors);
    }
    now.get("group").unchanged(&then.get("group"), errors);
    now.at("names.plural").unchanged(&then.at("names.plural"), errors);
}
