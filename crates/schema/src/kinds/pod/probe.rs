//! Probes, hooks, and what both of them do.

use super::spec::Around;
use crate::kinds::check::{At, Errors};

/// The probes and hooks of a container that goes on running.
pub(super) fn all(container: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    let hooks = container.get("lifecycle");
    for hook in ["postStart", "preStop"].map(|key| hooks.get(key)).iter().filter(|h| h.is_set()) {
        handler(hook, &["exec", "httpGet", "tcpSocket", "sleep"], around, errors);
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let at = container.get(key);
        if !at.is_set() {
            continue;
        }
        probe(&at, around, errors);
        if key == "readinessProbe" {
            let grace = at.get("terminationGracePeriodSeconds");
            if grace.is_set() {
                grace.invalid("must not be set for readinessProbes", errors);
            }
        } else if at.get("successThreshold").int().unwrap_or(0) != 1 {
            at.get("successThreshold").invalid_as(at.get("successThreshold").int().unwrap_or(0), "must be 1", errors);
        }
    }
}

fn probe(at: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    handler(at, &["exec", "httpGet", "tcpSocket", "grpc"], around, errors);
    for key in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        at.get(key).not_negative(errors);
    }
    let grace = at.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|n| n <= 0) {
        grace.invalid("must be greater than 0", errors);
    }
}

fn handler(at: &At<'_>, kinds: &[&str], around: &Around<'_>, errors: &mut Errors) {
    let mut found = false;
    for kind in kinds {
        let handler = at.get(kind);
        if !handler.is_set() {
            continue;
        }
        if std::mem::replace(&mut found, true) {
            handler.forbidden("may not specify more than 1 handler type", errors);
            continue;
        }
        match *kind {
            "exec" => handler.needs(&["command"], errors),
            "httpGet" => http(&handler, errors),
            "sleep" => sleep(&handler, around, errors),
            _ => handler.get("port").port(errors),
        }
    }
    if !found {
        at.required("must specify a handler type", errors);
    }
}

fn http(at: &At<'_>, errors: &mut Errors) {
    at.get("path").need(errors);
    at.get("port").port(errors);
    let scheme = at.get("scheme");
    if !["HTTP", "HTTPS"].contains(&scheme.text()) {
        scheme.unsupported(&["HTTP", "HTTPS"], errors);
    }
    let headers = at.get("httpHeaders");
    for name in headers.items().map(|h| h.get("name").told_at(headers.path.clone())) {
        name.named(header_name, errors);
    }
}

const HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";

fn header_name(name: &str) -> Vec<String> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') { Vec::new() } else { vec![HEADER.to_owned()] }
}

fn sleep(at: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    let seconds = at.get("seconds").int().unwrap_or(0);
    if let Some(grace) = around.grace_seconds
        && (seconds < 0 || seconds > grace)
    {
        at.invalid_as(seconds, format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"), errors);
    }
}
