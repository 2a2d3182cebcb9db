//! Endpoints of services, in one piece and in slices.

use tricorn_meta::{FieldError, names};

use super::addresses::{address, ip, not_special};
use super::check::{At, Errors};
use super::metadata;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// The rules for Endpoints.
pub(super) fn endpoints(at: &At<'_>, errors: &mut Errors) {
    for subset in at.get("subsets").items() {
        let lists = ["addresses", "notReadyAddresses"].map(|key| subset.get(key));
        if lists.iter().all(At::is_empty) {
            subset.required("must specify `addresses` or `notReadyAddresses`", errors);
        }
        for item in lists.iter().flat_map(At::items) {
            item.get("ip").named(ip, errors);
            item.get("hostname").maybe_named(names::dns1123_label, errors);
            if item.get("nodeName").is_set() {
                item.get("nodeName").named(names::dns1123_subdomain, errors);
            }
            not_special(&item.get("ip"), errors);
        }
        let ports = subset.get("ports");
        for port in ports.items() {
            let (name, number) = (port.get("name"), port.get("port"));
            if ports.len() > 1 && name.is_empty() {
                name.required("", errors);
            }
            name.maybe_named(names::dns1123_label, errors);
            let n = number.int().unwrap_or(0);
            names::port_number(n).into_iter().for_each(|wrong| number.invalid_as(n, wrong, errors));
            port.get("protocol").required_one_of(&PROTOCOLS, errors);
            if port.get("appProtocol").is_set() {
                port.get("appProtocol").named(names::qualified_name, errors);
            }
        }
    }
}

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const TOPOLOGY_MAX: usize = 16;
const HINTS_MAX: usize = 8;

/// The rules for a slice.
pub(super) fn slice(at: &At<'_>, errors: &mut Errors) {
    let kind = at.get("addressType");
    kind.required_one_of(&["FQDN", "IPv4", "IPv6"], errors);
    let list = at.get("endpoints");
    list.at_most_items(ENDPOINTS_MAX, errors);
    if list.len() <= ENDPOINTS_MAX {
        list.items().for_each(|e| endpoint(&e, kind.text(), errors));
    }
    ports(&at.get("ports"), errors);
}

fn endpoint(endpoint: &At<'_>, kind: &str, errors: &mut Errors) {
    let addresses = endpoint.get("addresses");
    if addresses.is_empty() {
        addresses.required("must contain at least 1 address", errors);
    }
    addresses.at_most_items(ADDRESSES_MAX, errors);
    for item in addresses.items() {
        let parsed = address(item.text());
        match kind {
            "IPv4" if !parsed.is_some_and(|ip| ip.is_ipv4()) => item.invalid("must be a valid IPv4 address", errors),
            "IPv6" if !parsed.is_some_and(|ip| ip.is_ipv6()) => item.invalid("must be a valid IPv6 address", errors),
            "FQDN" => domain(&item, errors),
            _ => not_special(&item, errors),
        }
    }
    if endpoint.get("nodeName").is_set() {
        endpoint.get("nodeName").named(names::dns1123_subdomain, errors);
    }
    let topology = endpoint.get("deprecatedTopology");
    topology.at_most_items(TOPOLOGY_MAX, errors);
    metadata::labels(&topology, errors);
    if endpoint.get("hostname").is_set() {
        endpoint.get("hostname").named(names::dns1123_label, errors);
    }
    for (key, words) in [("forZones", "name"), ("forNodes", "name")] {
        let hints = endpoint.get("hints").get(key);
        hints.at_most_items(HINTS_MAX, errors);
        let mut seen: Vec<&str> = Vec::new();
        for name in hints.items().map(|h| h.get(words)) {
            name.unique(&mut seen, errors);
            name.named(if key == "forZones" { names::label_value } else { names::dns1123_subdomain }, errors);
        }
    }
}

/// A name with at least one dot.
fn domain(at: &At<'_>, errors: &mut Errors) {
    if !at.need(errors) {
        return;
    }
    let bare = at.text().strip_suffix('.').unwrap_or(at.text());
    let wrong = names::dns1123_subdomain(bare);
    if wrong.is_empty() && !bare.contains('.') {
        at.invalid("should be a domain with at least two segments separated by dots", errors);
    }
    wrong.into_iter().for_each(|wrong| errors.push(FieldError::invalid(&at.path, bare, wrong)));
}

fn ports(list: &At<'_>, errors: &mut Errors) {
    if list.len() > PORTS_MAX {
        return list.at_most_items(PORTS_MAX, errors);
    }
    let mut seen: Vec<&str> = Vec::new();
    for port in list.items() {
        let name = port.get("name");
        name.maybe_named(names::dns1123_label, errors);
        name.unique(&mut seen, errors);
        port.get("protocol").required_one_of(&PROTOCOLS, errors);
        if let Some(number) = port.get("port").int() {
            names::port_number(number).into_iter().for_each(|wrong| port.get("port").invalid(wrong, errors));
        }
        if port.get("appProtocol").is_set() {
            port.get("appProtocol").named(names::qualified_name, errors);
        }
    }
}
