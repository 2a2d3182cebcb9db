//! Containers: names, images, ports, environment, mounts, resources, probes and hooks.

use serde_json::Value;
use tricorn_meta::{FieldError, Quantity, names};

use super::check::{At, Errors};

/// The ports taken on the host by the containers seen so far.
pub(super) struct Ports {
    host_network: bool,
    taken: Vec<String>,
}

impl Ports {
    pub fn new(host_network: bool) -> Self {
        Self { host_network, taken: Vec::new() }
    }
}

/// The rules for an ordinary container.
pub(super) fn container<'a>(at: &At<'a>, volumes: &[&'a str], seen: &mut Vec<&'a str>, ports: &mut Ports, errors: &mut Errors) {
    common(at, volumes, seen, errors);
    lifecycle(&at.get("lifecycle"), errors);
    liveness(&at.get("livenessProbe"), errors);
    probe(&at.get("readinessProbe"), errors);
    liveness(&at.get("startupProbe"), errors);
    for port in at.get("ports").items() {
        host_port(&port, ports, errors);
    }
    let restart = at.get("restartPolicy");
    restart.one_of(&["Always", "Never", "OnFailure"], errors);
}

/// The rules for a container that runs before the others, or beside them if it restarts always.
pub(super) fn init_container<'a>(at: &At<'a>, volumes: &[&'a str], seen: &mut Vec<&'a str>, errors: &mut Errors) {
    common(at, volumes, seen, errors);
    at.get("restartPolicy").one_of(&["Always", "Never", "OnFailure"], errors);
    if at.get("restartPolicy").text() == "Always" {
        lifecycle(&at.get("lifecycle"), errors);
        liveness(&at.get("livenessProbe"), errors);
        probe(&at.get("readinessProbe"), errors);
        liveness(&at.get("startupProbe"), errors);
        return;
    }
    for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if at.get(key).is_set() {
            at.get(key).forbidden("may not be set for init containers without restartPolicy=Always", errors);
        }
    }
}

/// The rules for a container that is added for debugging.
pub(super) fn ephemeral_container<'a>(at: &At<'a>, volumes: &[&'a str], seen: &mut Vec<&'a str>, errors: &mut Errors) {
    common(at, volumes, seen, errors);
    for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "ports", "resizePolicy"] {
        if !at.get(key).is_empty() {
            at.get(key).forbidden("cannot be set for an Ephemeral Container", errors);
        }
    }
}

fn common<'a>(at: &At<'a>, volumes: &[&'a str], seen: &mut Vec<&'a str>, errors: &mut Errors) {
    let name = at.get("name");
    name.need_named(names::dns1123_label, errors);
    if !name.is_empty() {
        if seen.contains(&name.text()) {
            name.duplicate(errors);
        }
        seen.push(name.text());
    }
    let image = at.get("image");
    if image.is_empty() {
        image.required("", errors);
    } else if image.text().trim() != image.text() {
        image.invalid("must not have leading or trailing whitespace", errors);
    }
    at.get("imagePullPolicy").required_one_of(&["Always", "IfNotPresent", "Never"], errors);
    at.get("terminationMessagePolicy").required_one_of(&["FallbackToLogsOnError", "File"], errors);
    container_ports(&at.get("ports"), errors);
    env(&at.get("env"), errors);
    env_from(&at.get("envFrom"), errors);
    mounts(&at.get("volumeMounts"), volumes, errors);
    resources(&at.get("resources"), errors);
    security(&at.get("securityContext"), errors);
}

fn container_ports(ports: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for port in ports.items() {
        let name = port.get("name");
        if !name.is_empty() {
            name.named(names::port_name, errors);
            if seen.contains(&name.text()) {
                name.duplicate(errors);
            }
            seen.push(name.text());
        }
        let number = port.get("containerPort");
        match number.int().unwrap_or(0) {
            0 => number.required("", errors),
            n => names::port_number(n).into_iter().for_each(|wrong| number.invalid(wrong, errors)),
        }
        let host = port.get("hostPort");
        if let Some(n) = host.int().filter(|n| *n != 0) {
            names::port_number(n).into_iter().for_each(|wrong| host.invalid(wrong, errors));
        }
        port.get("protocol").required_one_of(&["SCTP", "TCP", "UDP"], errors);
    }
}

fn host_port(port: &At<'_>, ports: &mut Ports, errors: &mut Errors) {
    let host = port.get("hostPort");
    let Some(number) = host.int().filter(|n| *n != 0) else { return };
    if ports.host_network && port.get("containerPort").int() != Some(number) {
        port.get("containerPort").invalid("must match `hostPort` when `hostNetwork` is true", errors);
    }
    let key = format!("{}/{}/{number}", port.get("protocol").text(), port.get("hostIP").text());
    if ports.taken.contains(&key) {
        errors.push(FieldError::duplicate(&host.path, key.clone()));
    }
    ports.taken.push(key);
}

const DOWNWARD_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn env(env: &At<'_>, errors: &mut Errors) {
    for variable in env.items() {
        variable.get("name").need_named(names::env_var_name, errors);
        let source = variable.get("valueFrom");
        let Some(sources) = source.map() else { continue };
        let wrong = match sources.values().filter(|s| !s.is_null()).count() {
            0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            1 if !variable.get("value").is_empty() => "may not be specified when `value` is not empty",
            1 => "",
            _ => "may not have more than one field specified at a time",
        };
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(&source.path, "", wrong));
        }
        for key in ["configMapKeyRef", "secretKeyRef"] {
            let reference = source.get(key);
            if reference.is_set() {
                reference.get("name").need(errors);
                reference.get("key").need_named(names::config_map_key, errors);
            }
        }
        let field = source.get("fieldRef");
        if field.is_set() {
            field.get("apiVersion").need(errors);
            downward(&field.get("fieldPath"), errors);
        }
        let resource = source.get("resourceFieldRef");
        if resource.is_set() {
            resource.get("resource").need(errors);
        }
    }
}

fn downward(path: &At<'_>, errors: &mut Errors) {
    let text = path.text();
    let keyed = ["metadata.labels['", "metadata.annotations['"].iter().any(|p| text.starts_with(p) && text.ends_with("']"));
    if path.need(errors) && !keyed && !DOWNWARD_FIELDS.contains(&text) {
        errors.push(FieldError::not_supported(&path.path, text, &DOWNWARD_FIELDS));
    }
}

fn env_from(sources: &At<'_>, errors: &mut Errors) {
    for source in sources.items() {
        source.get("prefix").maybe_named(names::env_var_name, errors);
        let (map, secret) = (source.get("configMapRef"), source.get("secretRef"));
        match (map.is_set(), secret.is_set()) {
            (true, true) => errors.push(FieldError::invalid(&source.path, "", "may not have more than one field specified at a time")),
            (false, false) => errors.push(FieldError::invalid(&source.path, "", "must specify one of: `configMapRef` or `secretRef`")),
            (true, false) => {
                map.get("name").need(errors);
            }
            (false, true) => {
                secret.get("name").need(errors);
            }
        }
    }
}

fn mounts(mounts: &At<'_>, volumes: &[&str], errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for mount in mounts.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        if name.need(errors) && !volumes.contains(&name.text()) {
            errors.push(FieldError::not_found(&name.path, name.text()));
        }
        if path.need(errors) {
            if seen.contains(&path.text()) {
                path.invalid("must be unique", errors);
            }
            seen.push(path.text());
        }
        for key in ["subPath", "subPathExpr"] {
            local_path(&mount.get(key), errors);
        }
        if !mount.get("subPath").is_empty() && !mount.get("subPathExpr").is_empty() {
            mount.get("subPathExpr").invalid("subPathExpr and subPath are mutually exclusive", errors);
        }
        mount.get("mountPropagation").one_of(&["Bidirectional", "HostToContainer", "None"], errors);
    }
}

/// A path that stays below where it begins.
pub(super) fn local_path(at: &At<'_>, errors: &mut Errors) {
    if at.text().starts_with('/') {
        at.invalid("must be a relative path", errors);
    }
    if at.text().split('/').any(|part| part == "..") {
        at.invalid("must not contain '..'", errors);
    }
}

/// Requests and limits.
pub(super) fn resources(at: &At<'_>, errors: &mut Errors) {
    let mut limits: Vec<(&str, Quantity)> = Vec::new();
    for (name, amount) in at.get("limits").entries() {
        limits.extend(amount_of(name, &amount, errors).map(|q| (name, q)));
    }
    let requests = at.get("requests");
    for (name, amount) in requests.entries() {
        let Some(request) = amount_of(name, &amount, errors) else { continue };
        match limits.iter().find(|(n, _)| *n == name) {
            Some((_, limit)) if request > *limit => {
                let words = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(FieldError::invalid(&requests.path, request.to_string(), words));
            }
            _ => {}
        }
    }
}

fn amount_of(name: &str, amount: &At<'_>, errors: &mut Errors) -> Option<Quantity> {
    let standard = ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
    if !standard {
        names::qualified_name(name).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&amount.path, name, wrong)));
        if !name.contains('/') {
            errors.push(FieldError::invalid(&amount.path, name, "must be a standard resource type or fully qualified"));
            errors.push(FieldError::invalid(&amount.path, name, "must be a standard resource for containers"));
        }
    }
    let quantity = amount.quantity(errors)?;
    if quantity.is_negative() {
        errors.push(FieldError::invalid(&amount.path, quantity.to_string(), "must be greater than or equal to 0"));
    }
    Some(quantity)
}

fn liveness(at: &At<'_>, errors: &mut Errors) {
    probe(at, errors);
    let threshold = at.get("successThreshold");
    if at.is_set() && threshold.int().is_some_and(|n| n != 1) {
        threshold.invalid("must be 1", errors);
    }
}

fn probe(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    handler(at, &["exec", "httpGet", "tcpSocket", "grpc"], errors);
    for key in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        at.get(key).not_negative(errors);
    }
    let grace = at.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|n| n <= 0) {
        grace.invalid("must be greater than 0", errors);
    }
}

fn lifecycle(at: &At<'_>, errors: &mut Errors) {
    for hook in ["postStart", "preStop"] {
        if at.get(hook).is_set() {
            handler(&at.get(hook), &["exec", "httpGet", "tcpSocket", "sleep"], errors);
        }
    }
}

fn handler(at: &At<'_>, kinds: &[&str], errors: &mut Errors) {
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
            "exec" => {
                handler.get("command").need(errors);
            }
            "httpGet" => {
                handler.get("path").need(errors);
                handler.get("port").port(errors);
                handler.get("scheme").one_of(&["HTTP", "HTTPS"], errors);
            }
            "tcpSocket" | "grpc" => handler.get("port").port(errors),
            _ => {}
        }
    }
    if !found {
        at.required("must specify a handler type", errors);
    }
}

fn security(at: &At<'_>, errors: &mut Errors) {
    for key in ["runAsUser", "runAsGroup"] {
        at.get(key).within(0, i64::from(i32::MAX), errors);
    }
    at.get("procMount").one_of(&["Default", "Unmasked"], errors);
    seccomp(&at.get("seccompProfile"), errors);
    if at.get("allowPrivilegeEscalation").value == &Value::Bool(false) {
        if at.get("privileged").flag() {
            at.invalid("cannot set `allowPrivilegeEscalation` to false and `privileged` to true", errors);
        }
        if at.at("capabilities.add").items().any(|c| matches!(c.text(), "CAP_SYS_ADMIN" | "SYS_ADMIN")) {
            at.invalid("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN", errors);
        }
    }
}

/// A seccomp profile.
pub(super) fn seccomp(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    at.get("type").required_one_of(&["Localhost", "RuntimeDefault", "Unconfined"], errors);
    let file = at.get("localhostProfile");
    match at.get("type").text() {
        "Localhost" if file.is_empty() => file.required("must be set when seccomp type is Localhost", errors),
        "Localhost" => local_path(&file, errors),
        _ if file.is_set() => file.invalid("can only be set when seccomp type is Localhost", errors),
        _ => {}
    }
}
