//! The baseline level: known ways out of a container are closed.

use serde_json::Value;

use super::check::{Pod, Violation, containers, name, quoted, security, several};

const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

const SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

const SELINUX_TYPES: &[&str] = &["", "container_engine_t", "container_init_t", "container_kvm_t", "container_t"];

pub(super) fn check(pod: &Pod<'_>) -> Vec<Violation> {
    let rules = [
        app_armor,
        capabilities,
        host_namespaces,
        host_paths,
        host_ports,
        host_probes,
        privileged,
        proc_mount,
        selinux,
        seccomp,
        sysctls,
        windows_host,
    ];
    rules.iter().filter_map(|rule| rule(pod)).collect()
}

fn violation(rule: &'static str, reason: impl Into<String>, detail: impl Into<String>) -> Option<Violation> {
    Some(Violation { rule, reason: reason.into(), detail: detail.into() })
}

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}

fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let fine = |profile: &str| profile.is_empty() || profile == "runtime/default" || profile.starts_with("localhost/");
    let annotations = pod.annotations.into_iter().flatten();
    let mut bad: Vec<String> = annotations
        .filter(|(key, value)| key.starts_with(PREFIX) && !value.as_str().is_some_and(fine))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let kind_is_bad = |profile: Option<&Value>| profile.and_then(|p| p.get("type")).and_then(Value::as_str) == Some("Unconfined");
    let unconfined = pod.bad_containers(|c| kind_is_bad(security(c, "/appArmorProfile")));
    if kind_is_bad(pod.security("appArmorProfile")) {
        bad.push("pod must not set AppArmor profile type to \"Unconfined\"".into());
    }
    if !unconfined.is_empty() {
        bad.push(format!("{} must not set AppArmor profile type to \"Unconfined\"", containers(&unconfined)));
    }
    if bad.is_empty() {
        None
    } else {
        violation(
            "appArmorProfile",
            if bad.len() == 1 { "forbidden AppArmor profile" } else { "forbidden AppArmor profiles" },
            bad.join(", "),
        )
    }
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    fn added(container: &Value) -> impl Iterator<Item = &str> {
        let added = security(container, "/capabilities/add").and_then(Value::as_array);
        added.into_iter().flatten().filter_map(Value::as_str).filter(|c| !CAPABILITIES.contains(c))
    }
    let bad = pod.bad_containers(|c| added(c).next().is_some());
    let mut what: Vec<&str> = pod.containers().flat_map(added).collect();
    what.sort_unstable();
    what.dedup();
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must not include {} in securityContext.capabilities.add", containers(&bad), quoted(&what));
    violation("capabilities_baseline", "non-default capabilities", detail)
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let set: Vec<String> =
        ["hostNetwork", "hostPID", "hostIPC"].iter().filter(|f| is_true(pod.spec.get(**f))).map(|f| format!("{f}=true")).collect();
    if set.is_empty() { None } else { violation("hostNamespaces", "host namespaces", set.join(", ")) }
}

fn host_paths(pod: &Pod<'_>) -> Option<Violation> {
    let bad: Vec<&str> = pod.volumes().filter(|v| v.get("hostPath").is_some_and(|p| !p.is_null())).map(name).collect();
    if bad.is_empty() { None } else { violation("hostPathVolumes", "hostPath volumes", several("volume", &bad)) }
}

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    fn ports(container: &Value) -> impl Iterator<Item = u64> {
        let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
        ports.filter_map(|p| p.get("hostPort").and_then(Value::as_u64)).filter(|p| *p != 0)
    }
    let bad = pod.bad_containers(|c| ports(c).next().is_some());
    if bad.is_empty() {
        return None;
    }
    let mut used: Vec<String> = pod.containers().flat_map(ports).map(|p| p.to_string()).collect();
    used.sort();
    used.dedup();
    let plural = if used.len() == 1 { "" } else { "s" };
    violation(
        "hostPorts",
        "hostPort",
        format!("{} {} hostPort{plural} {}", containers(&bad), if bad.len() == 1 { "uses" } else { "use" }, used.join(", ")),
    )
}

fn host_probes(pod: &Pod<'_>) -> Option<Violation> {
    const PLACES: &[&str] = &["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    let host = |c: &Value, place: &str| {
        ["httpGet", "tcpSocket"].iter().any(|action| {
            let host = c.pointer(&format!("{place}/{action}/host")).and_then(Value::as_str).unwrap_or_default();
            !matches!(host, "" | "127.0.0.1" | "::1")
        })
    };
    let bad = pod.bad_containers(|c| PLACES.iter().any(|place| host(c, place)));
    if bad.is_empty() {
        return None;
    }
    violation(
        "hostProbesAndHostLifecycle",
        "probe or lifecycle host",
        format!("{} must not set a host in probes or lifecycle handlers", containers(&bad)),
    )
}

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.bad_containers(|c| is_true(security(c, "/privileged")));
    if bad.is_empty() {
        return None;
    }
    violation("privileged", "privileged", format!("{} must not set securityContext.privileged=true", containers(&bad)))
}

fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let mount = |c: &Value| security(c, "/procMount").and_then(Value::as_str).filter(|m| *m != "Default").map(str::to_owned);
    let bad = pod.bad_containers(|c| mount(c).is_some());
    if bad.is_empty() {
        return None;
    }
    let mut values: Vec<String> = pod.containers().filter_map(mount).collect();
    values.sort();
    values.dedup();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    violation("procMount", "procMount", format!("{} must not set securityContext.procMount to {}", containers(&bad), quoted(&values)))
}

fn selinux(pod: &Pod<'_>) -> Option<Violation> {
    let bad_options = |options: Option<&Value>| {
        let text = |field: &str| options.and_then(|o| o.get(field)).and_then(Value::as_str).unwrap_or_default();
        !SELINUX_TYPES.contains(&text("type")) || !text("user").is_empty() || !text("role").is_empty()
    };
    let pod_is_bad = bad_options(pod.security("seLinuxOptions"));
    let bad = pod.bad_containers(|c| bad_options(security(c, "/seLinuxOptions")));
    let mut who = Vec::new();
    if pod_is_bad {
        who.push("pod".to_owned());
    }
    if !bad.is_empty() {
        who.push(containers(&bad));
    }
    if who.is_empty() {
        return None;
    }
    violation(
        "seLinuxOptions",
        "seLinuxOptions",
        format!("{} set forbidden securityContext.seLinuxOptions: only known types, no user and no role may be set", who.join(" and ")),
    )
}

fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let unconfined = |profile: Option<&Value>| profile.and_then(|p| p.get("type")).and_then(Value::as_str) == Some("Unconfined");
    let mut who = Vec::new();
    if unconfined(pod.security("seccompProfile")) {
        who.push("pod".to_owned());
    }
    let bad = pod.bad_containers(|c| unconfined(security(c, "/seccompProfile")));
    if !bad.is_empty() {
        who.push(containers(&bad));
    }
    if who.is_empty() {
        return None;
    }
    violation(
        "seccompProfile_baseline",
        "seccompProfile",
        format!("{} must not set securityContext.seccompProfile.type to \"Unconfined\"", who.join(" and ")),
    )
}

fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    let set = pod.security("sysctls").and_then(Value::as_array).into_iter().flatten();
    let bad: Vec<&str> = set.map(name).filter(|s| !SYSCTLS.contains(s)).collect();
    if bad.is_empty() {
        None
    } else {
        violation("sysctls", if bad.len() == 1 { "forbidden sysctl" } else { "forbidden sysctls" }, bad.join(", "))
    }
}

fn windows_host(pod: &Pod<'_>) -> Option<Violation> {
    let pod_is_bad = is_true(pod.security("windowsOptions").and_then(|o| o.get("hostProcess")));
    let bad = pod.bad_containers(|c| is_true(security(c, "/windowsOptions/hostProcess")));
    let mut who = Vec::new();
    if pod_is_bad {
        who.push("pod".to_owned());
    }
    if !bad.is_empty() {
        who.push(containers(&bad));
    }
    if who.is_empty() {
        return None;
    }
    violation(
        "windowsHostProcess",
        "hostProcess",
        format!("{} must not set securityContext.windowsOptions.hostProcess=true", who.join(" and ")),
    )
}
