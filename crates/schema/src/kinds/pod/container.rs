//! Containers: names, images, ports, and what distinguishes the three sorts of them.

use tricorn_meta::{FieldError, names};

use super::spec::Around;
use super::{env, mounts, probe, resources, security};
use crate::kinds::check::{At, Errors};

/// The ports taken on the host by the containers seen so far.
#[derive(Default)]
pub(super) struct Ports(Vec<String>);

impl Ports {
    /// Takes the ports of one container.
    pub fn take(&mut self, ports: &At<'_>, errors: &mut Errors) {
        for port in ports.items() {
            let host = port.get("hostPort");
            let Some(number) = host.int().filter(|n| *n != 0) else { continue };
            let key = format!("{}/{}/{number}", port.get("protocol").text(), port.get("hostIP").text());
            if self.0.contains(&key) {
                errors.push(FieldError::duplicate(&host.path, key));
            } else {
                self.0.push(key);
            }
        }
    }
}

const RESTARTS: [&str; 3] = ["Always", "Never", "OnFailure"];

/// The rules for an ordinary container.
pub(super) fn ordinary<'a>(at: &At<'a>, around: &Around<'a>, seen: &mut Vec<&'a str>, errors: &mut Errors) {
    common(at, around, seen, errors);
    probe::all(at, around, errors);
    restart(at, errors);
}

/// The rules for a container that runs before the others, or beside them if it restarts always.
pub(super) fn init<'a>(at: &At<'a>, around: &Around<'a>, seen: &mut Vec<&'a str>, errors: &mut Errors) {
    common(at, around, seen, errors);
    restart(at, errors);
    if at.get("restartPolicy").text() == "Always" {
        probe::all(at, around, errors);
        return;
    }
    for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if at.get(key).is_set() {
            at.get(key).forbidden("may not be set for init containers without restartPolicy=Always", errors);
        }
    }
}

/// The rules for a container that is added for debugging.
pub(super) fn ephemeral<'a>(at: &At<'a>, around: &Around<'a>, seen: &mut Vec<&'a str>, errors: &mut Errors) {
    common(at, around, seen, errors);
    let not_here = [
        "ports",
        "resources",
        "resizePolicy",
        "restartPolicy",
        "restartPolicyRules",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ];
    for key in not_here {
        if !at.get(key).is_empty() {
            at.get(key).forbidden("cannot be set for an Ephemeral Container", errors);
        }
    }
}

/// When a container restarts on its own, whatever its pod says.
fn restart(at: &At<'_>, errors: &mut Errors) {
    let (policy, rules) = (at.get("restartPolicy"), at.get("restartPolicyRules"));
    if policy.is_set() && !RESTARTS.contains(&policy.text()) {
        policy.unsupported(&RESTARTS, errors);
    }
    if !rules.is_empty() && !policy.is_set() {
        policy.required("must specify restartPolicy when restart rules are used", errors);
    }
    if rules.len() > 20 {
        errors.push(FieldError::too_many(&rules.path, rules.len(), 20));
    }
    for rule in rules.items() {
        rule.get("action").required_one_of(&["Restart", "RestartAllContainers"], errors);
        let codes = rule.get("exitCodes");
        if !codes.is_set() {
            codes.required("must be specified", errors);
            continue;
        }
        codes.get("operator").required_one_of(&["In", "NotIn"], errors);
        codes.get("values").at_most_items(255, errors);
    }
}

fn common<'a>(at: &At<'a>, around: &Around<'a>, seen: &mut Vec<&'a str>, errors: &mut Errors) {
    let name = at.get("name");
    name.need_named(names::dns1123_label, errors);
    if !name.is_empty() {
        name.unique(seen, errors);
    }
    let image = at.get("image");
    if image.is_empty() {
        image.required("", errors);
    } else if around.is_pod {
        trimmed(&image, errors);
    }
    at.get("terminationMessagePolicy").required_one_of(&["File", "FallbackToLogsOnError"], errors);
    ports(&at.get("ports"), errors);
    env::variables(&at.get("env"), around, errors);
    env::sources(&at.get("envFrom"), errors);
    mounts::mounts(at, around, errors);
    mounts::devices(at, around, errors);
    at.get("imagePullPolicy").required_one_of(&["Always", "IfNotPresent", "Never"], errors);
    resources::of_container(&at.get("resources"), &around.claims, errors);
    resize_policy(&at.get("resizePolicy"), around, errors);
    security::container(&at.get("securityContext"), around.host_users, errors);
}

/// The name of an image has no blanks around it. Templates were always let be.
pub(super) fn trimmed(image: &At<'_>, errors: &mut Errors) {
    if image.text().trim() != image.text() {
        image.invalid("must not have leading or trailing whitespace", errors);
    }
}

fn ports(ports: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for port in ports.items() {
        let name = port.get("name");
        if !name.is_empty() {
            let wrong = names::port_name(name.text());
            if wrong.is_empty() {
                name.unique(&mut seen, errors);
            }
            wrong.into_iter().for_each(|wrong| name.invalid(wrong, errors));
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

fn resize_policy(list: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for item in list.items() {
        let (name, policy) = (item.get("resourceName"), item.get("restartPolicy"));
        name.told_at(item.path.clone()).unique(&mut seen, errors);
        name.told_at(list.path.clone()).required_one_of(&["cpu", "memory"], errors);
        let policy = policy.told_at(list.path.clone());
        policy.required_one_of(&["NotRequired", "RestartContainer"], errors);
        if around.restart == "Never" && policy.text() == "RestartContainer" {
            policy.invalid("must be 'NotRequired' when `restartPolicy` is 'Never'", errors);
        }
    }
}
