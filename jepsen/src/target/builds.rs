//! Two builds of one program, between which members are upgraded and go back.

use anyhow::{Context, Result, bail};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Two builds.
#[derive(Debug)]
pub struct Builds {
    /// What members begin with.
    pub first: PathBuf,
    /// What they are upgraded to.
    pub second: PathBuf,
    same: bool,
    one_way: AtomicBool,
}

impl Builds {
    /// The build that members begin with and another, which may be a copy of it.
    pub fn new(first: &Path, second: &Path) -> Result<Self> {
        let find = |path: &Path| path.canonicalize().with_context(|| format!("find {}", path.display()));
        let (first, second) = (find(first)?, find(second)?);
        if first == second {
            bail!("{} cannot be upgraded to itself: give another build, or a copy", first.display());
        }
        let same = same(&first, &second).with_context(|| format!("compare {} with {}", first.display(), second.display()))?;
        Ok(Self { first, second, same, one_way: AtomicBool::new(false) })
    }

    /// Notes that the first build refuses what the second has written: nobody goes back any more.
    pub fn refuse_the_way_back(&self) {
        self.one_way.store(true, Ordering::Relaxed);
    }

    /// The build that all change to next, when this is what they run now.
    pub fn next(&self, running: &[PathBuf]) -> &Path {
        let upgraded = running.iter().all(|build| *build == self.second);
        if upgraded && !self.one_way.load(Ordering::Relaxed) { &self.first } else { &self.second }
    }
}

impl fmt::Display for Builds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.same { "a copy of the same build" } else { "another build" };
        write!(f, "{what} at {}", self.second.display())
    }
}

/// Whether two files hold the same.
fn same(first: &Path, second: &Path) -> std::io::Result<bool> {
    let open = |path: &Path| std::fs::File::open(path).map(BufReader::new);
    let (mut first, mut second) = (open(first)?, open(second)?);
    loop {
        let (a, b) = (first.fill_buf()?, second.fill_buf()?);
        let common = a.len().min(b.len());
        if common == 0 || a[..common] != b[..common] {
            return Ok(a.is_empty() && b.is_empty());
        }
        first.consume(common);
        second.consume(common);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn builds(first: &[u8], second: &[u8]) -> (tempfile::TempDir, Result<Builds>) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            std::fs::write(dir.path().join(name), content).unwrap();
            dir.path().join(name)
        };
        let builds = Builds::new(&write("first", first), &write("second", second));
        (dir, builds)
    }

    #[test]
    fn a_copy_is_told_from_another_build() {
        let long = vec![7; 100_000];
        for (first, second, words) in [
            (&long[..], &long[..], "a copy of the same build at"),
            (&long, &long[1..], "another build at"),
            (b"", b"x", "another build at"),
        ] {
            let (_dir, builds) = builds(first, second);
            assert!(builds.unwrap().to_string().starts_with(words));
        }
        let (dir, _) = builds(b"1", b"2");
        let first = dir.path().join("first");
        assert!(Builds::new(&first, &first).is_err());
        assert!(Builds::new(&first, &dir.path().join("none")).is_err());
    }

    #[test]
    fn all_go_to_and_fro_until_the_way_back_is_refused() {
        let (_dir, builds) = builds(b"1", b"2");
        let builds = builds.unwrap();
        let (first, second) = (builds.first.clone(), builds.second.clone());
        assert_eq!(builds.next(&[first.clone(), first.clone()]), second);
        assert_eq!(builds.next(&[second.clone(), first.clone()]), second);
        assert_eq!(builds.next(&[second.clone(), second.clone()]), first);
        builds.refuse_the_way_back();
        assert_eq!(builds.next(&[second.clone(), second.clone()]), second);
    }
}
