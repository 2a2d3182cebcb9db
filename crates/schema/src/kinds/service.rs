//! Services. Addresses and node ports are allocated elsewhere; here is what holds for whatever was allocated or asked for.

use serde_json::{Value, json};
use tricorn_meta::json::{get, list, text};
use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};
use super::metadata;
use super::pod::ip;

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

/// The rules for a Service.
pub(super) fn rules(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let (kind, address) = (spec.get("type"), spec.get("clusterIP"));
    if spec.get("ports").is_empty() && address.text() != "None" && kind.text() != "ExternalName" {
        spec.get("ports").required("", errors);
    }
    match kind.text() {
        "LoadBalancer" | "NodePort" if address.text() == "None" => {
            let words = if kind.text() == "NodePort" {
                "may not be set to 'None' for NodePort services"
            } else {
                "may not be set to 'None' for LoadBalancer services"
            };
            address.invalid(words, errors);
        }
        "ExternalName" => {
            if !address.is_empty() {
                address.forbidden("may not be set for ExternalName services", errors);
            }
            let name = spec.get("externalName");
            if name.is_empty() {
                name.required("", errors);
            } else {
                let bare = name.text().trim_end_matches('.');
                names::dns1123_subdomain(&bare.to_lowercase()).into_iter().for_each(|wrong| name.invalid(wrong, errors));
            }
        }
        _ => {}
    }
    kind.required_one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], errors);
    ports(&spec, errors);
    metadata::label_map(&spec.get("selector"), errors);
    spec.get("sessionAffinity").required_one_of(&["ClientIP", "None"], errors);
    spec.at("sessionAffinityConfig.clientIP.timeoutSeconds").within(1, 86_400, errors);
    if !address.is_empty() && address.text() != "None" && kind.text() != "ExternalName" {
        let first = At { value: address.value, path: spec.get("clusterIPs").path.index(0) };
        first.named(ip, errors);
    }
    spec.get("externalIPs").items().for_each(|e| e.named(ip, errors));
    spec.get("externalTrafficPolicy").one_of(&["Cluster", "Local"], errors);
    spec.get("internalTrafficPolicy").one_of(&["Cluster", "Local"], errors);
    spec.get("ipFamilyPolicy").one_of(&["SingleStack", "PreferDualStack", "RequireDualStack"], errors);
    spec.get("ipFamilies").items().for_each(|f| f.one_of(&["IPv4", "IPv6"], errors));
    if !spec.get("externalTrafficPolicy").is_empty()
        && !matches!(kind.text(), "NodePort" | "LoadBalancer")
        && spec.get("externalIPs").is_empty()
    {
        spec.get("externalTrafficPolicy").invalid("may only be set for externally-accessible services", errors);
    }
}

fn ports(spec: &At<'_>, errors: &mut Errors) {
    let several = spec.get("ports").len() > 1;
    let (mut names_seen, mut ports_seen, mut nodes_seen) = (Vec::new(), Vec::new(), Vec::new());
    for port in spec.get("ports").items() {
        let name = port.get("name");
        if several && name.is_empty() {
            name.required("", errors);
        } else if !name.is_empty() {
            name.named(names::dns1123_label, errors);
            if names_seen.contains(&name.text()) {
                name.duplicate(errors);
            }
            names_seen.push(name.text());
        }
        let number = port.get("port");
        names::port_number(number.int().unwrap_or(0))
            .into_iter()
            .for_each(|wrong| errors.push(FieldError::invalid(&number.path, number.int().unwrap_or(0), wrong)));
        port.get("protocol").required_one_of(&["SCTP", "TCP", "UDP"], errors);
        let target = port.get("targetPort");
        if target.is_set() {
            target.port(errors);
        }
        let node = port.get("nodePort");
        let protocol = port.get("protocol").text();
        if let Some(n) = node.int().filter(|n| *n != 0) {
            if spec.get("type").text() == "ClusterIP" || spec.get("type").text() == "ExternalName" {
                node.forbidden(&format!("may not be used when `type` is '{}'", spec.get("type").text()), errors);
            } else if nodes_seen.contains(&(protocol, n)) {
                node.duplicate(errors);
            }
            nodes_seen.push((protocol, n));
        }
        if ports_seen.contains(&(protocol, number.int())) {
            port.duplicate(errors);
        }
        ports_seen.push((protocol, number.int()));
    }
}

/// What of a Service may not change: its address, once it has one.
pub(super) fn change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (now, then) = (at.get("spec"), before.get("spec"));
    let external = |spec: &At<'_>| spec.get("type").text() == "ExternalName";
    if external(&now) || external(&then) || then.get("clusterIP").is_empty() {
        return;
    }
    if now.get("clusterIP").text() != then.get("clusterIP").text() {
        let first = now.get("clusterIPs").path.index(0);
        let words = "may not change once set";
        errors.push(FieldError::invalid(&first, now.get("clusterIPs").value.clone(), words));
    }
}
