//! Where that is kept which tests install for later runs: outside of the repository.

use std::path::PathBuf;

/// A folder for what is called `name`; it may not be there yet.
pub fn cache(name: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("tricorn").join(name)
}
