//! Aggregated servers.

use tricorn_meta::names;

use super::check::{At, Errors};

/// The rules for an APIService.
pub(super) fn rules(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let (group, version, name) = (spec.get("group"), spec.get("version"), at.at("metadata.name"));
    let expected = format!("{}.{}", version.text(), group.text());
    if name.text() != expected && name.text() != expected.trim_end_matches('.') {
        name.invalid(format!("must be `spec.version+\".\"+spec.group`: {expected:?}"), errors);
    }
    group.maybe_named(names::dns1123_subdomain, errors);
    version.need_named(names::dns1035_label, errors);
    for (key, max) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let priority = spec.get(key);
        let number = priority.int().unwrap_or(0);
        if !(1..=max).contains(&number) {
            priority.invalid_as(number, format!("must be positive and less than {max}"), errors);
        }
    }
    let (service, bundle, insecure) = (spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify"));
    if !service.is_set() {
        if !bundle.is_empty() {
            bundle.invalid("local APIServices may not have a caBundle", errors);
        }
        if insecure.flag() {
            insecure.invalid("local APIServices may not have insecureSkipTLSVerify", errors);
        }
        return;
    }
    service.needs(&["namespace", "name"], errors);
    if let Some(number) = service.get("port").int() {
        for wrong in names::port_number(number) {
            service.get("port").invalid(format!("port is not valid: {wrong}"), errors);
        }
    }
    if insecure.flag() && !bundle.is_empty() {
        insecure.invalid("may not be true if caBundle is present", errors);
    }
}
