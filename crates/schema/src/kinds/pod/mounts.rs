//! Where volumes are mounted in a container, and block devices.

use super::spec::Around;
use crate::kinds::check::{At, Errors};
use crate::kinds::volume::{descending_path, no_backsteps};

/// The rules for `volumeMounts`.
pub(super) fn mounts(container: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    let (list, devices) = (container.get("volumeMounts"), container.get("volumeDevices"));
    let privileged = container.at("securityContext.privileged").flag();
    let mut seen: Vec<&str> = Vec::new();
    for mount in list.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        name.need(errors);
        if volume_of(around, name.text()).is_none() {
            name.not_found(errors);
        }
        path.need(errors);
        if seen.contains(&path.text()) {
            path.invalid("must be unique", errors);
        }
        seen.push(path.text());
        if devices.items().any(|d| d.get("name").text() == name.text()) {
            name.invalid("must not already exist in volumeDevices", errors);
        }
        if devices.items().any(|d| d.get("devicePath").text() == path.text()) {
            path.invalid("must not already exist as a path in volumeDevices", errors);
        }
        parts(&list, &mount, errors);
        propagation(&list, &mount, privileged, errors);
    }
}

/// A part of the volume instead of all of it. Upstream tells of these as if they were fields of the list.
fn parts(list: &At<'_>, mount: &At<'_>, errors: &mut Errors) {
    let (part, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
    descending_path(&part.told_at(list.path.child("subPath")), errors);
    if !part.is_empty() && !expression.is_empty() {
        expression.invalid("subPathExpr and subPath are mutually exclusive", errors);
    }
    descending_path(&expression.told_at(list.path.child("subPathExpr")), errors);
}

fn propagation(list: &At<'_>, mount: &At<'_>, privileged: bool, errors: &mut Errors) {
    let propagation = mount.get("mountPropagation").told_at(list.path.child("mountPropagation"));
    propagation.one_of(&["Bidirectional", "HostToContainer", "None"], errors);
    if propagation.text() == "Bidirectional" && !privileged {
        propagation.forbidden("Bidirectional mount propagation is available only to privileged containers", errors);
    }
    let recursive = mount.get("recursiveReadOnly").told_at(list.path.child("recursiveReadOnly"));
    match recursive.text() {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.get("readOnly").flag() {
                recursive.forbidden("may only be specified when readOnly is true", errors);
            }
            if !matches!(propagation.text(), "" | "None") {
                recursive.forbidden("may only be specified when mountPropagation is None or not specified", errors);
            }
        }
        _ => recursive.unsupported(&["Disabled", "Enabled", "IfPossible"], errors),
    }
}

/// The rules for `volumeDevices`: they come from claims alone.
pub(super) fn devices(container: &At<'_>, around: &Around<'_>, errors: &mut Errors) {
    let (list, mounts) = (container.get("volumeDevices"), container.get("volumeMounts"));
    let (mut names, mut paths): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for device in list.items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        name.need(errors);
        if names.contains(&name.text()) {
            name.invalid("must be unique", errors);
        }
        match volume_of(around, name.text()) {
            Some(volume) if !volume.get("persistentVolumeClaim").is_set() && !volume.get("ephemeral").is_set() => {
                name.invalid("can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode", errors);
            }
            Some(_) => {}
            None => name.not_found(errors),
        }
        path.need(errors);
        if paths.contains(&path.text()) {
            path.invalid("must be unique", errors);
        }
        if !no_backsteps(path.text()) {
            path.invalid("can not contain backsteps ('..')", errors);
        } else {
            paths.push(path.text());
        }
        if mounts.items().any(|m| m.get("name").text() == name.text()) {
            name.invalid("must not already exist in volumeMounts", errors);
        }
        if mounts.items().any(|m| m.get("mountPath").text() == path.text()) {
            path.invalid("must not already exist as a path in volumeMounts", errors);
        }
        if !name.is_empty() {
            names.push(name.text());
        }
    }
}

fn volume_of<'a, 'b>(around: &'b Around<'a>, name: &str) -> Option<&'b At<'a>> {
    around.volumes.iter().find(|v| v.get("name").text() == name)
}

/// Mounts of containers for debugging: parts of volumes would be left behind when the container ends.
pub(super) fn without_parts(mounts: &At<'_>, errors: &mut Errors) {
    for part in mounts.items().flat_map(|m| ["subPath", "subPathExpr"].map(|key| m.get(key))) {
        if !part.is_empty() {
            part.forbidden("cannot be set for an Ephemeral Container", errors);
        }
    }
}
