//! The status of a Deployment: counts, and whether the rollout moves.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::conditions::{AVAILABLE, PROGRESSING, REPLICA_FAILURE, condition, get, remove, set};
use super::numbers::{available, max_unavailable, size, wanted};
use super::revisions::Sets;

/// The progress deadline in seconds, if there is one; the highest number means none.
pub(super) fn deadline(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)
}

fn counts(sets: &Sets, count: impl Fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> i32) -> i32 {
    sets.all().filter_map(|set| set.status.as_ref()).map(count).sum()
}

/// Counts and the Available condition; the other conditions are carried over.
pub(super) fn calculate(deployment: &Deployment, sets: &Sets, now: Timestamp) -> DeploymentStatus {
    let old = deployment.status.clone().unwrap_or_default();
    let some = |count: i32| Some(count).filter(|count| *count != 0);
    let available_count: i32 = sets.all().map(|set| available(set)).sum();
    let total: i32 = sets.all().map(|set| size(set)).sum();
    let updated = sets.new.as_ref().and_then(|set| set.status.as_ref()).map_or(0, |status| status.replicas);
    let mut conditions = old.conditions.unwrap_or_default();
    let wanted = wanted(deployment);
    let enough = available_count >= wanted - max_unavailable(deployment);
    let (status, reason, text) = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut conditions, condition(AVAILABLE, status, reason, text.to_owned(), now));
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(counts(sets, |status| status.replicas)),
        updated_replicas: some(updated),
        ready_replicas: some(counts(sets, |status| status.ready_replicas.unwrap_or(0))),
        available_replicas: some(available_count),
        unavailable_replicas: some((total - available_count).max(0)),
        terminating_replicas: Some(counts(sets, |status| status.terminating_replicas.unwrap_or(0))),
        collision_count: old.collision_count,
        conditions: Some(conditions),
    }
}

/// Whether all pods are new, available, and nothing else is left.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = Some(wanted(deployment)).filter(|count| *count != 0);
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let stale = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    new.updated_replicas > old.updated_replicas
        || stale(new) < stale(old)
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
}

fn reason(condition: Option<&DeploymentCondition>) -> &str {
    condition.and_then(|condition| condition.reason.as_deref()).unwrap_or("")
}

fn has_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let Some(progressing) = get(conditions, PROGRESSING) else { return false };
    match reason(Some(progressing)) {
        "NewReplicaSetAvailable" => false,
        "ProgressDeadlineExceeded" => true,
        _ => deadline_time(deployment, progressing).is_some_and(|at| at < now),
    }
}

fn deadline_time(deployment: &Deployment, progressing: &DeploymentCondition) -> Option<Timestamp> {
    let since = progressing.last_update_time.as_ref()?.0;
    since.checked_add(SignedDuration::from_secs(i64::from(deadline(deployment)?))).ok()
}

fn subject(deployment: &Deployment, new: Option<&ReplicaSet>) -> String {
    match new.and_then(|set| set.metadata.name.as_deref()) {
        Some(name) => format!("ReplicaSet \"{name}\""),
        None => format!("Deployment \"{}\"", deployment.metadata.name.as_deref().unwrap_or("")),
    }
}

/// The status while a rollout is followed: counts, and the conditions Progressing and ReplicaFailure.
pub(super) fn of_rollout(deployment: &Deployment, sets: &Sets, now: Timestamp) -> DeploymentStatus {
    let old = deployment.status.clone().unwrap_or_default();
    let mut new = calculate(deployment, sets, now);
    let mut conditions = new.conditions.take().unwrap_or_default();
    if deadline(deployment).is_none() {
        remove(&mut conditions, PROGRESSING);
    }
    let current = get(&conditions, PROGRESSING).cloned();
    let is_over = old.replicas == old.updated_replicas && reason(current.as_ref()) == "NewReplicaSetAvailable";
    if deadline(deployment).is_some() && !is_over {
        let subject = subject(deployment, sets.new.as_deref());
        if is_complete(deployment, &new) {
            let text = format!("{subject} has successfully progressed.");
            set(&mut conditions, condition(PROGRESSING, "True", "NewReplicaSetAvailable", text, now));
        } else if has_progressed(&old, &new) {
            let text = format!("{subject} is progressing.");
            let mut progress = condition(PROGRESSING, "True", "ReplicaSetUpdated", text, now);
            if let Some(current) = current.filter(|current| current.status == "True") {
                progress.last_transition_time = current.last_transition_time;
            }
            remove(&mut conditions, PROGRESSING);
            conditions.push(progress);
        } else if has_timed_out(deployment, &old, now) {
            let text = format!("{subject} has timed out progressing.");
            set(&mut conditions, condition(PROGRESSING, "False", "ProgressDeadlineExceeded", text, now));
        }
    }
    match replica_failure(sets) {
        Some(failure) => set(&mut conditions, failure),
        None => remove(&mut conditions, REPLICA_FAILURE),
    }
    new.conditions = Some(conditions);
    new
}

fn replica_failure(sets: &Sets) -> Option<DeploymentCondition> {
    let from = |set: &ReplicaSet| {
        let failure = set.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == REPLICA_FAILURE)?;
        Some(DeploymentCondition {
            type_: failure.type_.clone(),
            status: failure.status.clone(),
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            last_transition_time: failure.last_transition_time.clone(),
            last_update_time: failure.last_transition_time.clone(),
        })
    };
    let newest = sets.new.as_deref().and_then(from);
    newest.or_else(|| sets.old.iter().find_map(|set| from(set)))
}

/// When to look again so that a rollout that stands still is noticed.
pub(super) fn look_again(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let progressing = get(status.conditions.as_deref()?, PROGRESSING)?;
    if is_complete(deployment, status) || reason(Some(progressing)) == "ProgressDeadlineExceeded" {
        return None;
    }
    let at = deadline_time(deployment, progressing)?;
    // One second more, so that the deadline has surely passed by then.
    let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    Some(left + Duration::from_secs(1))
}

/// Notes in the conditions that the Deployment is paused, or that it goes on.
pub(super) fn note_pause(deployment: &Deployment, conditions: &mut Vec<DeploymentCondition>, now: Timestamp) {
    if deadline(deployment).is_none() {
        return;
    }
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
    let current = reason(get(conditions, PROGRESSING)).to_owned();
    if current == "ProgressDeadlineExceeded" {
        return;
    }
    if paused && current != "DeploymentPaused" {
        set(conditions, condition(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused".into(), now));
    } else if !paused && current == "DeploymentPaused" {
        set(conditions, condition(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".into(), now));
    }
}
