//! Python with the clients that people use, kept for later runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::cache;
use crate::command::{run, run_within};

/// Installing takes a while, the first time.
const INSTALL: Duration = Duration::from_secs(300);

/// A Python that can import `module`; `packages` are what it takes.
///
/// # Panics
/// When they cannot be installed.
pub async fn python(module: &str, packages: &[&str]) -> PathBuf {
    let venv = cache(&format!("python-{module}"));
    let program = venv.join("bin/python");
    if !program.is_file() || run(&program, &["-c", &format!("import {module}")], &[]).await.code != Some(0) {
        run_within(INSTALL, "python3", &[Path::new("-m"), Path::new("venv"), Path::new("--clear"), &venv], &[]).await.ok();
        let pip = [&["-m", "pip", "install", "--quiet"], packages].concat();
        run_within(INSTALL, &program, &pip, &[]).await.ok();
    }
    program
}
