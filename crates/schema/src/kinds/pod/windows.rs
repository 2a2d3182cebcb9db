//! What the operating system that a pod is for rules out.

use super::all_containers;
use crate::kinds::check::{At, Errors};

/// The rules for `os`, and for what does not go with it.
pub(super) fn os(spec: &At<'_>, errors: &mut Errors) {
    let os = spec.get("os");
    if !os.is_set() {
        return;
    }
    match os.get("name").text() {
        "" => os.get("name").required("cannot be empty", errors),
        "linux" => linux(spec, errors),
        "windows" => windows(spec, errors),
        _ => os.get("name").told_at(os.path).unsupported(&["linux", "windows"], errors),
    }
}

fn linux(spec: &At<'_>, errors: &mut Errors) {
    let contexts = std::iter::once(spec.get("securityContext")).chain(all_containers(spec).map(|c| c.get("securityContext")));
    for options in contexts.map(|c| c.get("windowsOptions")).filter(At::is_set) {
        options.forbidden("windows options cannot be set for a linux pod", errors);
    }
}

fn windows(spec: &At<'_>, errors: &mut Errors) {
    const OF_POD: [&str; 12] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
        "procMount",
    ];
    const OF_CONTAINERS: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    let no = |at: At<'_>, errors: &mut Errors| {
        if at.is_set() {
            at.forbidden("cannot be set for a windows pod", errors);
        }
    };
    OF_POD.iter().for_each(|key| no(spec.get("securityContext").get(key), errors));
    for key in ["hostUsers", "shareProcessNamespace"] {
        no(spec.get(key), errors);
    }
    for key in ["hostPID", "hostIPC"] {
        if spec.get(key).flag() {
            no(spec.get(key), errors);
        }
    }
    for context in all_containers(spec).map(|c| c.get("securityContext")) {
        OF_CONTAINERS.iter().for_each(|key| no(context.get(key), errors));
    }
}

/// Containers that are processes of the host: all of a pod's or none, and in the host's network.
pub(super) fn host_process(spec: &At<'_>, errors: &mut Errors) {
    const HOST_PROCESS: &str = "securityContext.windowsOptions.hostProcess";
    let pod = spec.at(HOST_PROCESS).value.as_bool();
    let (mut count, mut of_host) = (0, 0);
    for container in all_containers(spec) {
        let own = container.at(HOST_PROCESS);
        count += 1;
        of_host += usize::from(own.value.as_bool().or(pod).unwrap_or(false));
        if let (Some(pod), Some(container)) = (pod, own.value.as_bool())
            && pod != container
        {
            own.invalid(format!("pod hostProcess value must be identical if both are specified, was {pod}"), errors);
        }
    }
    if of_host == 0 {
        return;
    }
    if of_host != count {
        spec.invalid_as("", "If pod contains any hostProcess containers then all containers must be HostProcess containers", errors);
    }
    if !spec.get("hostNetwork").flag() {
        spec.get("hostNetwork").invalid_as(false, "hostNetwork must be true if pod contains any hostProcess containers", errors);
    }
}
