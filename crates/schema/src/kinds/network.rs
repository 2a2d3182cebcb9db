//! Ingresses, network policies, and what addresses of the cluster are given out from.

use tricorn_meta::{FieldError, names};

use super::addresses::{address, block, canonical_cidr, cidr};
use super::check::{At, Errors};
use super::metadata;

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "Ingress" => ingress(&at.get("spec"), errors),
        "IngressClass" => class(&at.get("spec"), errors),
        "NetworkPolicy" => policy(&at.get("spec"), errors),
        "ServiceCIDR" => {
            let blocks = at.at("spec.cidrs");
            if blocks.is_empty() {
                blocks.required("at least one CIDR required", errors);
            }
            blocks.items().for_each(|b| b.named(canonical_cidr, errors));
            if blocks.len() > 2 {
                blocks.invalid("may only hold up to 2 values", errors);
            } else if blocks.len() == 2 && blocks.items().filter(|b| b.text().contains(':')).count() != 1 {
                let words = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
                blocks.invalid(words, errors);
            }
        }
        "IPAddress" => parent(&at.at("spec.parentRef"), errors),
        _ => {}
    }
}

/// What belongs to an object of some kind: a Service's address.
fn parent(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return at.required("", errors);
    }
    at.get("group").maybe_named(names::dns1123_subdomain, errors);
    at.get("resource").need_named(names::path_segment, errors);
    at.get("name").need_named(names::path_segment, errors);
    at.get("namespace").maybe_named(names::path_segment, errors);
}

const CONTROLLER_MAX_BYTES: usize = 250;

fn class(spec: &At<'_>, errors: &mut Errors) {
    let (controller, parameters) = (spec.get("controller"), spec.get("parameters"));
    if controller.need(errors) {
        controller.at_most_bytes(CONTROLLER_MAX_BYTES, errors);
        domain_path(&controller, errors);
    }
    if !parameters.is_set() {
        return;
    }
    reference(&parameters, errors);
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    match scope.text() {
        "" => scope.required("", errors),
        "Namespace" if !namespace.is_set() => namespace.required("`parameters.scope` is set to 'Namespace'", errors),
        "Namespace" => namespace.named(names::dns1123_label, errors),
        "Cluster" if namespace.is_set() => namespace.forbidden("`parameters.scope` is set to 'Cluster'", errors),
        _ => scope.one_of(&["Cluster", "Namespace"], errors),
    }
}

/// `domain/path`: who implements something.
pub(super) fn domain_path(at: &At<'_>, errors: &mut Errors) {
    let Some((domain, path)) = at.text().split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty()) else {
        return at.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")", errors);
    };
    for wrong in names::dns1123_subdomain(domain) {
        errors.push(FieldError::invalid(&at.path, domain, wrong));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
    if !path.bytes().all(plain) {
        let words = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        errors.push(FieldError::invalid(&at.path, path, words));
    }
}

/// An object of some kind, by its name.
fn reference(at: &At<'_>, errors: &mut Errors) {
    if at.get("apiGroup").is_set() {
        at.get("apiGroup").named(names::dns1123_subdomain, errors);
    }
    at.get("kind").need_named(names::path_segment, errors);
    at.get("name").need_named(names::path_segment, errors);
}

fn ingress(spec: &At<'_>, errors: &mut Errors) {
    let (rules, fallback) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.is_empty() && !fallback.is_set() {
        spec.invalid_as(rules.value.clone(), "either `defaultBackend` or `rules` must be specified", errors);
    }
    if fallback.is_set() {
        backend(&fallback, errors);
    }
    for rule in rules.items() {
        let (host, http) = (rule.get("host"), rule.get("http"));
        if address(host.text()).is_some() {
            host.invalid("must be a DNS name, not an IP address", errors);
        }
        host_name(&host, errors);
        if http.is_set() {
            http.get("paths").need(errors);
        }
        http.get("paths").items().for_each(|p| path(&p, errors));
    }
    for tls in spec.get("tls").items() {
        tls.get("hosts").items().for_each(|h| host_name(&h, errors));
        tls.get("secretName").maybe_named(names::dns1123_subdomain, errors);
    }
    spec.get("ingressClassName").maybe_named(names::dns1123_subdomain, errors);
}

/// The class that was named the old way must be the one that is named.
pub(super) fn ingress_create(at: &At<'_>, errors: &mut Errors) {
    const NOTE: &str = "kubernetes.io/ingress.class";
    let note = at.at("metadata.annotations").value.get(NOTE).and_then(serde_json::Value::as_str);
    let class = at.at("spec.ingressClassName");
    if let Some(note) = note.filter(|n| class.is_set() && *n != class.text()) {
        let path = at.path.child("annotations").child(NOTE);
        errors.push(FieldError::invalid(&path, note, "must match `ingressClassName` when both are specified"));
    }
}

const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn host_name(at: &At<'_>, errors: &mut Errors) {
    if !at.text().contains('*') {
        return at.maybe_named(names::dns1123_subdomain, errors);
    }
    if at.text().strip_prefix("*.").is_none_or(|rest| !names::dns1123_subdomain(rest).is_empty()) {
        at.invalid(WILDCARD, errors);
    }
}

fn path(at: &At<'_>, errors: &mut Errors) {
    let (kind, path) = (at.get("pathType"), at.get("path"));
    let text = path.text();
    match kind.text() {
        "" => return kind.required("pathType must be specified", errors),
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                path.invalid_as(text, "must be an absolute path", errors);
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| text.contains(**part)) {
                path.invalid(format!("must not contain '{part}'"), errors);
            }
            for end in ["/..", "/."].iter().filter(|end| text.ends_with(**end)) {
                path.invalid(format!("cannot end with '{end}'"), errors);
            }
        }
        "ImplementationSpecific" if !text.is_empty() && !text.starts_with('/') => path.invalid("must be an absolute path", errors),
        _ => kind.one_of(&["Exact", "ImplementationSpecific", "Prefix"], errors),
    }
    backend(&at.get("backend"), errors);
}

fn backend(at: &At<'_>, errors: &mut Errors) {
    let (service, resource) = (at.get("service"), at.get("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => at.invalid_as("", "cannot set both resource and service backends", errors),
        (false, false) => at.invalid_as("", "resource or service backend is required", errors),
        (false, true) => reference(&resource, errors),
        (true, false) => {
            // Services may be named by either of the two rules by now; what no Service is called is found by nobody.
            service.get("name").need_named(names::dns1123_label, errors);
            let (name, number) = (service.at("port.name"), service.at("port.number"));
            match (!name.is_empty(), number.int().unwrap_or(0)) {
                (true, 0) => name.named(names::port_name, errors),
                (true, _) => at.invalid_as("", "cannot set both port name & port number", errors),
                (false, 0) => at.required("port name or number is required", errors),
                (false, n) => names::port_number(n).into_iter().for_each(|wrong| number.invalid(wrong, errors)),
            }
        }
    }
}

fn policy(spec: &At<'_>, errors: &mut Errors) {
    metadata::selector(&spec.get("podSelector"), errors);
    for (list, side) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(list).items() {
            rule.get("ports").items().for_each(|port| policy_port(&port, errors));
            rule.get(side).items().for_each(|peer| policy_peer(&peer, errors));
        }
    }
    let types = spec.get("policyTypes");
    if types.len() > 2 {
        return types.invalid("may not specify more than two policyTypes", errors);
    }
    for kind in types.items().filter(|t| !["Ingress", "Egress"].contains(&t.text())) {
        kind.unsupported(&["Ingress", "Egress"], errors);
    }
}

fn policy_port(port: &At<'_>, errors: &mut Errors) {
    port.get("protocol").one_of(&["SCTP", "TCP", "UDP"], errors);
    let (first, end) = (port.get("port"), port.get("endPort"));
    if first.is_set() {
        first.port(errors);
    }
    let Some(last) = end.int() else { return };
    match first.int() {
        Some(number) => {
            if last < number {
                end.invalid("must be greater than or equal to `port`", errors);
            }
            names::port_number(last).into_iter().for_each(|wrong| end.invalid(wrong, errors));
        }
        None if first.is_set() => end.invalid("may not be specified when `port` is non-numeric", errors),
        None => end.invalid("may not be specified when `port` is not specified", errors),
    }
}

fn policy_peer(peer: &At<'_>, errors: &mut Errors) {
    let (pods, namespaces, range) = (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    metadata::selector(&pods, errors);
    metadata::selector(&namespaces, errors);
    if range.is_set() {
        ip_block(&range, errors);
    }
    match (pods.is_set() || namespaces.is_set(), range.is_set()) {
        (false, false) => peer.required("must specify a peer", errors),
        (true, true) => peer.forbidden("may not specify both ipBlock and another peer", errors),
        _ => {}
    }
}

fn ip_block(at: &At<'_>, errors: &mut Errors) {
    let whole = at.get("cidr");
    if !whole.need(errors) {
        return;
    }
    whole.named(cidr, errors);
    let Some(whole) = block(whole.text()) else { return };
    for part in at.get("except").items() {
        part.named(cidr, errors);
        if block(part.text()).is_some_and(|part| !within(part, whole)) {
            part.invalid("must be a strict subset of `cidr`", errors);
        }
    }
}

/// Whether the first block is part of the second, and not all of it.
fn within((part, bits): (std::net::IpAddr, u8), (whole, shared): (std::net::IpAddr, u8)) -> bool {
    use std::net::IpAddr;
    let differ = match (part, whole) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    bits > shared && differ >= u32::from(shared)
}

/// What may not change.
pub(super) fn change(kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (now, then) = (at.get("spec"), before.get("spec"));
    match kind {
        "IngressClass" => now.get("controller").unchanged(&then.get("controller"), errors),
        "IPAddress" => now.get("parentRef").unchanged(&then.get("parentRef"), errors),
        "ServiceCIDR" => {
            let (new, old) = (now.get("cidrs"), then.get("cidrs"));
            let kept = new.len() >= old.len() && new.items().zip(old.items()).all(|(a, b)| a.text() == b.text());
            if !kept || (old.len() == 2 && new.value != old.value) {
                new.invalid("field is immutable", errors);
            }
        }
        _ => {}
    }
}
