//! What the members' logs give away: nobody may ever panic, or be ended by a signal that is not the nemesis'.

use crate::check::{Finding, Validity, Verdict};
use std::path::PathBuf;

/// What a program says when it panics: Rust's words, and Go's.
const PANICS: [&str; 3] = ["panicked at", "panic: ", "fatal error: "];
/// Signals by which a program ends itself, or is ended for what it did; the nemesis sends none of these.
const SIGNALS: [&str; 5] = ["SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"];

/// What is wrong in one member's log.
fn wrong<'a>(name: &'a str, log: &'a str) -> impl Iterator<Item = String> + 'a {
    log.lines().filter_map(move |line| {
        if PANICS.iter().any(|words| line.contains(words)) {
            return Some(format!("{name} panicked: {line}"));
        }
        let end = line.strip_prefix(tricorn_testbed::ENDED)?;
        SIGNALS.iter().any(|signal| end.contains(signal)).then(|| format!("{name} was ended by a signal{end}"))
    })
}

/// Judges the logs of members.
pub fn check(logs: &[(String, PathBuf)]) -> Verdict {
    let mut findings = Vec::new();
    for (name, log) in logs {
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        findings.extend(wrong(name, &text).map(|what| Finding { what, indexes: Vec::new() }));
    }
    let valid = if findings.is_empty() { Validity::Valid } else { Validity::Invalid };
    Verdict { checker: "no-panic".into(), valid, findings, stats: Default::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn judged(log: &str) -> Validity {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), log).unwrap();
        check(&[("n1".to_owned(), file.path().to_owned())]).valid
    }

    #[test]
    fn panics_and_signals_are_found_and_nothing_else_is() {
        assert_eq!(judged("INFO starts\nERROR the disk failed: SIGABRT is only mentioned\n"), Validity::Valid);
        assert_eq!(judged(&format!("{}: exit status: 1\n", tricorn_testbed::ENDED)), Validity::Valid);
        assert_eq!(judged(&format!("{}: signal: 9 (SIGKILL)\n", tricorn_testbed::ENDED)), Validity::Valid);
        assert_eq!(judged(&format!("{}: signal: 6 (SIGABRT) (core dumped)\n", tricorn_testbed::ENDED)), Validity::Invalid);
        assert_eq!(judged(&format!("{}: signal: 11 (SIGSEGV)\n", tricorn_testbed::ENDED)), Validity::Invalid);
        assert_eq!(judged("thread 'raft-log' panicked at src/log.rs:1:1:\n"), Validity::Invalid);
        assert_eq!(judged("panic: runtime error\n"), Validity::Invalid);
    }
}
