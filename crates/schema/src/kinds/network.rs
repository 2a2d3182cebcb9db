//! Ingresses, network policies, endpoint slices.

use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};
use super::core::names_cidr;
use super::metadata;

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "Ingress" => ingress(&at.get("spec"), errors),
        "IngressClass" => {
            at.at("spec.controller").need(errors);
        }
        "NetworkPolicy" => policy(&at.get("spec"), errors),
        "EndpointSlice" => slice(at, errors),
        "ServiceCIDR" => {
            let blocks = at.at("spec.cidrs");
            if blocks.is_empty() {
                blocks.required("at least one CIDR required", errors);
            }
            blocks.items().for_each(|b| cidr(&b, errors));
        }
        "IPAddress" => {
            let parent = at.at("spec.parentRef");
            parent.get("resource").need(errors);
            parent.get("name").need(errors);
        }
        _ => {}
    }
}

fn cidr(at: &At<'_>, errors: &mut Errors) {
    if !names_cidr(at.text()) {
        at.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)", errors);
    }
}

fn ingress(spec: &At<'_>, errors: &mut Errors) {
    if spec.get("rules").is_empty() && !spec.get("defaultBackend").is_set() {
        errors.push(FieldError::invalid(
            &spec.path,
            spec.get("rules").value.clone(),
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    if spec.get("defaultBackend").is_set() {
        backend(&spec.get("defaultBackend"), errors);
    }
    spec.get("ingressClassName").maybe_named(names::dns1123_subdomain, errors);
    for rule in spec.get("rules").items() {
        host(&rule.get("host"), errors);
        let paths = rule.at("http.paths");
        if rule.get("http").is_set() && paths.is_empty() {
            paths.required("", errors);
        }
        for path in paths.items() {
            let (kind, text) = (path.get("pathType"), path.get("path"));
            if kind.is_empty() {
                kind.required("pathType must be specified", errors);
            } else {
                kind.one_of(&["Exact", "ImplementationSpecific", "Prefix"], errors);
            }
            if matches!(kind.text(), "Exact" | "Prefix") && !text.text().starts_with('/') {
                errors.push(FieldError::invalid(&text.path, text.text(), "must be an absolute path"));
            }
            backend(&path.get("backend"), errors);
        }
    }
    for tls in spec.get("tls").items() {
        tls.get("hosts").items().for_each(|h| host(&h, errors));
    }
}

fn host(at: &At<'_>, errors: &mut Errors) {
    let text = at.text();
    if at.is_empty() {
        return;
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        at.invalid("must be a DNS name, not an IP address", errors);
        return;
    }
    let bare = text.strip_prefix("*.").unwrap_or(text);
    names::dns1123_subdomain(bare).into_iter().for_each(|wrong| at.invalid(wrong, errors));
}

fn backend(at: &At<'_>, errors: &mut Errors) {
    let (service, resource) = (at.get("service"), at.get("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => errors.push(FieldError::invalid(&at.path, "", "cannot set both resource and service backends")),
        (false, false) => errors.push(FieldError::invalid(&at.path, "", "resource or service backend is required")),
        (false, true) => {}
        (true, false) => {
            service.get("name").need_named(names::dns1035_label, errors);
            let (name, number) = (service.at("port.name"), service.at("port.number"));
            match (!name.is_empty(), number.int().unwrap_or(0) != 0) {
                (true, true) => errors.push(FieldError::invalid(&service.get("port").path, "", "cannot set both port name & port number")),
                (true, false) => name.named(names::port_name, errors),
                (false, true) => names::port_number(number.int().unwrap_or(0)).into_iter().for_each(|wrong| number.invalid(wrong, errors)),
                (false, false) => service.get("port").required("port name or number is required", errors),
            }
        }
    }
}

fn policy(spec: &At<'_>, errors: &mut Errors) {
    metadata::selector(&spec.get("podSelector"), errors);
    for (list, side) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(list).items() {
            for port in rule.get("ports").items() {
                policy_port(&port, errors);
            }
            for peer in rule.get(side).items() {
                policy_peer(&peer, errors);
            }
        }
    }
    let types = spec.get("policyTypes");
    types.items().for_each(|t| t.one_of(&["Egress", "Ingress"], errors));
    if types.len() > 2 {
        types.invalid("may not specify more than two policyTypes", errors);
    }
}

fn policy_port(port: &At<'_>, errors: &mut Errors) {
    port.get("protocol").one_of(&["SCTP", "TCP", "UDP"], errors);
    let (first, end) = (port.get("port"), port.get("endPort"));
    if first.is_set() {
        first.port(errors);
    }
    if let Some(last) = end.int() {
        match first.int() {
            Some(number) if last < number => end.invalid("must be greater than or equal to `port`", errors),
            Some(_) => names::port_number(last).into_iter().for_each(|wrong| end.invalid(wrong, errors)),
            None if first.is_set() => end.invalid("may not be specified when `port` is non-numeric", errors),
            None => end.invalid("may not be specified when `port` is not specified", errors),
        }
    }
}

fn policy_peer(peer: &At<'_>, errors: &mut Errors) {
    let (pods, namespaces, block) = (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    metadata::selector(&pods, errors);
    metadata::selector(&namespaces, errors);
    if block.is_set() {
        if block.get("cidr").need(errors) {
            cidr(&block.get("cidr"), errors);
        }
        block.get("except").items().for_each(|e| cidr(&e, errors));
    }
    match (pods.is_set() || namespaces.is_set(), block.is_set()) {
        (false, false) => peer.required("must specify a peer", errors),
        (true, true) => peer.forbidden("may not specify both ipBlock and another peer", errors),
        _ => {}
    }
}

fn slice(at: &At<'_>, errors: &mut Errors) {
    let kind = at.get("addressType");
    kind.required_one_of(&["FQDN", "IPv4", "IPv6"], errors);
    for endpoint in at.get("endpoints").items() {
        let addresses = endpoint.get("addresses");
        if addresses.is_empty() {
            addresses.required("must contain at least 1 address", errors);
        }
        for address in addresses.items() {
            let parsed = address.text().parse::<std::net::IpAddr>();
            match (kind.text(), parsed) {
                ("IPv4", Ok(ip)) if ip.is_ipv4() => {}
                ("IPv6", Ok(ip)) if ip.is_ipv6() => {}
                ("IPv4", _) => address.invalid("must be a valid IPv4 address", errors),
                ("IPv6", _) => address.invalid("must be a valid IPv6 address", errors),
                _ => address.named(names::dns1123_subdomain, errors),
            }
        }
    }
    let mut seen = Vec::new();
    for port in at.get("ports").items() {
        let name = port.get("name");
        name.maybe_named(names::dns1123_label, errors);
        if seen.contains(&name.text()) {
            name.duplicate(errors);
        }
        seen.push(name.text());
        port.get("protocol").one_of(&["SCTP", "TCP", "UDP"], errors);
        if port.get("port").is_set() {
            let number = port.get("port");
            names::port_number(number.int().unwrap_or(0)).into_iter().for_each(|wrong| number.invalid(wrong, errors));
        }
    }
}
