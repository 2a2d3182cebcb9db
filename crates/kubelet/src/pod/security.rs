//! Security contexts of pods and containers, as the runtime wants them.

use k8s_openapi::api::core::v1::{Pod, PodSecurityContext, SeccompProfile, SecurityContext};
use tricorn_proto::cri;

use super::spec::{self, Member};
use crate::error::{Error, Result};

fn namespaces(pod: &Pod) -> cri::NamespaceOption {
    let spec = pod.spec.clone().unwrap_or_default();
    let mode =
        |host: Option<bool>, otherwise: cri::NamespaceMode| if host == Some(true) { cri::NamespaceMode::Node } else { otherwise } as i32;
    let pid = if spec.share_process_namespace == Some(true) { cri::NamespaceMode::Pod } else { cri::NamespaceMode::Container };
    cri::NamespaceOption {
        network: mode(spec.host_network, cri::NamespaceMode::Pod),
        pid: mode(spec.host_pid, pid),
        ipc: mode(spec.host_ipc, cri::NamespaceMode::Pod),
        ..Default::default()
    }
}

fn number(value: Option<i64>) -> Option<cri::Int64Value> {
    value.map(|value| cri::Int64Value { value })
}

fn profile(own: Option<&SeccompProfile>) -> cri::SecurityProfile {
    use cri::security_profile::ProfileType;
    let (kind, reference) = match own.map(|profile| (profile.type_.as_str(), profile.localhost_profile.clone())) {
        Some(("RuntimeDefault", _)) => (ProfileType::RuntimeDefault, None),
        Some(("Localhost", reference)) => (ProfileType::Localhost, reference),
        _ => (ProfileType::Unconfined, None),
    };
    cri::SecurityProfile { profile_type: kind as i32, localhost_ref: reference.unwrap_or_default() }
}

fn pod_context(pod: &Pod) -> PodSecurityContext {
    pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default()
}

/// Supplemental groups: the pod's own and its volumes' group.
fn groups(context: &PodSecurityContext) -> Vec<i64> {
    context.supplemental_groups.iter().flatten().copied().chain(context.fs_group).collect()
}

/// The sandbox's security context.
pub fn sandbox(pod: &Pod) -> cri::LinuxSandboxSecurityContext {
    let context = pod_context(pod);
    cri::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        run_as_user: number(context.run_as_user),
        run_as_group: context.run_as_user.and(number(context.run_as_group)),
        supplemental_groups: groups(&context),
        privileged: spec::members(pod)
            .iter()
            .any(|member| member.container.security_context.as_ref().is_some_and(|context| context.privileged == Some(true))),
        seccomp: Some(profile(Some(&SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }))),
        ..Default::default()
    }
}

/// Kernel parameters of the pod.
pub fn sysctls(pod: &Pod) -> std::collections::HashMap<String, String> {
    pod_context(pod).sysctls.into_iter().flatten().map(|sysctl| (sysctl.name, sysctl.value)).collect()
}

const MASKED: [&str; 9] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A container's security context; `image` tells whose user it runs as when the pod does not.
pub fn container(pod: &Pod, member: &Member, image: &cri::Image, target: Option<String>) -> Result<cri::LinuxContainerSecurityContext> {
    let of_pod = pod_context(pod);
    let own: SecurityContext = member.container.security_context.clone().unwrap_or_default();
    let privileged = own.privileged == Some(true);
    let user = own.run_as_user.or(of_pod.run_as_user);
    let mut options = namespaces(pod);
    if let Some(target) = target {
        options.pid = cri::NamespaceMode::Target as i32;
        options.target_id = target;
    }
    let mut context = cri::LinuxContainerSecurityContext {
        namespace_options: Some(options),
        privileged,
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        supplemental_groups: groups(&of_pod),
        run_as_group: number(own.run_as_group.or(of_pod.run_as_group)),
        seccomp: Some(profile(own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref()))),
        capabilities: own.capabilities.map(|capabilities| cri::Capability {
            add_capabilities: capabilities.add.unwrap_or_default(),
            drop_capabilities: capabilities.drop.unwrap_or_default(),
            ..Default::default()
        }),
        ..Default::default()
    };
    if !privileged && own.proc_mount.as_deref() != Some("Unmasked") {
        context.masked_paths = MASKED.map(str::to_owned).to_vec();
        context.readonly_paths = READ_ONLY.map(str::to_owned).to_vec();
    }
    match (user, &image.uid) {
        (Some(user), _) => context.run_as_user = number(Some(user)),
        (None, Some(uid)) => context.run_as_user = Some(*uid),
        (None, None) => context.run_as_username.clone_from(&image.username),
    }
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) {
        refuse_root(pod, member, user, &context)?;
    }
    Ok(context)
}

fn refuse_root(pod: &Pod, member: &Member, asked: Option<i64>, context: &cri::LinuxContainerSecurityContext) -> Result<()> {
    let place = format!("pod: \"{}\", container: {}", spec::display(pod), member.container.name);
    let message = match (asked, &context.run_as_user) {
        (Some(0), _) => format!("container's runAsUser breaks non-root policy ({place})"),
        (None, Some(user)) if user.value == 0 => format!("container has runAsNonRoot and image will run as root ({place})"),
        (None, None) if !context.run_as_username.is_empty() && context.run_as_username != "root" => format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root ({place})",
            context.run_as_username
        ),
        (None, None) => format!("container has runAsNonRoot and image will run as root ({place})"),
        _ => return Ok(()),
    };
    Err(Error::Invalid(message))
}
