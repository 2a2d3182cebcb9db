//! Running programs as a person would, and looking at what they say.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// No command of a test may take longer, unless it says so.
const DEADLINE: Duration = Duration::from_secs(300);

/// What became of a command.
#[derive(Debug)]
pub struct Ran {
    /// The command line.
    pub line: String,
    /// Its exit code; nothing when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ran {
    /// Its output, if it succeeded.
    ///
    /// # Panics
    /// When it did not, with all it said.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "`{}` failed:\n{}{}", self.line, self.out, self.err);
        self.out
    }

    /// What it complained of, if it failed with `code` and in words that hold all of `words`.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> String {
        let said = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, Some(code), "`{}` should have failed with {code}:\n{said}", self.line);
        for word in words {
            assert!(said.contains(word), "`{}` does not say {word:?} but:\n{said}", self.line);
        }
        assert!(!said.contains("panicked"), "`{}` panicked:\n{said}", self.line);
        said
    }
}

/// The binary under test: `TRICORN_BINARY`, or the one that lies beside the tests.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TRICORN_BINARY") {
        return path.into();
    }
    let tests = std::env::current_exe().expect("the test's own path");
    let beside = tests.ancestors().nth(2).expect("a target directory").join("tricorn");
    assert!(beside.is_file(), "no binary at {}: run `make test`, or set TRICORN_BINARY", beside.display());
    beside
}

/// Runs a program with arguments and further variables.
pub async fn run<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[S], variables: &[(&str, &Path)]) -> Ran {
    run_within(DEADLINE, program, arguments, variables).await
}

/// Runs a program that may take `deadline`.
///
/// # Panics
/// When it cannot be started, or takes longer.
pub async fn run_within<S: AsRef<OsStr>>(
    deadline: Duration,
    program: impl AsRef<OsStr>,
    arguments: &[S],
    variables: &[(&str, &Path)],
) -> Ran {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).envs(variables.iter().copied()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let line = std::iter::once(program.as_ref()).chain(arguments.iter().map(AsRef::as_ref)).map(OsStr::to_string_lossy);
    let line = line.collect::<Vec<_>>().join(" ");
    let output = tokio::time::timeout(deadline, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("`{line}` did not end within {deadline:?}"));
    let output = output.unwrap_or_else(|error| panic!("`{line}` could not be started: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { line, code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
