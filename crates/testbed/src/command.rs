//! Running the system's own tools (ip, nsenter, iptables, ebtables) with a deadline and errors that can be read.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::{Error, Result};

const DEADLINE: Duration = Duration::from_secs(20);

/// Runs `argv`, gives it `input`, and returns its standard output.
pub(crate) async fn run_with(what: &str, argv: &[&str], input: Option<&str>) -> Result<String> {
    let command = argv.join(" ");
    let fail = |outcome: String| Error::Command { what: what.to_owned(), command: command.clone(), outcome };
    let (program, args) = argv.split_first().ok_or_else(|| fail("has no program".to_owned()))?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| fail(format!("could not be started: {e}")))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(text.as_bytes()).await.map_err(|e| fail(format!("took no input: {e}")))?;
    }
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output())
        .await
        .map_err(|_| fail(format!("did not end within {} s", DEADLINE.as_secs())))?
        .map_err(|e| fail(format!("could not be waited for: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(fail(format!("failed ({}): {}", output.status, said.trim())))
}

/// Runs `argv` for the operation `what`; its standard output.
pub(crate) async fn run(what: &str, argv: &[&str]) -> Result<String> {
    run_with(what, argv, None).await
}

/// Whether `program` is found on PATH or in the administrator's directories.
pub(crate) fn found(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"])
        .any(|dir| !dir.is_empty() && std::path::Path::new(dir).join(program).is_file())
}
