//! Node.js with the clients that people use, kept for later runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::cache;
use crate::command::run_within;

/// Installing takes a while, the first time.
const INSTALL: Duration = Duration::from_secs(300);
/// What is installed, to the version.
const LOCK: &str = "package-lock.json";

/// The path of `main.js` of the folder `javascript/NAME`, beside the packages that it imports. `node` runs it.
///
/// # Panics
/// When they cannot be installed.
pub async fn javascript(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("javascript").join(name);
    // Node looks for packages beside the script that imports them, so the script goes to them.
    let home = cache(&format!("javascript-{name}"));
    std::fs::create_dir_all(&home).expect("a folder for packages");
    let copy =
        |file: &str, to: &str| std::fs::copy(source.join(file), home.join(to)).unwrap_or_else(|error| panic!("copy {file}: {error}"));
    let read = |path: PathBuf| std::fs::read(path).ok();
    let installed = "installed.json";
    if read(home.join(installed)) != read(source.join(LOCK)) {
        copy("package.json", "package.json");
        copy(LOCK, LOCK);
        let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"].map(Path::new);
        run_within(INSTALL, "npm", &[&npm[..], &[home.as_path()]].concat(), &[]).await.ok();
        copy(LOCK, installed);
    }
    copy("main.js", "main.js");
    home.join("main.js")
}
