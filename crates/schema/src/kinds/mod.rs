//! The rules of kinds: what a create or an update does to an object before it is stored, and what may be wrong with it.
//! One small file a kind or a family; whatever has no file of its own obeys the rules of metadata alone.

mod access;
pub(crate) mod addresses;
mod admission_policy;
mod api_service;
mod autoscaling;
mod certificates;
pub(crate) mod check;
mod configuration;
mod core;
mod cron_job;
mod definition;
mod deployment;
mod devices;
mod endpoints;
mod event;
mod flow;
mod job;
pub(crate) mod metadata;
mod network;
mod node;
pub mod pod;
mod quota;
mod service;
mod storage;
mod strategy;
mod structural;
mod volume;
mod warnings;
mod webhook;
mod workload;

use serde_json::Value;
use tricorn_meta::FieldError;

use check::{At, Errors};

pub use certificates::date_conditions;
pub use pod::qos_class;
pub use strategy::{has_generation, has_status, prepare_for_create, prepare_for_update};
pub use warnings::warnings;

/// What is wrong with a new object. It has been defaulted and prepared, and has its name and namespace. It is in the form in which it is stored;
/// for an Event, `group` is that of the API it came through, since the newer one asks for more.
pub fn validate_create(group: &str, kind: &str, namespaced: bool, object: &Value) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::create(group, kind, namespaced, object, &mut errors);
    let at = At::root(object);
    match (group, kind) {
        ("", "Pod") => pod::create(&at, &mut errors),
        _ => object_rules(group, kind, &at, &mut errors),
    }
    match (group, kind) {
        ("networking.k8s.io", "Ingress") => network::ingress_create(&at, &mut errors),
        ("apps", "StatefulSet") => workload::new_stateful_set(&at, &mut errors),
        ("batch", "Job") => job::create(&at, &mut errors),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition::create(&at, &mut errors),
        ("events.k8s.io", "Event") => event::create(&at, &mut errors),
        _ => {}
    }
    errors
}

/// What is wrong with a change of an object, through itself (`subresource` is `None`) or through a subresource.
pub fn validate_update(group: &str, kind: &str, new: &Value, old: &Value, subresource: Option<&str>) -> Vec<FieldError> {
    let mut errors = Errors::new();
    metadata::update(group, new, old, &mut errors);
    let (at, before) = (At::root(new), At::root(old));
    match (group, kind, subresource) {
        ("", "Pod", Some("ephemeralcontainers")) => pod::update_ephemeral(&at, &before, &mut errors),
        ("", "Pod", Some("resize")) => pod::resize(&at, &before, &mut errors),
        (_, _, Some(subresource)) => part_rules(group, kind, subresource, &at, &before, &mut errors),
        ("", "Pod", None) => pod::update(&at, &before, &mut errors),
        _ => {
            object_rules(group, kind, &at, &mut errors);
            change_rules(group, kind, &at, &before, &mut errors);
        }
    }
    addresses::forgive(&mut errors, old);
    errors
}

/// The rules for a change that came through a subresource.
fn part_rules(group: &str, kind: &str, part: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match (group, kind, part) {
        ("", "Pod", "status") => pod::status(at, before, errors),
        ("", "Node", "status") => node::status(at, errors),
        ("", "ResourceQuota", "status") => quota::status(at, errors),
        ("", "Namespace", "status") => core::namespace_status(at, errors),
        ("", "Namespace", "finalize") => core::namespace_finalize(at, errors),
        ("", "Service", "status") | ("networking.k8s.io", "Ingress", "status") => service::status(&at.at("status.loadBalancer"), errors),
        ("apps", _, "status") | ("", "ReplicationController", "status") => {
            workload::status(kind, &at.get("status"), &before.get("status"), errors);
        }
        ("certificates.k8s.io", "CertificateSigningRequest", _) => certificates::change(at, before, Some(part), errors),
        ("resource.k8s.io", "ResourceClaim", "status") => devices::status(at, before, errors),
        ("batch", "Job", "status") => job::status(&at.get("status"), errors),
        ("autoscaling" | "policy", _, "status") => {
            for key in ["currentReplicas", "desiredReplicas", "disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
                at.get("status").get(key).not_negative(errors);
            }
        }
        ("", "PersistentVolumeClaim", "status") => volume::claim::status(at, errors),
        _ => {}
    }
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
        ("batch", "Job") => job::rules(&at.get("spec"), errors),
        ("batch", "CronJob") => cron_job::rules(at, errors),
        ("", "Service") => service::rules(at, errors),
        ("", "ConfigMap" | "Secret" | "Namespace" | "Binding") => core::rules(kind, at, errors),
        ("" | "events.k8s.io", "Event") => event::rules(at, errors),
        ("", "Node") => node::rules(at, errors),
        ("", "LimitRange") => quota::limit_range(at, errors),
        ("", "ResourceQuota") => quota::quota(at, errors),
        ("", "Endpoints") => endpoints::endpoints(at, errors),
        ("discovery.k8s.io", "EndpointSlice") => endpoints::slice(at, errors),
        ("", "PersistentVolume") => volume::persistent::rules(at, errors),
        ("", "PersistentVolumeClaim") => volume::claim::spec(&at.get("spec"), errors),
        ("storage.k8s.io", _) => storage::rules(kind, at, errors),
        ("networking.k8s.io", _) => network::rules(kind, at, errors),
        ("rbac.authorization.k8s.io", _) => access::rules(kind, at, errors),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::autoscaler(&at.get("spec"), errors),
        ("policy", "PodDisruptionBudget") => autoscaling::budget(&at.get("spec"), errors),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration") => webhook::rules(at, errors),
        ("admissionregistration.k8s.io", _) => admission_policy::rules(kind, at, errors),
        ("apiregistration.k8s.io", _) => api_service::rules(at, errors),
        ("apiextensions.k8s.io", _) => definition::rules(at, errors),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => flow::schema(at, errors),
        ("flowcontrol.apiserver.k8s.io", _) => flow::level(at, errors),
        ("certificates.k8s.io", "CertificateSigningRequest") => certificates::rules(at, errors),
        ("coordination.k8s.io" | "scheduling.k8s.io" | "node.k8s.io", _) => configuration::rules(kind, at, errors),
        ("resource.k8s.io", _) => devices::rules(kind, at, errors),
        _ => {}
    }
}

/// The rules that compare an object with what it was.
fn change_rules(group: &str, kind: &str, at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    match (group, kind) {
        ("apps", _) => workload::change(kind, at, before, errors),
        ("batch", "Job") => job::change(at, before, errors),
        ("", "Service") => service::change(at, before, errors),
        ("", "ConfigMap" | "Secret") => core::change(kind, at, before, errors),
        ("events.k8s.io", "Event") => event::change(at, before, errors),
        ("", "Node") => node::change(at, before, errors),
        ("", "ResourceQuota") => quota::change(at, before, errors),
        ("", "PersistentVolume") => volume::persistent::change(at, before, errors),
        ("", "PersistentVolumeClaim") => volume::claim::change(at, before, errors),
        ("storage.k8s.io", _) => storage::change(kind, at, before, errors),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => access::change(at, before, errors),
        ("discovery.k8s.io", "EndpointSlice") => at.get("addressType").unchanged(&before.get("addressType"), errors),
        ("networking.k8s.io", _) => network::change(kind, at, before, errors),
        ("scheduling.k8s.io" | "node.k8s.io", _) => configuration::change(kind, at, before, errors),
        ("certificates.k8s.io", "CertificateSigningRequest") => certificates::change(at, before, None, errors),
        ("apiextensions.k8s.io", _) => definition::change(at, before, errors),
        ("resource.k8s.io", _) => devices::change(kind, at, before, errors),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
