//! Leaving nothing behind, whatever happened before: everything a cluster makes is found by its marks, not by memory.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cgroup;
use crate::command::run;
use crate::error::Result;
use crate::host;
use crate::network::{Network, netns_lock};
use crate::process;
use crate::state::StateFile;

const DEADLINE: Duration = Duration::from_secs(30);

/// Removes what the cluster of `file` has on the machine: processes, namespaces (with their links, mounts and rules) and
/// control groups. Its data stays. Safe to repeat, and safe after any crash.
pub async fn clean(file: &StateFile) -> Result<()> {
    if let Ok(state) = file.read() {
        for record in &state.hosts {
            host::power_off(record).await?;
        }
    }
    let id = file.id();
    let names = namespaces(&id);
    for name in &names {
        let processes = process::in_netns(&Network::netns_path(name));
        for process in &processes {
            process.signal(Signal::SIGKILL);
        }
        for process in &processes {
            process.gone(&format!("end the processes in {name}"), DEADLINE).await?;
        }
    }
    if !names.is_empty() {
        let _lock = netns_lock()?;
        for name in &names {
            run("remove a network namespace", &["ip", "netns", "delete", name]).await?;
        }
        leave_run_netns();
    }
    cgroup::remove(&cgroup::cluster_root(&id));
    Ok(())
}

fn namespaces(id: &str) -> Vec<String> {
    let prefix = format!("tricorn-{id}-");
    let Ok(dir) = std::fs::read_dir("/run/netns") else { return Vec::new() };
    dir.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|n| n.starts_with(&prefix)).collect()
}

/// `ip netns` turns /run/netns into a mount of its own; when the last namespace is gone that mount goes too.
fn leave_run_netns() {
    let dir = PathBuf::from("/run/netns");
    if std::fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_none()) {
        let _ = nix::mount::umount(&dir);
        let _ = std::fs::remove_dir(&dir);
    }
}
