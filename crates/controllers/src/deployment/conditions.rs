//! The conditions of a Deployment.

use k8s_openapi::api::apps::v1::DeploymentCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";

/// A condition that begins now.
pub(super) fn condition(kind: &str, status: &str, reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
        last_update_time: Some(Time(now)),
    }
}

/// The condition of a type.
pub(super) fn get<'a>(all: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    all.iter().find(|condition| condition.type_ == kind)
}

/// Puts a condition in; one of the same status and reason stays as it is, one of the same status keeps its time.
pub(super) fn set(all: &mut Vec<DeploymentCondition>, mut new: DeploymentCondition) {
    if let Some(old) = get(all, &new.type_) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time.clone_from(&old.last_transition_time);
        }
    }
    remove(all, &new.type_);
    all.push(new);
}

/// Takes the condition of a type out.
pub(super) fn remove(all: &mut Vec<DeploymentCondition>, kind: &str) {
    all.retain(|condition| condition.type_ != kind);
}
