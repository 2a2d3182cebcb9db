//! What can go wrong between rules and kernel.

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A step of the proxy that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be run, or refused.
    #[error("{what}: {program}: {problem}")]
    Program {
        /// The operation.
        what: &'static str,
        /// The program.
        program: String,
        /// What it said.
        problem: String,
    },
    /// A socket or file failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation and its object.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs `program`, gives it `input`, and returns its standard output; both end within 30 seconds.
pub(crate) async fn run(what: &'static str, program: &str, args: &[&str], input: Option<&str>) -> Result<String> {
    use std::process::Stdio;
    use tokio::io::AsyncWriteExt;
    let fail = |problem: String| Error::Program { what, program: program.to_owned(), problem };
    let mut child = tokio::process::Command::new(program)
        .args(args)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| fail(format!("could not be started: {e}")))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let (Some(mut stdin), Some(text)) = (stdin, input) {
            // A program that refuses its input says why on its way out.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(std::time::Duration::from_secs(30), both)
        .await
        .map_err(|_| fail("did not end within 30 s".to_owned()))?
        .map_err(|e| fail(e.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(fail(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}
