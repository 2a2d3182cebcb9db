//! Parent cgroups: one tree a node, one group a quality-of-service class, one a pod. Containers' own groups are the
//! runtime's work. Both hierarchies are handled: one directory per controller (version 1), or one for all.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const MOUNT: &str = "/sys/fs/cgroup";
/// Version 1 controllers that the kubelet's own groups are made in.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "cpuset", "memory", "pids", "freezer"];

/// Limits of one group; nothing set means nothing written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Relative share of the processors.
    pub cpu_shares: Option<u64>,
    /// Hard limit: microseconds in each 100 ms.
    pub cpu_quota: Option<i64>,
    /// Most memory, bytes.
    pub memory_bytes: Option<i64>,
}

/// Length of the period that CPU quotas count in.
pub const CPU_PERIOD_MICROSECONDS: i64 = 100_000;

fn unified() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}

fn write(path: &Path, value: &str) -> Result<()> {
    std::fs::write(path, value).map_err(Error::io("write", path))
}

/// Creates the group (and its parents) and sets its limits.
pub fn ensure(group: &str, limits: Limits) -> Result<()> {
    if unified() { ensure_v2(group, limits) } else { ensure_v1(group, limits) }
}

fn ensure_v1(group: &str, limits: Limits) -> Result<()> {
    for controller in CONTROLLERS {
        let base = Path::new(MOUNT).join(controller);
        if !base.is_dir() {
            continue;
        }
        let mut path = base.clone();
        for part in group.split('/').filter(|part| !part.is_empty()) {
            let parent = path.clone();
            path.push(part);
            std::fs::create_dir_all(&path).map_err(Error::io("create cgroup", &path))?;
            if controller == "cpuset" {
                inherit(&parent, &path, "cpuset.cpus")?;
                inherit(&parent, &path, "cpuset.mems")?;
            }
        }
        match controller {
            "cpu" => {
                if let Some(shares) = limits.cpu_shares {
                    write(&path.join("cpu.shares"), &shares.to_string())?;
                }
                if let Some(quota) = limits.cpu_quota {
                    write(&path.join("cpu.cfs_period_us"), &CPU_PERIOD_MICROSECONDS.to_string())?;
                    write(&path.join("cpu.cfs_quota_us"), &quota.to_string())?;
                }
            }
            "memory" => {
                if let Some(bytes) = limits.memory_bytes {
                    write(&path.join("memory.limit_in_bytes"), &bytes.to_string())?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A cpuset group without processors takes no process: it gets its parent's.
fn inherit(parent: &Path, child: &Path, file: &str) -> Result<()> {
    let own = child.join(file);
    let current = std::fs::read_to_string(&own).map_err(Error::io("read", &own))?;
    if current.trim().is_empty() {
        let theirs = parent.join(file);
        let value = std::fs::read_to_string(&theirs).map_err(Error::io("read", &theirs))?;
        write(&own, value.trim())?;
    }
    Ok(())
}

fn ensure_v2(group: &str, limits: Limits) -> Result<()> {
    let mut path = PathBuf::from(MOUNT);
    for part in group.split('/').filter(|part| !part.is_empty()) {
        for controller in ["cpu", "cpuset", "memory", "pids"] {
            // A controller that the machine does not hand down is done without.
            let _ = std::fs::write(path.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        path.push(part);
        std::fs::create_dir_all(&path).map_err(Error::io("create cgroup", &path))?;
    }
    if let Some(shares) = limits.cpu_shares {
        // The documented mapping of 2..262144 shares to a weight of 1..10000.
        let weight = 1 + ((shares.clamp(2, 262_144) - 2) * 9999) / 262_142;
        write(&path.join("cpu.weight"), &weight.to_string())?;
    }
    if let Some(quota) = limits.cpu_quota {
        let quota = if quota < 0 { "max".to_owned() } else { quota.to_string() };
        write(&path.join("cpu.max"), &format!("{quota} {CPU_PERIOD_MICROSECONDS}"))?;
    }
    if let Some(bytes) = limits.memory_bytes {
        write(&path.join("memory.max"), &bytes.to_string())?;
    }
    Ok(())
}

/// Removes a group with everything below it. Groups that still hold processes stay.
pub fn remove(group: &str) {
    let bases = if unified() {
        vec![PathBuf::from(MOUNT)]
    } else {
        std::fs::read_dir(MOUNT).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    for base in bases {
        remove_tree(&base.join(group.trim_start_matches('/')));
    }
}

fn remove_tree(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // The files of a cgroup are not removed; the directory goes as a whole.
    let _ = std::fs::remove_dir(path);
}

/// CPU shares for a request in millicores.
pub fn shares(milli_cpu: i64) -> u64 {
    if milli_cpu <= 0 { 2 } else { ((milli_cpu * 1024 / 1000) as u64).clamp(2, 262_144) }
}

/// CPU quota in a period for a limit in millicores; zero is no limit.
pub fn quota(milli_cpu: i64) -> i64 {
    if milli_cpu <= 0 { 0 } else { (milli_cpu * CPU_PERIOD_MICROSECONDS / 1000).max(1000) }
}
