//! Questions about a pod's specification that several parts ask.

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::Timestamp;
use sha2::{Digest, Sha256};

/// What place a container has in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that keeps running beside the pod's own containers.
    Sidecar,
    /// One of the pod's containers.
    Main,
    /// Added to a running pod for debugging.
    Ephemeral,
}

/// A container with its place.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its specification. Of an ephemeral container, the part it shares with all.
    pub container: Container,
    /// Its place.
    pub role: Role,
}

/// Restart policies of pods and containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Restart whatever the exit code.
    Always,
    /// Restart after a failure.
    OnFailure,
    /// Never restart.
    Never,
}

impl RestartPolicy {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }
}

/// The pod's restart policy.
pub fn restart_policy(pod: &Pod) -> RestartPolicy {
    RestartPolicy::parse(pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()))
}

/// The restart policy of one container: its own, or the pod's.
pub fn container_restart_policy(pod: &Pod, member: &Member) -> RestartPolicy {
    match (member.role, &member.container.restart_policy) {
        (Role::Sidecar, _) => RestartPolicy::Always,
        (Role::Ephemeral, _) => RestartPolicy::Never,
        (_, Some(own)) => RestartPolicy::parse(Some(own)),
        (Role::Init, None) if restart_policy(pod) != RestartPolicy::Never => RestartPolicy::OnFailure,
        (_, None) => restart_policy(pod),
    }
}

/// Whether a container that ended with this code is to run again.
pub fn restarts(pod: &Pod, member: &Member, exit_code: i32) -> bool {
    for rule in member.container.restart_policy_rules.iter().flatten() {
        if let Some(codes) = &rule.exit_codes {
            let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
            if (codes.operator == "In") == listed && rule.action == "Restart" {
                return true;
            }
        }
    }
    match container_restart_policy(pod, member) {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit_code != 0,
        RestartPolicy::Never => false,
    }
}

/// All containers with their places, init containers first.
pub fn members(pod: &Pod) -> Vec<Member> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut all = Vec::new();
    for container in spec.init_containers.iter().flatten() {
        let role = if container.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init };
        all.push(Member { container: container.clone(), role });
    }
    all.extend(spec.containers.iter().map(|container| Member { container: container.clone(), role: Role::Main }));
    for ephemeral in spec.ephemeral_containers.iter().flatten() {
        // Ephemeral containers have every field of a container and one more.
        let Ok(mut value) = serde_json::to_value(ephemeral) else { continue };
        if let Some(fields) = value.as_object_mut() {
            fields.remove("targetContainerName");
        }
        if let Ok(container) = serde_json::from_value(value) {
            all.push(Member { container, role: Role::Ephemeral });
        }
    }
    all
}

/// A short hash of what makes a running container outdated when it changes: its name and image.
pub fn container_hash(container: &Container) -> String {
    let mut hash = Sha256::new();
    hash.update(container.name.as_bytes());
    hash.update([0]);
    hash.update(container.image.as_deref().unwrap_or_default().as_bytes());
    crate::images::archive::hex(&hash.finalize()[..4])
}

/// `NAME_NAMESPACE(UID)`, as messages name a pod.
pub fn display(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// The pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// The pod's UID.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Whether the pod shares the node's network.
pub fn host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}

/// The grace period a pod that is being deleted has, in seconds.
pub fn deletion_grace_seconds(pod: &Pod) -> i64 {
    pod.metadata
        .deletion_grace_period_seconds
        .or_else(|| pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds))
        .unwrap_or(30)
        .max(0)
}

/// Whether the API says that the pod has ended for good.
pub fn ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// When the pod has run longer than it may.
pub fn deadline(pod: &Pod) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let start = pod.status.as_ref()?.start_time.as_ref()?.0;
    start.checked_add(std::time::Duration::from_secs(seconds.max(0) as u64)).ok()
}
