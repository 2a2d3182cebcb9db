//! Takes away what a node leaves on the machine when it goes for good: shims, mounts, cgroups.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup;
use crate::config::KubeletConfig;

const END_LIMIT: Duration = Duration::from_secs(10);

/// Kills the processes that belong to this node's containerd (shims and what they run), unmounts what is mounted below
/// the node's directory and removes its cgroups. Files stay. Blocking; only for a node whose kubelet has ended.
pub fn cleanup(config: &KubeletConfig) {
    let socket = config.containerd_socket();
    end(|pid| is_runtime_process(pid, &socket));
    let group = config.cgroup_root();
    end(|pid| in_cgroup(pid, &group));
    unmount_below(&config.root_dir);
    if let Some((node, _)) = group.rsplit_once('/') {
        cgroup::remove(node);
    }
}

/// Ends a containerd that an agent before this one left behind: it would hold the locks of the one to be started.
pub fn end_stale_containerd(config: &KubeletConfig) {
    let socket = config.containerd_socket();
    end(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "containerd" && is_runtime_process(pid, &socket)
    });
}

/// Kills every process that `mine` recognizes, until there is none. Blocks: there is nothing to wait on for a process that is not a child.
#[allow(clippy::disallowed_methods)]
fn end(mine: impl Fn(i32) -> bool) {
    let deadline = Instant::now() + END_LIMIT;
    loop {
        let victims: Vec<i32> = processes().into_iter().filter(|pid| mine(*pid)).collect();
        if victims.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in victims {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn processes() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| *pid != std::process::id() as i32).collect()
}

/// A shim names containerd's socket on its command line; containerd names its configuration beside the socket.
fn is_runtime_process(pid: i32, socket: &Path) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut arguments = line.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument));
    let Some(program) = arguments.next() else { return false };
    let program = program.rsplit('/').next().unwrap_or_default();
    if !program.starts_with("containerd") {
        return false;
    }
    let configuration = socket.with_file_name("config.toml");
    arguments.any(|argument| Path::new(&*argument) == socket || Path::new(&*argument) == configuration)
}

fn in_cgroup(pid: i32, group: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().any(|line| {
        line.splitn(3, ':').nth(2).is_some_and(|path| path.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    })
}

/// Mount points below a directory, innermost first.
pub fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| path.starts_with(directory) && path != directory)
        .collect();
    found.reverse();
    found
}

/// Unmounts everything below a directory.
pub fn unmount_below(directory: &Path) {
    for path in mounts_below(directory) {
        if let Err(error) = umount2(&path, MntFlags::MNT_DETACH) {
            tracing::warn!(path = %path.display(), %error, "unmount");
        }
    }
}
