//! One process a data directory.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// Held for as long as a process works on a data directory; the kernel lets go of it when the process ends, however it ends.
pub type Held = Flock<File>;

/// Makes `dir` if it is missing, and takes it for this process.
pub fn take(dir: &Path) -> Result<Held> {
    std::fs::create_dir_all(dir).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("make the data directory {}: permission denied: run as root, or choose another with --data-dir", dir.display())
        }
        _ => anyhow::anyhow!("make the data directory {}: {error}", dir.display()),
    })?;
    let path = dir.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(held),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            bail!(
                "the data directory {} is in use by another tricorn process: stop that one, or choose another with --data-dir",
                dir.display()
            )
        }
        Err((_, error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let held = take(dir.path()).unwrap();
        let refused = take(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("in use by another tricorn process"), "{refused}");
        drop(held);
        take(dir.path()).unwrap();
    }
}
