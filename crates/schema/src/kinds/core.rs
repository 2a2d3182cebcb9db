//! Small kinds of the core group.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tricorn_meta::json::{ensure_object, get, set, text};
use tricorn_meta::{FieldError, names};

use super::check::{At, Errors};
use super::pod::ip;

/// The most bytes that a ConfigMap or Secret may hold.
const SIZE_MAX: usize = 1024 * 1024;

/// A new namespace is held by the namespace controller until it is empty.
pub(super) fn namespace_finalizer(namespace: &mut Value) {
    let mut finalizers = get(namespace, "spec.finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    if !finalizers.iter().any(|f| f == "kubernetes") {
        finalizers.push(json!("kubernetes"));
    }
    set(namespace, "spec.finalizers", finalizers);
}

/// `stringData` is a way to write `data`, and is never stored.
pub(super) fn string_data(secret: &mut Value) {
    let Some(Value::Object(plain)) = secret.as_object_mut().and_then(|s| s.remove("stringData")) else { return };
    if plain.is_empty() {
        return;
    }
    if let Some(data) = ensure_object(secret, "data") {
        for (key, value) in plain {
            data.insert(key, Value::from(STANDARD.encode(value.as_str().unwrap_or_default())));
        }
    }
}

pub(super) fn rules(kind: &str, at: &At<'_>, errors: &mut Errors) {
    match kind {
        "ConfigMap" => config_map(at, errors),
        "Secret" => secret(at, errors),
        "Node" => node(at, errors),
        "LimitRange" => limit_range(at, errors),
        "ResourceQuota" => quota(at, errors),
        "Endpoints" => endpoints(at, errors),
        "Event" => event(at, errors),
        "Binding" => {
            let target = at.get("target");
            target.get("kind").one_of(&["Node", ""], errors);
            target.get("name").need(errors);
        }
        _ => {}
    }
}

fn config_map(at: &At<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in at.get("data").entries() {
        names::config_map_key(key).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&value.path, key, wrong)));
        if at.get("binaryData").value.get(key).is_some() {
            value.invalid("duplicate of key present in binaryData", errors);
        }
        size += value.text().len();
    }
    for (key, value) in at.get("binaryData").entries() {
        names::config_map_key(key).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&value.path, key, wrong)));
        size += value.text().len() * 3 / 4;
    }
    if size > SIZE_MAX {
        errors.push(FieldError::too_long(&at.path, SIZE_MAX));
    }
}

fn secret(at: &At<'_>, errors: &mut Errors) {
    let data = at.get("data");
    let mut size = 0;
    for (key, value) in data.entries() {
        names::config_map_key(key).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&value.path, key, wrong)));
        size += value.text().len() * 3 / 4;
    }
    if size > SIZE_MAX {
        errors.push(FieldError::too_long(&data.path, SIZE_MAX));
    }
    let need = |key: &str, errors: &mut Errors| {
        if data.value.get(key).is_none() {
            errors.push(FieldError::required(&data.path.key(key), ""));
        }
    };
    match at.get("type").text() {
        "kubernetes.io/service-account-token" => {
            let account = at.at("metadata.annotations").value.get("kubernetes.io/service-account.name");
            if account.and_then(Value::as_str).is_none_or(str::is_empty) {
                errors.push(FieldError::required(&at.at("metadata.annotations").path.key("kubernetes.io/service-account.name"), ""));
            }
        }
        "kubernetes.io/dockercfg" => need(".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => need(".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if data.value.get("username").is_none() && data.value.get("password").is_none() => {
            need("username", errors);
            need("password", errors);
        }
        "kubernetes.io/ssh-auth" => need("ssh-privatekey", errors),
        "kubernetes.io/tls" => {
            need("tls.crt", errors);
            need("tls.key", errors);
        }
        _ => {}
    }
}

fn node(at: &At<'_>, errors: &mut Errors) {
    let mut seen = Vec::new();
    for taint in at.at("spec.taints").items() {
        taint.get("key").need_named(names::qualified_name, errors);
        taint.get("value").named(names::label_value, errors);
        let effect = taint.get("effect");
        effect.required_one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"], errors);
        let pair = (taint.get("key").text(), effect.text());
        if seen.contains(&pair) {
            let words = serde_json::to_value(taint.value).unwrap_or_default();
            errors.push(FieldError::duplicate(&taint.path, words));
        }
        seen.push(pair);
    }
    for (i, cidr) in at.at("spec.podCIDRs").items().enumerate() {
        let good = names_cidr(cidr.text());
        if !good {
            errors.push(FieldError::invalid(
                &at.at("spec.podCIDRs").path.index(i),
                cidr.text(),
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ));
        }
    }
}

/// Whether a text is an address block.
pub(super) fn names_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let max = match address.parse::<std::net::IpAddr>() {
        Ok(address) if address.is_ipv4() => 32,
        Ok(_) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|b| b <= max) && bits.bytes().all(|b| b.is_ascii_digit())
}

fn limit_range(at: &At<'_>, errors: &mut Errors) {
    let mut seen = Vec::new();
    for limit in at.at("spec.limits").items() {
        let kind = limit.get("type");
        kind.need_named(names::qualified_name, errors);
        if seen.contains(&kind.text()) {
            kind.duplicate(errors);
        }
        seen.push(kind.text());
        for key in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            for (_, amount) in limit.get(key).entries() {
                amount.quantity(errors);
            }
        }
        for (name, min) in limit.get("min").entries() {
            let max = limit.get("max");
            let (low, high) =
                (tricorn_meta::Quantity::from_json(min.value), max.value.get(name).and_then(tricorn_meta::Quantity::from_json));
            if let (Some(low), Some(high)) = (low, high)
                && low > high
            {
                min.invalid(format!("min value {low} is greater than max value {high}"), errors);
            }
        }
    }
}

fn quota(at: &At<'_>, errors: &mut Errors) {
    for (_, amount) in at.at("spec.hard").entries() {
        if let Some(quantity) = amount.quantity(errors)
            && quantity.is_negative()
        {
            errors.push(FieldError::invalid(&amount.path, quantity.to_string(), "must be greater than or equal to 0"));
        }
    }
}

fn endpoints(at: &At<'_>, errors: &mut Errors) {
    for subset in at.get("subsets").items() {
        if subset.get("addresses").is_empty() && subset.get("notReadyAddresses").is_empty() {
            subset.required("must specify `addresses` or `notReadyAddresses`", errors);
        }
        for key in ["addresses", "notReadyAddresses"] {
            subset.get(key).items().for_each(|a| a.get("ip").named(ip, errors));
        }
        for port in subset.get("ports").items() {
            let number = port.get("port");
            names::port_number(number.int().unwrap_or(0)).into_iter().for_each(|wrong| number.invalid(wrong, errors));
            port.get("protocol").required_one_of(&["SCTP", "TCP", "UDP"], errors);
            port.get("name").maybe_named(names::dns1123_label, errors);
        }
    }
}

fn event(at: &At<'_>, errors: &mut Errors) {
    let (involved, namespace) = (at.get("involvedObject").get("namespace"), at.at("metadata.namespace"));
    let fits = match involved.text() {
        "" => matches!(namespace.text(), "default" | "kube-system"),
        other => other == namespace.text(),
    };
    if !fits && !text(at.value, "involvedObject.kind").is_empty() {
        errors.push(FieldError::invalid(&involved.path, involved.text(), "does not match event.namespace"));
    }
}

const IMMUTABLE: &str = "field is immutable when `immutable` is set";

/// What may not change.
pub(super) fn change(kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match kind {
        "Secret" | "ConfigMap" => {
            if kind == "Secret" {
                at.get("type").unchanged(&before.get("type"), errors);
            }
            if before.get("immutable").flag() {
                for key in ["immutable", "data", "binaryData"] {
                    if at.get(key).value != before.get(key).value {
                        at.get(key).forbidden(IMMUTABLE, errors);
                    }
                }
            }
        }
        "Node" => {
            for key in ["podCIDR", "podCIDRs", "providerID"] {
                let (now, then) = (at.get("spec").get(key), before.get("spec").get(key));
                if !then.is_empty() && now.value != then.value {
                    let words = if key == "providerID" {
                        "node updates may not change providerID except from \"\" to valid"
                    } else {
                        "node updates may not change podCIDR except from \"\" to valid"
                    };
                    now.forbidden(words, errors);
                }
            }
        }
        _ => {}
    }
}
