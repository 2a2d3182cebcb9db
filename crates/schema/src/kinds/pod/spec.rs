//! The pod spec as a whole.

use tricorn_meta::names;

use super::container::{self, Ports};
use super::{mounts, resources, scheduling, security, windows};
use crate::kinds::addresses::ip;
use crate::kinds::check::{At, Errors};
use crate::kinds::{metadata, volume};

/// What the rules of a container have to know of the pod that it is in.
pub(super) struct Around<'a> {
    pub volumes: Vec<At<'a>>,
    pub claims: Vec<&'a str>,
    pub grace_seconds: Option<i64>,
    pub restart: &'a str,
    pub host_users: bool,
    /// Whether this is a Pod, and not a template of pods.
    pub is_pod: bool,
}

/// The rules for a pod spec; `pod` is the name of the Pod that it is of, `None` for a template.
pub(super) fn whole(spec: &At<'_>, pod: Option<&str>, errors: &mut Errors) {
    let grace = spec.get("terminationGracePeriodSeconds");
    if !grace.is_set() {
        grace.required("", errors);
    }
    let around = Around {
        volumes: volume::volumes(&spec.get("volumes"), pod, errors),
        claims: claims(&spec.get("resourceClaims"), errors),
        grace_seconds: grace.int(),
        restart: spec.get("restartPolicy").text(),
        host_users: spec.get("hostUsers").value.as_bool().unwrap_or(true),
        is_pod: pod.is_some(),
    };
    containers(spec, &around, errors);
    resources::of_pod(spec, errors);
    host_network(spec, &around, errors);
    spec.get("restartPolicy").required_one_of(&["Always", "OnFailure", "Never"], errors);
    spec.get("dnsPolicy").required_one_of(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], errors);
    metadata::labels(&spec.get("nodeSelector"), errors);
    security::pod(spec, errors);
    scheduling::scheduling(spec, errors);
    dns(spec, errors);
    for gate in spec.get("readinessGates").items() {
        gate.get("conditionType").named(names::qualified_name, errors);
    }
    windows::host_process(spec, errors);
    host_users(spec, &around, errors);
    host_names(spec, errors);
    for key in ["serviceAccountName", "nodeName", "priorityClassName"] {
        spec.get(key).maybe_named(names::dns1123_subdomain, errors);
    }
    if spec.get("runtimeClassName").is_set() {
        spec.get("runtimeClassName").named(names::dns1123_subdomain, errors);
    }
    spec.get("activeDeadlineSeconds").within(1, i64::from(i32::MAX), errors);
    spec.get("preemptionPolicy").one_of(&["PreemptLowerPriority", "Never"], errors);
    resources::overhead(&spec.get("overhead"), errors);
    windows::os(spec, errors);
    if pod.is_some() && spec.get("serviceAccountName").is_empty() {
        for source in spec.get("volumes").items().flat_map(|v| v.at("projected.sources").items()) {
            let token = source.get("serviceAccountToken");
            if token.is_set() {
                token.forbidden("must not be specified when serviceAccountName is not set", errors);
            }
        }
    }
}

fn containers<'a>(spec: &At<'a>, around: &Around<'a>, errors: &mut Errors) {
    let (ordinary, init, ephemeral) = (spec.get("containers"), spec.get("initContainers"), spec.get("ephemeralContainers"));
    if ordinary.is_empty() {
        ordinary.required("", errors);
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut ports = Ports::default();
    for item in ordinary.items() {
        container::ordinary(&item, around, &mut seen, errors);
    }
    ordinary.items().for_each(|item| ports.take(&item.get("ports"), errors));
    for item in init.items() {
        container::init(&item, around, &mut seen, errors);
        // They run one after the other, so each has the host's ports to itself; upstream's path has the index of the list of one.
        let ports_at = item.get("ports").told_at(init.path.index(0).child("ports"));
        Ports::default().take(&ports_at, errors);
    }
    let lasting = seen.clone();
    for item in ephemeral.items() {
        container::ephemeral(&item, around, &mut seen, errors);
        let target = item.get("targetContainerName");
        if !target.is_empty() && !lasting.contains(&target.text()) {
            target.not_found(errors);
        }
        mounts::without_parts(&item.get("volumeMounts"), errors);
    }
}

/// The claims of devices; gives their names.
fn claims<'a>(list: &At<'a>, errors: &mut Errors) -> Vec<&'a str> {
    let mut seen: Vec<&str> = Vec::new();
    for claim in list.items() {
        let (name, by_name, by_template) = (claim.get("name"), claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName"));
        if name.need(errors) {
            if !seen.contains(&name.text()) {
                name.named(names::dns1123_label, errors);
            }
            name.unique(&mut seen, errors);
        }
        match (by_name.is_set(), by_template.is_set()) {
            (true, true) => claim.invalid("at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified", errors),
            (false, false) => claim.invalid("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`", errors),
            _ => {}
        }
        for reference in [by_name, by_template].iter().filter(|r| r.is_set()) {
            reference.named(names::dns1123_subdomain, errors);
        }
    }
    seen
}

/// In the host's network a container's port is the host's. A template may leave that for the Pod to say.
fn host_network(spec: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    if !spec.get("hostNetwork").flag() {
        return;
    }
    for port in spec.get("containers").items().flat_map(|c| c.get("ports").items()) {
        let (host, inner) = (port.get("hostPort"), port.get("containerPort"));
        let (number, expected) = (host.int().unwrap_or(0), inner.int().unwrap_or(0));
        if number != expected && (around.is_pod || number != 0) {
            host.invalid_as(number, "must match `containerPort` when `hostNetwork` is true", errors);
        }
    }
}

/// A pod with users of its own cannot look at the host's processes.
fn host_users(spec: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    if around.host_users {
        return;
    }
    for (key, told) in [("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.get(key).flag() {
            spec.get(key).told_at(spec.path.child(told)).forbidden("when `pod.Spec.HostUsers` is false", errors);
        }
    }
}

fn host_names(spec: &At<'_>, errors: &mut Errors) {
    spec.get("hostname").maybe_named(names::dns1123_label, errors);
    spec.get("subdomain").maybe_named(names::dns1123_label, errors);
    for alias in spec.get("hostAliases").items() {
        alias.get("ip").named(ip, errors);
        alias.get("hostnames").items().for_each(|h| h.named(names::dns1123_subdomain, errors));
    }
}

const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCHES_MAX_BYTES: usize = 2048;

fn dns(spec: &At<'_>, errors: &mut Errors) {
    let config = spec.get("dnsConfig");
    let (nameservers, searches) = (config.get("nameservers"), config.get("searches"));
    if spec.get("dnsPolicy").text() == "None" {
        if !config.is_set() {
            return config.required("must provide `dnsConfig` when `dnsPolicy` is None", errors);
        }
        if nameservers.is_empty() {
            return nameservers.required("must provide at least one DNS nameserver when `dnsPolicy` is None", errors);
        }
    }
    if nameservers.len() > NAMESERVERS_MAX {
        nameservers.invalid(format!("must not have more than {NAMESERVERS_MAX} nameservers"), errors);
    }
    nameservers.items().for_each(|n| n.named(ip, errors));
    if searches.len() > SEARCHES_MAX {
        searches.invalid(format!("must not have more than {SEARCHES_MAX} search paths"), errors);
    }
    let bytes = searches.items().map(|s| s.text().len() + 1).sum::<usize>().saturating_sub(1);
    if bytes > SEARCHES_MAX_BYTES {
        searches.invalid(format!("must not have more than {SEARCHES_MAX_BYTES} characters (including spaces) in the search list"), errors);
    }
    for search in searches.items().filter(|s| s.text() != ".") {
        let bare = search.text().strip_suffix('.').unwrap_or(search.text());
        underscored(bare).into_iter().for_each(|wrong| search.invalid_as(bare, wrong, errors));
    }
    for option in config.get("options").items() {
        if option.get("name").is_empty() {
            option.required("must not be empty", errors);
        }
    }
}

const UNDERSCORED: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?(\\.[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?)*')";

/// The rule of search paths: a subdomain that may have underscores.
fn underscored(name: &str) -> Vec<String> {
    if names::dns1123_subdomain(&name.replace('_', "a")).is_empty() { Vec::new() } else { vec![UNDERSCORED.to_owned()] }
}
