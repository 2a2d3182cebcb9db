//! The rules of kinds: what a create or an update does to an object before it is stored, and what may be wrong with it.
//! One small file a kind or a family; whatever has no file of its own obeys the rules of metadata alone.

mod access;
mod autoscaling;
mod batch;
mod check;
mod configuration;
mod container;
mod core;
mod deployment;
mod extensions;
mod metadata;
mod network;
pub mod pod;
mod scheduling;
mod service;
mod storage;
mod strategy;
mod volume;
mod workload;

use serde_json::Value;
use tricorn_meta::FieldError;

use check::{At, Errors};

pub use pod::qos_class;
pub use strategy::{has_generation, has_status, prepare_for_create, prepare_for_update};

/// What is wrong with a new object. It has been defaulted and prepared, and has its name and namespace.
pub fn validate_create(group: &str, kind: &str, namespaced: bool, object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(group, kind, namespaced, object, &mut errors);
    let at = At::root(object);
    if group.is_empty() && kind == "Pod" {
        pod::create(&at, &mut errors);
    } else {
        object_rules(group, kind, &at, &mut errors);
    }
    errors
}

/// What is wrong with a change of an object, through itself (`subresource` is `None`) or through a subresource.
pub fn validate_update(group: &str, kind: &str, new: &Value, old: &Value, subresource: Option<&str>) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(new, old, &mut errors);
    let (at, before) = (At::root(new), At::root(old));
    match (group, kind, subresource) {
        ("", "Pod", Some("ephemeralcontainers")) => pod::update_ephemeral(&at, &before, &mut errors),
        ("", "Pod", Some("resize")) => pod::pod_spec(&at.get("spec"), &mut errors),
        (_, _, Some(_)) => {}
        ("", "Pod", None) => pod::update(&at, &before, &mut errors),
        _ => {
            object_rules(group, kind, &at, &mut errors);
            change_rules(group, kind, &at, &before, &mut errors);
        }
    }
    errors
}

/// The rules that an object keeps all its life.
fn object_rules(group: &str, kind: &str, at: &At<'_>, errors: &mut Errors) {
    match (group, kind) {
        ("apps", "Deployment") => deployment::rules(at, errors),
        ("apps", "ReplicaSet") => workload::replica_set(at, errors),
        ("apps", "StatefulSet") => workload::stateful_set(at, errors),
        ("apps", "DaemonSet") => workload::daemon_set(at, errors),
        ("apps", "ControllerRevision") => workload::controller_revision(at, errors),
        ("", "ReplicationController") => workload::replication_controller(at, errors),
        ("", "PodTemplate") => pod::template(&at.get("template"), errors),
        ("batch", "Job") => batch::job(&at.get("spec"), errors),
        ("batch", "CronJob") => batch::cron_job(at, errors),
        ("", "Service") => service::rules(at, errors),
        ("", "ConfigMap" | "Secret" | "Node" | "LimitRange" | "ResourceQuota" | "Endpoints" | "Event" | "Binding") => {
            core::rules(kind, at, errors)
        }
        ("", "PersistentVolume" | "PersistentVolumeClaim") | ("storage.k8s.io", _) => storage::rules(kind, at, errors),
        ("networking.k8s.io" | "discovery.k8s.io", _) => network::rules(kind, at, errors),
        ("rbac.authorization.k8s.io", _) => access::rules(kind, at, errors),
        ("autoscaling", "HorizontalPodAutoscaler") | ("policy", "PodDisruptionBudget") => autoscaling::rules(kind, at, errors),
        ("admissionregistration.k8s.io", _) => configuration::admission(kind, at, errors),
        ("apiregistration.k8s.io" | "apiextensions.k8s.io", _) => extensions::rules(kind, at, errors),
        ("coordination.k8s.io" | "scheduling.k8s.io" | "flowcontrol.apiserver.k8s.io" | "certificates.k8s.io" | "node.k8s.io", _) => {
            configuration::rules(kind, at, errors);
        }
        _ => {}
    }
}

/// The rules that compare an object with what it was.
fn change_rules(group: &str, kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match (group, kind) {
        ("apps", _) => workload::change(kind, at, before, errors),
        ("batch", "Job") => batch::job_change(at, before, errors),
        ("", "Service") => service::change(at, before, errors),
        ("", "ConfigMap" | "Secret" | "Node") => core::change(kind, at, before, errors),
        ("", "PersistentVolume" | "PersistentVolumeClaim") | ("storage.k8s.io", _) => storage::change(kind, at, before, errors),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => access::change(at, before, errors),
        ("discovery.k8s.io", "EndpointSlice") => at.get("addressType").unchanged(&before.get("addressType"), errors),
        ("networking.k8s.io", "IngressClass") => at.at("spec.controller").unchanged(&before.at("spec.controller"), errors),
        ("networking.k8s.io", "IPAddress") => at.get("spec").unchanged(&before.get("spec"), errors),
        ("policy", "PodDisruptionBudget") => {}
        ("scheduling.k8s.io" | "node.k8s.io" | "certificates.k8s.io", _) => configuration::change(kind, at, before, errors),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
