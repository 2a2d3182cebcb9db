//! Processes, told apart by start time as well as number, so that a reused number is never taken for the old one.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One process of this machine, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number in the machine's own process namespace.
    pub pid: i32,
    /// Its start time in clock ticks since boot.
    pub started: u64,
}

struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in parentheses and may hold anything: the fields start after the last one.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, started })
}

impl ProcessId {
    /// The process that has the number `pid` now.
    pub fn of(pid: i32) -> Option<Self> {
        stat(pid).map(|s| Self { pid, started: s.started })
    }

    /// Whether it still runs (a zombie does not).
    pub fn alive(&self) -> bool {
        stat(self.pid).is_some_and(|s| s.started == self.started && !matches!(s.state, 'Z' | 'X'))
    }

    /// Sends `signal`; a process that is gone is no error.
    pub fn signal(&self, signal: Signal) {
        if self.alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Waits until it is gone.
    pub async fn gone(&self, what: &str, deadline: Duration) -> Result<()> {
        let begin = Instant::now();
        while self.alive() {
            if begin.elapsed() > deadline {
                let hint_text = format!("process {} is still there", self.pid);
                return Err(Error::Timeout { what: what.to_owned(), after: deadline, hint_text });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }
}

/// The numbers of all processes of the machine.
pub(crate) fn all() -> Vec<i32> {
    let Ok(dir) = std::fs::read_dir("/proc") else { return Vec::new() };
    dir.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The process that `parent` started, if there is one.
pub(crate) fn child_of(parent: i32) -> Option<ProcessId> {
    if let Ok(text) = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) {
        return text.split_whitespace().next()?.parse().ok().and_then(ProcessId::of);
    }
    all().into_iter().find(|pid| stat(*pid).is_some_and(|s| s.parent == parent)).and_then(ProcessId::of)
}

/// The process that started `child` and still waits for it.
pub(crate) fn parent_of(child: ProcessId) -> Option<ProcessId> {
    stat(child.pid).and_then(|s| ProcessId::of(s.parent))
}

/// Whether a process is stopped by a signal.
pub(crate) fn stopped(pid: u32) -> bool {
    stat(pid as i32).is_some_and(|s| s.state == 'T')
}

fn same_file(link: &str, wanted: (u64, u64)) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(link).is_ok_and(|m| (m.dev(), m.ino()) == wanted)
}

/// The processes whose network namespace is the one mounted at `path`.
pub(crate) fn in_netns(path: &Path) -> Vec<ProcessId> {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = std::fs::metadata(path) else { return Vec::new() };
    let wanted = (meta.dev(), meta.ino());
    all()
        .into_iter()
        .filter(|pid| same_file(&format!("/proc/{pid}/ns/net"), wanted))
        .filter_map(ProcessId::of)
        .filter(ProcessId::alive)
        .collect()
}

/// `root` and everything below it: all of a host, when `root` is its first process, because orphans return to it.
pub(crate) fn tree(root: ProcessId) -> Vec<ProcessId> {
    let mut everyone: Vec<(i32, Stat)> = all().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        everyone.retain(|(pid, s)| {
            let mine = s.parent == parent.pid;
            if mine {
                found.push(ProcessId { pid: *pid, started: s.started });
            }
            !mine
        });
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn knows_itself_and_refuses_a_reused_number() {
        let me = ProcessId::of(std::process::id() as i32).unwrap();
        assert!(me.alive());
        assert!(me.resident_bytes().unwrap() > 0);
        assert!(!ProcessId { started: me.started + 1, ..me }.alive());
    }

    fn outer(child: &tokio::process::Child) -> i32 {
        child.id().unwrap() as i32
    }

    #[tokio::test]
    async fn sees_a_child_come_and_go() {
        let mut child = tokio::process::Command::new("sleep").arg("30").kill_on_drop(true).spawn().unwrap();
        let id = ProcessId::of(outer(&child)).unwrap();
        assert!(child_of(outer(&child)).is_none());
        let me = ProcessId::of(std::process::id() as i32).unwrap();
        assert!(tree(me).contains(&id));
        id.signal(Signal::SIGKILL);
        child.wait().await.unwrap();
        id.gone("sleep to end", Duration::from_secs(5)).await.unwrap();
    }
}
