//! The restricted level: what hardened pods look like.

use serde_json::Value;

use super::check::{Pod, Violation, containers, name, quoted, security, several};

/// Rules of the baseline level that a stricter one here stands in for.
pub(super) const REPLACES: &[&str] = &["capabilities_baseline", "hostPathVolumes", "seccompProfile_baseline"];

const VOLUME_KINDS: &[&str] =
    &["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"];

pub(super) fn check(pod: &Pod<'_>) -> Vec<Violation> {
    let anywhere = [restricted_volumes, run_as_non_root, run_as_user];
    let on_linux = [allow_privilege_escalation, capabilities, seccomp];
    let mut found: Vec<Violation> = anywhere.iter().filter_map(|rule| rule(pod)).collect();
    if !pod.is_windows() {
        found.extend(on_linux.iter().filter_map(|rule| rule(pod)));
    }
    found
}

fn violation(rule: &'static str, reason: impl Into<String>, detail: impl Into<String>) -> Option<Violation> {
    Some(Violation { rule, reason: reason.into(), detail: detail.into() })
}

fn allow_privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.bad_containers(|c| security(c, "/allowPrivilegeEscalation").and_then(Value::as_bool) != Some(false));
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
    violation("allowPrivilegeEscalation", "allowPrivilegeEscalation != false", detail)
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    fn list<'a>(container: &'a Value, path: &str) -> impl Iterator<Item = &'a str> {
        security(container, path).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }
    let added = |c: &Value| list(c, "/capabilities/add").filter(|a| *a != "NET_BIND_SERVICE").map(str::to_owned).collect::<Vec<_>>();
    let not_dropping = pod.bad_containers(|c| !list(c, "/capabilities/drop").any(|d| d == "ALL"));
    let adding = pod.bad_containers(|c| !added(c).is_empty());
    let mut details = Vec::new();
    if !not_dropping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&not_dropping)));
    }
    if !adding.is_empty() {
        let mut what: Vec<String> = pod.containers().flat_map(added).collect();
        what.sort();
        what.dedup();
        let what: Vec<&str> = what.iter().map(String::as_str).collect();
        details.push(format!("{} must not include {} in securityContext.capabilities.add", containers(&adding), quoted(&what)));
    }
    if details.is_empty() { None } else { violation("capabilities_restricted", "unrestricted capabilities", details.join("; ")) }
}

fn restricted_volumes(pod: &Pod<'_>) -> Option<Violation> {
    let kind = |volume: &Value| {
        let keys = volume.as_object().into_iter().flatten();
        keys.filter(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key.clone())
            .find(|key| !VOLUME_KINDS.contains(&key.as_str()))
    };
    let bad: Vec<&str> = pod.volumes().filter(|v| kind(v).is_some()).map(name).collect();
    if bad.is_empty() {
        return None;
    }
    let mut kinds: Vec<String> = pod.volumes().filter_map(kind).collect();
    kinds.sort();
    kinds.dedup();
    let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
    let (verb, noun) = (if bad.len() == 1 { "uses" } else { "use" }, if kinds.len() == 1 { "type" } else { "types" });
    violation(
        "restrictedVolumes",
        "restricted volume types",
        format!("{} {verb} restricted volume {noun} {}", several("volume", &bad), quoted(&kinds)),
    )
}

fn run_as_non_root(pod: &Pod<'_>) -> Option<Violation> {
    let of_pod = pod.security("runAsNonRoot").and_then(Value::as_bool);
    let of = |c: &Value| security(c, "/runAsNonRoot").and_then(Value::as_bool);
    let explicit = pod.bad_containers(|c| of(c) == Some(false));
    let implicit = pod.bad_containers(|c| of(c).is_none() && of_pod != Some(true));
    let mut details = Vec::new();
    // The pod's own setting is at fault only where a container falls back on it.
    if of_pod == Some(false) {
        details.push("pod must not set securityContext.runAsNonRoot=false".to_owned());
    }
    if !explicit.is_empty() {
        details.push(format!("{} must not set securityContext.runAsNonRoot=false", containers(&explicit)));
    }
    if details.is_empty() && !implicit.is_empty() {
        details.push(format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&implicit)));
    }
    if details.is_empty() { None } else { violation("runAsNonRoot", "runAsNonRoot != true", details.join("; ")) }
}

fn run_as_user(pod: &Pod<'_>) -> Option<Violation> {
    let root = |value: Option<&Value>| value.and_then(Value::as_i64) == Some(0);
    let mut who = Vec::new();
    if root(pod.security("runAsUser")) {
        who.push("pod".to_owned());
    }
    let bad = pod.bad_containers(|c| root(security(c, "/runAsUser")));
    if !bad.is_empty() {
        who.push(containers(&bad));
    }
    if who.is_empty() { None } else { violation("runAsUser", "runAsUser=0", format!("{} must not set runAsUser=0", who.join(" and "))) }
}

fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let kind = |profile: Option<&Value>| profile.and_then(|p| p.get("type")).and_then(Value::as_str).map(str::to_owned);
    let fine = |kind: &Option<String>| matches!(kind.as_deref(), Some("RuntimeDefault" | "Localhost"));
    let of_pod = kind(pod.security("seccompProfile"));
    let of = |c: &Value| kind(security(c, "/seccompProfile"));
    let explicit = pod.bad_containers(|c| of(c).is_some() && !fine(&of(c)));
    let implicit = pod.bad_containers(|c| of(c).is_none() && !fine(&of_pod));
    let mut details = Vec::new();
    if let Some(kind) = of_pod.as_ref().filter(|_| !fine(&of_pod)) {
        details.push(format!("pod must not set securityContext.seccompProfile.type to {kind:?}"));
    }
    if !explicit.is_empty() {
        details.push(format!("{} must not set securityContext.seccompProfile.type to \"Unconfined\"", containers(&explicit)));
    }
    if details.is_empty() && !implicit.is_empty() {
        let who = containers(&implicit);
        details.push(format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""));
    }
    if details.is_empty() { None } else { violation("seccompProfile_restricted", "seccompProfile", details.join("; ")) }
}
