//! A hand on one member's disk and clock: a library that is loaded before the member (see `shim/shim.rs`), and the page that tells it what
//! to do. It works for programs that call the C library, which etcd does not.

#[path = "../shim/page.rs"]
mod page;

use anyhow::{Context, Result};
use page::{CLOCK_OFFSET_NANOS, PAGE, SYNC_DELAY_MICROS, SYNC_ERROR, WRITE_ERROR};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shim.so"));
/// What goes wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    /// It is full.
    Full,
    /// It is broken.
    Broken,
}

impl DiskError {
    fn number(self) -> i64 {
        match self {
            Self::Full => libc::ENOSPC.into(),
            Self::Broken => libc::EIO.into(),
        }
    }
}

/// The page of one member.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
    page: PathBuf,
    file: File,
}

impl Shim {
    /// Puts library and page into `dir`, with nothing wrong.
    pub fn prepare(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let (library, page) = (dir.join("shim.so"), dir.join("shim.page"));
        std::fs::write(&library, LIBRARY).with_context(|| format!("write {}", library.display()))?;
        std::fs::write(&page, [0; PAGE]).with_context(|| format!("write {}", page.display()))?;
        let file = File::options().write(true).open(&page).with_context(|| format!("open {}", page.display()))?;
        Ok(Self { library, page, file })
    }

    /// What the member is started with.
    pub fn environment(&self) -> Vec<(String, String)> {
        let set = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
        vec![set("LD_PRELOAD", &self.library), set("JEPSEN_SHIM_PAGE", &self.page)]
    }

    fn set(&self, place: usize, value: i64) -> Result<()> {
        let written = self.file.write_all_at(&value.to_ne_bytes(), place as u64 * 8);
        written.with_context(|| format!("write {}", self.page.display()))
    }

    /// Each sync of the disk takes so much longer.
    pub fn slow_sync(&self, by: Duration) -> Result<()> {
        self.set(SYNC_DELAY_MICROS, i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
    }

    /// Each sync of the disk fails.
    pub fn fail_sync(&self, error: DiskError) -> Result<()> {
        self.set(SYNC_ERROR, error.number())
    }

    /// Each write to the disk fails.
    pub fn fail_write(&self, error: DiskError) -> Result<()> {
        self.set(WRITE_ERROR, error.number())
    }

    /// The wall clock is off by so many milliseconds.
    pub fn skew_clock(&self, millis: i64) -> Result<()> {
        self.set(CLOCK_OFFSET_NANOS, millis.saturating_mul(1_000_000))
    }

    /// Nothing is wrong any more.
    pub fn heal(&self) -> Result<()> {
        [SYNC_DELAY_MICROS, SYNC_ERROR, WRITE_ERROR, CLOCK_OFFSET_NANOS].into_iter().try_for_each(|place| self.set(place, 0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::process::Command;

    fn run(shim: &Shim, script: &str) -> String {
        let output = Command::new("sh").args(["-c", script]).envs(shim.environment()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    #[test]
    fn the_clock_can_be_wrong_and_right_again() {
        let dir = tempfile::tempdir().unwrap();
        let shim = Shim::prepare(dir.path()).unwrap();
        shim.skew_clock(-3_600_000).unwrap();
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let seen = |text: String| text.trim().parse::<u64>().unwrap();
        assert!(now().abs_diff(seen(run(&shim, "date +%s")) + 3600) < 10);
        shim.heal().unwrap();
        assert!(now().abs_diff(seen(run(&shim, "date +%s"))) < 10);
    }

    #[test]
    fn a_disk_can_be_full_slow_and_broken() {
        let dir = tempfile::tempdir().unwrap();
        let shim = Shim::prepare(dir.path()).unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let script = format!("dd if=/dev/zero of={}/f bs=4096 count=1 conv=fsync 2>&1; echo said to a pipe", data.display());
        assert!(run(&shim, &script).contains("4096 bytes"));
        shim.fail_write(DiskError::Full).unwrap();
        let said = run(&shim, &script);
        assert!(said.contains("No space left") && said.contains("said to a pipe"), "{said}");
        shim.heal().unwrap();
        shim.fail_sync(DiskError::Broken).unwrap();
        assert!(run(&shim, &script).contains("Input/output error"));
        shim.heal().unwrap();
        shim.slow_sync(Duration::from_millis(300)).unwrap();
        let begun = std::time::Instant::now();
        assert!(run(&shim, &script).contains("4096 bytes"));
        assert!(begun.elapsed() >= Duration::from_millis(300));
    }
}
