//! Services. Addresses and node ports are allocated elsewhere; here is what holds for whatever was allocated or asked for.

use serde_json::{Value, json};
use tricorn_meta::json::{get, list, text};
use tricorn_meta::{FieldError, names};

use super::addresses::{cidr, ip, not_special};
use super::check::{At, Errors};
use super::metadata;

/// Families and the list of addresses follow from the type and the first address.
pub(super) fn prepare(service: &mut Value) {
    let (kind, address) = (text(service, "spec.type").to_owned(), text(service, "spec.clusterIP").to_owned());
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if kind == "ExternalName" {
        return;
    }
    spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
    let family = if address.contains(':') { "IPv6" } else { "IPv4" };
    spec.entry("ipFamilies").or_insert_with(|| json!([family]));
    if !address.is_empty() {
        spec.entry("clusterIPs").or_insert_with(|| json!([address]));
    }
}

/// What was allocated stays where the writer says nothing of it, and goes where the new type has none.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    let (now, then) = (text(new, "spec.type").to_owned(), text(old, "spec.type").to_owned());
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if now == "ExternalName" {
        if then != "ExternalName" {
            ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"].iter().for_each(|k| drop(spec.remove(*k)));
        }
        return;
    }
    if then != "ExternalName" {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let empty = spec.get(key).is_none_or(|v| v.is_null() || v == "" || v.as_array().is_some_and(Vec::is_empty));
            if let Some(value) = get(old, "spec").and_then(|s| s.get(key)).filter(|_| empty) {
                spec.insert(key.to_owned(), value.clone());
            }
        }
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if !matches!(now.as_str(), "NodePort" | "LoadBalancer") {
            if matches!(then.as_str(), "NodePort" | "LoadBalancer") {
                port.remove("nodePort");
            }
            continue;
        }
        let key = |p: &Value| (p.get("protocol").cloned(), p.get("port").cloned());
        let before = list(old, "spec.ports").iter().find(|p| key(p) == (port.get("protocol").cloned(), port.get("port").cloned()));
        let unset = port.get("nodePort").is_none_or(|n| n.is_null() || n == 0);
        if let Some(number) = before.and_then(|p| p.get("nodePort")).filter(|_| unset) {
            port.insert("nodePort".to_owned(), number.clone());
        }
    }
}

const PORT_TYPES: &str = "may only be used when `type` is 'LoadBalancer'";

/// Without an address of its own.
pub(super) fn headless(spec: &At<'_>) -> bool {
    let addresses = spec.get("clusterIPs");
    let first = addresses.items().next().map_or(spec.get("clusterIP").text(), |a| a.text());
    addresses.len() <= 1 && first == "None"
}

/// The rules for a Service.
pub(super) fn rules(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let kind = spec.get("type");
    let without = headless(&spec);
    if spec.get("ports").is_empty() && !without && kind.text() != "ExternalName" {
        spec.get("ports").required("", errors);
    }
    if without && matches!(kind.text(), "LoadBalancer" | "NodePort") {
        let path = spec.get("clusterIPs").path.index(0);
        errors.push(FieldError::invalid(&path, "None", format!("may not be set to 'None' for {} services", kind.text())));
    }
    if kind.text() == "ExternalName" {
        external_name(&spec, errors);
    }
    ports(&spec, errors);
    metadata::label_map(&spec.get("selector"), errors);
    affinity(&spec, errors);
    addresses(&spec, errors);
    for external in spec.get("externalIPs").items() {
        external.named(ip, errors);
        not_special(&external, errors);
    }
    kind.required_one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], errors);
    balanced(at, errors);
    traffic(&spec, errors);
}

fn external_name(spec: &At<'_>, errors: &mut Errors) {
    for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if !spec.get(key).is_empty() {
            spec.get(key).forbidden("may not be set for ExternalName services", errors);
        }
    }
    let name = spec.get("externalName");
    let bare = name.text().strip_suffix('.').unwrap_or(name.text());
    if bare.is_empty() {
        name.required("", errors);
    } else {
        names::dns1123_subdomain(bare).into_iter().for_each(|wrong| name.invalid_as(bare, wrong, errors));
    }
}

fn affinity(spec: &At<'_>, errors: &mut Errors) {
    let (kind, config) = (spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"));
    kind.required_one_of(&["ClientIP", "None"], errors);
    match kind.text() {
        "ClientIP" => {
            let seconds = config.at("clientIP.timeoutSeconds");
            let missing = [&config, &config.get("clientIP"), &seconds].into_iter().find(|at| !at.is_set()).cloned();
            if let Some(missing) = missing {
                missing.required("when session affinity type is ClientIP", errors);
            } else if seconds.int().is_none_or(|s| !(1..=86_400).contains(&s)) {
                seconds.invalid("must be greater than 0 and less than 86400", errors);
            }
        }
        "None" if config.is_set() => config.forbidden("must not be set when session affinity is None", errors),
        _ => {}
    }
}

/// Addresses in the cluster and their families.
fn addresses(spec: &At<'_>, errors: &mut Errors) {
    if spec.get("type").text() == "ExternalName" {
        return;
    }
    let (first, all, families) = (spec.get("clusterIP"), spec.get("clusterIPs"), spec.get("ipFamilies"));
    match (first.is_empty(), all.is_empty()) {
        (false, true) => all.required("", errors),
        (false, false) if all.items().next().is_some_and(|a| a.text() != first.text()) => {
            all.invalid("first value must match `clusterIP`", errors);
        }
        (true, false) => all.invalid("must be empty when `clusterIP` is not specified", errors),
        _ => {}
    }
    let mut seen: Vec<&str> = Vec::new();
    for family in families.items() {
        if !["IPv4", "IPv6"].contains(&family.text()) {
            family.unsupported(&["IPv4", "IPv6"], errors);
        }
        family.unique(&mut seen, errors);
    }
    spec.get("ipFamilyPolicy").one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"], errors);
    let found = errors.len();
    for (i, item) in all.items().enumerate() {
        if i == 0 && item.text() == "None" {
            if all.len() > 1 {
                all.invalid("'None' must be the first and only value", errors);
            }
        } else {
            item.named(ip, errors);
        }
    }
    let wrong = errors.len() > found;
    if all.len() > 2 {
        all.invalid("may only hold up to 2 values", errors);
    }
    if wrong {
        return;
    }
    if all.len() > 1 && all.items().filter(|a| a.text().contains(':')).count() != 1 {
        all.invalid("may specify no more than one IP for each IP family", errors);
    }
    if headless(spec) {
        return;
    }
    for (i, (item, family)) in all.items().zip(families.items()).enumerate() {
        let six = item.text().contains(':');
        if (family.text() == "IPv4" && six) || (family.text() == "IPv6" && !six) {
            item.invalid(format!("expected an {} value as indicated by `ipFamilies[{i}]`", family.text()), errors);
        }
    }
}

/// What only a load balancer has.
fn balanced(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let balancer = spec.get("type").text() == "LoadBalancer";
    let ranges = spec.get("loadBalancerSourceRanges").told_at(spec.path.child("LoadBalancerSourceRanges"));
    const NOTE: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let notes = at.at("metadata.annotations");
    if !ranges.is_empty() {
        if !balancer {
            ranges.forbidden(PORT_TYPES, errors);
        }
        for range in ranges.items() {
            cidr(range.text().trim()).into_iter().for_each(|wrong| range.invalid_as(range.text().trim(), wrong, errors));
        }
    } else if let Some(note) = notes.value.get(NOTE).and_then(Value::as_str) {
        let path = notes.path.key(NOTE);
        if !balancer {
            errors.push(FieldError::forbidden(&path, PORT_TYPES));
        }
        for range in note.split(',').map(str::trim).filter(|r| !note.trim().is_empty() || !r.is_empty()) {
            cidr(range).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&path, range, wrong)));
        }
    }
    let (ports, class) = (spec.get("allocateLoadBalancerNodePorts"), spec.get("loadBalancerClass"));
    for at in [&ports, &class].into_iter().filter(|at| at.is_set() && !balancer) {
        at.forbidden(PORT_TYPES, errors);
    }
    if balancer && class.is_set() {
        class.named(names::qualified_name, errors);
    }
}

/// Where traffic goes.
fn traffic(spec: &At<'_>, errors: &mut Errors) {
    let (kind, outside) = (spec.get("type").text(), spec.get("externalTrafficPolicy"));
    let reachable = matches!(kind, "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && !spec.get("externalIPs").is_empty());
    if reachable {
        outside.required_one_of(&["Cluster", "Local"], errors);
    } else if !outside.is_empty() {
        outside.invalid("may only be set for externally-accessible services", errors);
    }
    let health = spec.get("healthCheckNodePort");
    if let Some(number) = health.int().filter(|n| *n != 0) {
        if kind == "LoadBalancer" && outside.text() == "Local" {
            names::port_number(number).into_iter().for_each(|wrong| health.invalid(wrong, errors));
        } else {
            health.invalid("may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'", errors);
        }
    }
    let inside = spec.get("internalTrafficPolicy");
    if !inside.is_set() && matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP") {
        inside.required("", errors);
    }
    inside.one_of(&["Cluster", "Local"], errors);
    spec.get("trafficDistribution").one_of(&["PreferClose", "PreferSameNode", "PreferSameZone"], errors);
}

fn ports(spec: &At<'_>, errors: &mut Errors) {
    let several = spec.get("ports").len() > 1;
    let (mut names_seen, mut ports_seen, mut nodes_seen): (Vec<&str>, Vec<_>, Vec<_>) = (Vec::new(), Vec::new(), Vec::new());
    for port in spec.get("ports").items() {
        let (name, number, target, node) = (port.get("name"), port.get("port"), port.get("targetPort"), port.get("nodePort"));
        if several && name.is_empty() {
            name.required("", errors);
        } else if !name.is_empty() {
            name.named(names::dns1123_label, errors);
            name.unique(&mut names_seen, errors);
        }
        let n = number.int().unwrap_or(0);
        names::port_number(n).into_iter().for_each(|wrong| number.invalid_as(n, wrong, errors));
        port.get("protocol").required_one_of(&["SCTP", "TCP", "UDP"], errors);
        if target.is_set() {
            target.port(errors);
        }
        if port.get("appProtocol").is_set() {
            port.get("appProtocol").named(names::qualified_name, errors);
        }
        let protocol = port.get("protocol").text();
        if let Some(n) = node.int().filter(|n| *n != 0) {
            if spec.get("type").text() == "ClusterIP" {
                node.forbidden("may not be used when `type` is 'ClusterIP'", errors);
            }
            if nodes_seen.contains(&(protocol, n)) {
                node.duplicate(errors);
            }
            nodes_seen.push((protocol, n));
        }
        if ports_seen.contains(&(protocol, n)) {
            errors.push(FieldError::duplicate(&port.path, json!({"protocol": protocol, "port": n})));
        }
        ports_seen.push((protocol, n));
    }
}

const STAYS: &str = "may not change once set";

/// What of a Service may not change: its first address and family, once it has them.
pub(super) fn change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (now, then) = (at.get("spec"), before.get("spec"));
    let kind = |spec: &At<'_>, name: &str| spec.get("type").text() == name;
    let free = kind(&now, "ExternalName") || kind(&then, "ExternalName") || (headless(&now) && headless(&then));
    if !free {
        second_may_go(&now, &then, "clusterIPs", "primary clusterIP can not be unset", "clusterIP", errors);
        if !headless(&now) && !headless(&then) {
            second_may_go(&now, &then, "ipFamilies", "primary ipFamily can not be unset", "ipFamily", errors);
        }
    }
    let (class, class_before) = (now.get("loadBalancerClass"), then.get("loadBalancerClass"));
    if kind(&now, "LoadBalancer") && kind(&then, "LoadBalancer") && class.value != class_before.value {
        class.invalid(STAYS, errors);
    }
    let checked = |spec: &At<'_>| kind(spec, "LoadBalancer") && spec.get("externalTrafficPolicy").text() == "Local";
    let (health, health_before) = (now.get("healthCheckNodePort"), then.get("healthCheckNodePort"));
    if checked(&now) && checked(&then) && health.int() != health_before.int() {
        health.forbidden("field is immutable", errors);
    }
}

fn second_may_go(now: &At<'_>, then: &At<'_>, key: &str, unset: &str, one: &str, errors: &mut Errors) {
    let (new, old) = (now.get(key), then.get(key));
    let told = |i: usize| new.told_at(new.path.index(i));
    let mut differ = new.items().zip(old.items()).enumerate().filter(|(_, (a, b))| a.text() != b.text()).map(|(i, _)| i);
    if new.len() == old.len() {
        return differ.for_each(|i| told(i).invalid(STAYS, errors));
    }
    if new.is_empty() {
        return told(0).invalid(unset, errors);
    }
    if differ.next() == Some(0) {
        told(0).invalid(STAYS, errors);
    }
    if new.len() == 1 && now.get("ipFamilyPolicy").text() != "SingleStack" {
        let words = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        now.get("ipFamilyPolicy").invalid(words, errors);
    }
}

/// What a load balancer says of itself; Ingresses say it too, but for the mode of addresses.
pub(super) fn status(balancer: &At<'_>, errors: &mut Errors) {
    for ingress in balancer.get("ingress").items() {
        let (address, mode, name) = (ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname"));
        address.maybe_named(ip, errors);
        if mode.is_set() && address.is_empty() {
            mode.forbidden("may not be specified when `ip` is not set", errors);
        } else {
            mode.one_of(&["Proxy", "VIP"], errors);
        }
        name.maybe_named(names::dns1123_subdomain, errors);
        if ip(name.text()).is_empty() {
            name.invalid("must be a DNS name, not an IP address", errors);
        }
    }
}
