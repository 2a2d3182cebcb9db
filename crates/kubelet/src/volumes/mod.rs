//! A pod's volumes: made before its first container, kept up to date while it runs, taken down after its last.

pub mod atomic;
pub mod payload;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume, VolumeMount};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{Error, Result};
use crate::pod::env::Facts;
use crate::pod::{resources, spec};
use payload::Objects;

/// Directory names of the plugins, as upstream has them below a pod's directory.
fn plugin(volume: &Volume) -> &'static str {
    if volume.empty_dir.is_some() {
        "kubernetes.io~empty-dir"
    } else if volume.config_map.is_some() {
        "kubernetes.io~configmap"
    } else if volume.secret.is_some() {
        "kubernetes.io~secret"
    } else if volume.downward_api.is_some() {
        "kubernetes.io~downward-api"
    } else {
        "kubernetes.io~projected"
    }
}

/// The host directory (or file) behind each volume, by the volume's name.
pub type Paths = BTreeMap<String, PathBuf>;

/// Why a volume cannot be mounted; becomes a FailedMount event.
pub fn failed(volume: &str, error: impl std::fmt::Display) -> Error {
    Error::Invalid(format!("MountVolume.SetUp failed for volume \"{volume}\" : {error}"))
}

/// Makes all volumes, or brings those with contents up to date.
pub async fn set_up(pod: &Pod, pod_dir: &Path, objects: &dyn Objects, facts: &Facts) -> Result<Paths> {
    let mut paths = Paths::new();
    let Some(pod_spec) = &pod.spec else { return Ok(paths) };
    for volume in pod_spec.volumes.iter().flatten() {
        let path = set_up_one(pod, pod_dir, volume, objects, facts).await?;
        paths.insert(volume.name.clone(), path);
    }
    Ok(paths)
}

async fn set_up_one(pod: &Pod, pod_dir: &Path, volume: &Volume, objects: &dyn Objects, facts: &Facts) -> Result<PathBuf> {
    let name = &volume.name;
    if let Some(host_path) = &volume.host_path {
        let path = PathBuf::from(&host_path.path);
        check_host_path(&path, host_path.type_.as_deref().unwrap_or_default()).map_err(|error| failed(name, error))?;
        return Ok(path);
    }
    let path = pod_dir.join("volumes").join(plugin(volume)).join(name);
    let group = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).and_then(|context| context.fs_group);
    if let Some(empty) = &volume.empty_dir {
        std::fs::create_dir_all(&path).map_err(|error| failed(name, error))?;
        if empty.medium.as_deref() == Some("Memory") {
            let size = empty.size_limit.as_ref().map(resources::whole);
            mount_memory(&path, size).map_err(|error| failed(name, error))?;
        }
        set_mode(&path, 0o777).map_err(|error| failed(name, error))?;
        own_by_group(&path, group).map_err(|error| failed(name, error))?;
        return Ok(path);
    }
    let Some(files) = payload::files(pod, volume, objects, facts).await.map_err(|error| failed(name, error))? else {
        return Err(failed(name, format!("volume type of \"{name}\" is not implemented")));
    };
    std::fs::create_dir_all(&path).map_err(|error| failed(name, error))?;
    // Secrets and tokens live in memory only.
    let secret = volume.secret.is_some() || volume.projected.is_some();
    if secret {
        mount_memory(&path, None).map_err(|error| failed(name, error))?;
    }
    set_mode(&path, if secret { 0o1777 } else { 0o777 }).map_err(|error| failed(name, error))?;
    atomic::write(&path, &files, group).map_err(|error| failed(name, error))?;
    Ok(path)
}

fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    if std::fs::metadata(path)?.mode() & 0o7777 != mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// The directory's group becomes the pod's, and sticks to what is made in it.
fn own_by_group(path: &Path, group: Option<i64>) -> std::io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    std::os::unix::fs::chown(path, None, Some(group as u32))?;
    set_mode(path, 0o2777)
}

fn mount_memory(path: &Path, size: Option<i64>) -> std::io::Result<()> {
    if is_mount_point(path) {
        return Ok(());
    }
    let options = size.filter(|size| *size > 0).map(|size| format!("size={size}"));
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), options.as_deref()).map_err(std::io::Error::from)
}

fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    path.parent().is_some_and(|parent| device(path) != device(parent))
}

fn check_host_path(path: &Path, kind: &str) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt;
    let found = std::fs::metadata(path).ok();
    let text = path.display();
    let is = |test: fn(&std::fs::Metadata) -> bool, what: &str| match &found {
        Some(metadata) if test(metadata) => Ok(()),
        _ => Err(format!("hostPath type check failed: {text} is not a {what}")),
    };
    match kind {
        "" => Ok(()),
        "Directory" => is(|metadata| metadata.is_dir(), "directory"),
        "File" => is(|metadata| metadata.is_file(), "file"),
        "Socket" => is(|metadata| metadata.file_type().is_socket(), "socket file"),
        "CharDevice" => is(|metadata| metadata.file_type().is_char_device(), "character device"),
        "BlockDevice" => is(|metadata| metadata.file_type().is_block_device(), "block device"),
        "DirectoryOrCreate" if found.is_none() => {
            std::fs::create_dir_all(path).map_err(|error| format!("create {text}: {error}"))?;
            set_mode(path, 0o755).map_err(|error| format!("set mode of {text}: {error}"))
        }
        "DirectoryOrCreate" => is(|metadata| metadata.is_dir(), "directory"),
        "FileOrCreate" if found.is_none() => std::fs::write(path, "").map_err(|error| format!("create {text}: {error}")),
        "FileOrCreate" => is(|metadata| metadata.is_file(), "file"),
        other => Err(format!("unknown hostPath type {other}")),
    }
}

/// The host path that a mount of a container refers to, with its subPath, which is made when it is missing.
pub fn mount_source(pod: &Pod, paths: &Paths, mount: &VolumeMount, sub_path: Option<&str>) -> Result<PathBuf> {
    let base = paths.get(&mount.name).ok_or_else(|| {
        Error::Invalid(format!("cannot find volume \"{}\" to mount into container of pod {}", mount.name, spec::display(pod)))
    })?;
    let Some(sub_path) = sub_path.filter(|sub_path| !sub_path.is_empty()) else { return Ok(base.clone()) };
    let relative = Path::new(sub_path);
    if relative.is_absolute() || relative.components().any(|part| part.as_os_str() == "..") {
        return Err(Error::Invalid(format!("subPath {sub_path} of volume \"{}\" must stay within the volume", mount.name)));
    }
    let full = base.join(relative);
    if std::fs::symlink_metadata(&full).is_err() {
        std::fs::create_dir_all(&full).map_err(Error::io("create", &full))?;
        set_mode(&full, 0o777).map_err(Error::io("set mode of", &full))?;
    }
    // The path without links: a link that leads out of the volume is refused.
    let base = base.canonicalize().map_err(Error::io("resolve", base))?;
    let full = full.canonicalize().map_err(Error::io("resolve", &full))?;
    if !full.starts_with(&base) {
        return Err(Error::Invalid(format!("subPath {sub_path} of volume \"{}\" leads out of the volume", mount.name)));
    }
    Ok(full)
}

/// Unmounts the pod's volumes and removes its directory. What hostPath volumes point at is not below it.
pub fn tear_down(pod_dir: &Path) -> Result<()> {
    for path in crate::runtime::cleanup::mounts_below(pod_dir) {
        umount2(&path, MntFlags::MNT_DETACH).map_err(|error| Error::io("unmount", &path)(error.into()))?;
    }
    match std::fs::remove_dir_all(pod_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", pod_dir)(error)),
        _ => Ok(()),
    }
}
