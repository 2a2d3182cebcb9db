//! What the kernel says of the servers' processes.

use std::time::Duration;

/// Processor time and memory of a group of processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub cpu: Duration,
    pub rss_bytes: u64,
}

/// Sums up `pids`; `None` when there are none, or one of them cannot be read.
pub(crate) fn usage(pids: &[u32]) -> Option<Usage> {
    if pids.is_empty() {
        return None;
    }
    pids.iter().try_fold(Usage::default(), |sum, pid| {
        let one = usage_of(*pid)?;
        Some(Usage { cpu: sum.cpu + one.cpu, rss_bytes: sum.rss_bytes + one.rss_bytes })
    })
}

fn usage_of(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields are counted from behind the command's name, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks = number(11)? + number(12)?;
    let pages = number(21)?;
    // SAFETY: sysconf takes a number and returns one.
    let (per_second, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    let (per_second, page) = (u64::try_from(per_second).ok()?.max(1), u64::try_from(page).ok()?);
    Some(Usage { cpu: Duration::from_millis(ticks * 1000 / per_second), rss_bytes: pages * page })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_process_can_be_read_and_a_missing_one_cannot() {
        let own = usage(&[std::process::id()]).unwrap();
        assert!(own.rss_bytes > 100_000, "{own:?}");
        let twice = usage(&[std::process::id(), std::process::id()]).unwrap();
        assert!(twice.rss_bytes >= own.rss_bytes * 3 / 2);
        assert!(usage(&[std::process::id(), u32::MAX]).is_none());
        assert!(usage(&[]).is_none());
    }
}
