//! Security contexts of pods and containers.

use serde_json::Value;
use tricorn_meta::{FieldError, names};

use crate::kinds::check::{At, Errors};
use crate::kinds::volume::descending_path;

const ID_MAX: i64 = i32::MAX as i64;

/// The pod's own context.
pub(super) fn pod(spec: &At<'_>, errors: &mut Errors) {
    let context = spec.get("securityContext");
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        context.get(key).within(0, ID_MAX, errors);
    }
    context.get("supplementalGroups").items().for_each(|g| g.within(0, ID_MAX, errors));
    if spec.get("shareProcessNamespace").flag() && spec.get("hostPID").flag() {
        let told = spec.get("shareProcessNamespace").told_at(context.path.child("shareProcessNamespace"));
        told.invalid("ShareProcessNamespace and HostPID cannot both be enabled", errors);
    }
    sysctls(spec, &context.get("sysctls"), errors);
    context.get("fsGroupChangePolicy").one_of(&["Always", "OnRootMismatch"], errors);
    seccomp(&context.get("seccompProfile"), errors);
    app_armor(&context.get("appArmorProfile"), errors);
    windows_options(&context.get("windowsOptions"), errors);
    context.get("supplementalGroupsPolicy").one_of(&["Merge", "Strict"], errors);
    context.get("seLinuxChangePolicy").one_of(&["MountOption", "Recursive"], errors);
}

/// A container's context.
pub(super) fn container(at: &At<'_>, host_users: bool, errors: &mut Errors) {
    for key in ["runAsUser", "runAsGroup"] {
        at.get(key).within(0, ID_MAX, errors);
    }
    let mount = at.get("procMount");
    if mount.is_set() {
        if !["Default", "Unmasked"].contains(&mount.text()) {
            mount.unsupported(&["Default", "Unmasked"], errors);
        }
        if host_users && mount.text() == "Unmasked" {
            mount.invalid("`hostUsers` must be false to use `Unmasked`", errors);
        }
    }
    seccomp(&at.get("seccompProfile"), errors);
    if at.get("allowPrivilegeEscalation").value == &Value::Bool(false) {
        if at.get("privileged").flag() {
            at.invalid("cannot set `allowPrivilegeEscalation` to false and `privileged` to true", errors);
        }
        if at.at("capabilities.add").items().any(|c| c.text() == "CAP_SYS_ADMIN") {
            at.invalid("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN", errors);
        }
    }
    windows_options(&at.get("windowsOptions"), errors);
    app_armor(&at.get("appArmorProfile"), errors);
}

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    let (kind, file) = (at.get("type"), at.get("localhostProfile"));
    match kind.text() {
        "" => kind.required("type is required when seccompProfile is set", errors),
        _ => kind.one_of(&PROFILES, errors),
    }
    match kind.text() {
        "Localhost" if !file.is_set() => file.required("must be set when seccomp type is Localhost", errors),
        "Localhost" => descending_path(&file, errors),
        _ if file.is_set() => {
            at.told_at(file.path).invalid("can only be set when seccomp type is Localhost", errors);
        }
        _ => {}
    }
}

/// The longest path that Linux takes.
const PATH_MAX_BYTES: usize = 4095;

fn app_armor(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    let (kind, file) = (at.get("type"), at.get("localhostProfile"));
    match kind.text() {
        "" => kind.required("type is required when appArmorProfile is set", errors),
        "Localhost" => {
            let name = file.text();
            if name.trim() != name {
                file.invalid("must not be padded with whitespace", errors);
            } else if name.is_empty() {
                file.required("must be set when AppArmor type is Localhost", errors);
            }
            file.at_most_bytes(PATH_MAX_BYTES, errors);
        }
        "RuntimeDefault" | "Unconfined" if file.is_set() => {
            file.invalid("can only be set when AppArmor type is Localhost", errors);
        }
        _ => kind.one_of(&PROFILES, errors),
    }
}

const SYSCTL_MAX_BYTES: usize = 253;
const SYSCTL: &str =
    "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

fn sysctls(spec: &At<'_>, list: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for sysctl in list.items() {
        let name = sysctl.get("name");
        if name.need(errors) {
            if is_sysctl(name.text()) {
                name.unique(&mut seen, errors);
            } else {
                name.invalid(SYSCTL, errors);
            }
        }
        let dotted = name.text().replace('/', ".");
        let of_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| dotted.starts_with(p)) || dotted == "kernel.sem";
        if spec.get("hostNetwork").flag() && dotted.starts_with("net.") {
            name.invalid("may not be specified when 'hostNetwork' is true", errors);
        } else if spec.get("hostIPC").flag() && of_ipc {
            name.invalid("may not be specified when 'hostIPC' is true", errors);
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        matches!((bytes.first(), bytes.last()), (Some(a), Some(z)) if inner(*a) && inner(*z))
            && bytes.iter().all(|b| inner(*b) || b"-_".contains(b))
    };
    name.len() <= SYSCTL_MAX_BYTES && name.split(['.', '/']).all(part)
}

const CREDENTIAL_MAX_KIB: usize = 64;

fn windows_options(at: &At<'_>, errors: &mut Errors) {
    let (name, credential, user) = (at.get("gmsaCredentialSpecName"), at.get("gmsaCredentialSpec"), at.get("runAsUserName"));
    if name.is_set() {
        name.named(names::dns1123_subdomain, errors);
    }
    if credential.is_set() && credential.is_empty() {
        credential.invalid("gmsaCredentialSpec cannot be an empty string", errors);
    } else if credential.text().len() > CREDENTIAL_MAX_KIB * 1024 {
        credential.invalid(format!("gmsaCredentialSpec size must be under {CREDENTIAL_MAX_KIB} KiB"), errors);
    }
    if user.is_set() {
        user_name(user.text()).into_iter().for_each(|wrong| errors.push(FieldError::invalid(&user.path, user.text(), wrong)));
    }
}

const DOMAIN_MAX_CHARS: usize = 256;
const USER_MAX_CHARS: usize = 104;

/// What is wrong with `DOMAIN\user`.
fn user_name(text: &str) -> Vec<String> {
    let one = |words: &str| vec![format!("runAsUserName{words}")];
    if text.is_empty() {
        return one(" cannot be an empty string");
    }
    if text.chars().any(|c| c.is_ascii_control()) {
        return one(" cannot contain control characters");
    }
    let parts: Vec<&str> = text.split('\\').collect();
    let (domain, user) = match parts[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return one(" cannot contain more than one backslash"),
    };
    let mut wrong = Vec::new();
    if domain.is_some_and(|d| d.len() >= DOMAIN_MAX_CHARS) {
        wrong.extend(one(&format!("'s Domain length must be under {DOMAIN_MAX_CHARS} characters")));
    }
    if domain.is_some_and(|d| !is_domain(d)) {
        wrong.extend(one("'s Domain doesn't match the NetBios nor the DNS format"));
    }
    if user.is_empty() {
        wrong.extend(one("'s User cannot be empty"));
    } else if user.len() > USER_MAX_CHARS {
        wrong.extend(one(&format!("'s User length must not be longer than {USER_MAX_CHARS} characters")));
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        wrong.extend(one("'s User cannot contain only periods or spaces"));
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        wrong.extend(one("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"));
    }
    wrong
}

fn is_domain(domain: &str) -> bool {
    let net_bios = !domain.is_empty()
        && domain.chars().count() <= 15
        && !domain.starts_with('.')
        && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|']);
    net_bios || domain.split('.').all(|label| names::dns1123_label(&label.to_ascii_lowercase()).is_empty())
}
