//! Control groups that hosts leave behind.

use std::path::{Path, PathBuf};

/// The mount points of all control group hierarchies, v1 and v2.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(place))
    });
    mounts.collect()
}

/// Removes the groups at `path` (such as `/tricorn-00c0ffee/w1`) in every hierarchy, deepest first. Groups with processes in
/// them stay.
pub(crate) fn remove(path: &str) {
    for root in hierarchies() {
        remove_tree(&root.join(path.trim_start_matches('/')));
    }
}

fn remove_tree(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    if let Err(e) = std::fs::remove_dir(dir) {
        tracing::debug!(dir = %dir.display(), error = %e, "control group stays");
    }
}

/// The parent group of everything the cluster `id` runs.
pub(crate) fn cluster_root(id: &str) -> String {
    format!("/tricorn-{id}")
}

/// The parent group of a host's pods, handed to its agent.
pub(crate) fn host_root(id: &str, host: &str) -> String {
    format!("/tricorn-{id}/{host}")
}
