//! Damaged disks: a member whose files were damaged serves what is right, or refuses to and says why.
//!
//! What it serves is judged by all other checkers; this one reads what the nemesis notes of each damage.

use super::available::Fault;
use super::{Judge, Verdict};
use crate::history::{History, Process};
use serde::{Deserialize, Serialize};

/// The name of the fault.
pub const CORRUPT: &str = "corrupt";

/// `{"member": "n1", "file": "raft/0000000c.wal", "damage": "flipped 3 bits", "ended": true, "answers": false, "said": "open raft: Corruption: …"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Whose file.
    pub member: String,
    /// Which, in its data directory.
    pub file: String,
    /// What was done to it.
    pub damage: String,
    /// Whether the member had ended soon after it was started with it.
    pub ended: bool,
    /// Whether it answered by then.
    pub answers: bool,
    /// What the end of its log says of a reason, if it ended; empty for nothing.
    #[serde(default)]
    pub said: String,
}

/// Words by which a member names what is wrong with its data.
const NAMED: [&str; 7] = ["orruption", "orrupt", "damage", "checksum", "data directory", "Invalid argument", "No such file"];

/// The last line that names a reason, of what a member logged.
pub fn named(log: &str) -> String {
    log.lines().rev().take(50).find(|line| NAMED.iter().any(|word| line.contains(word))).unwrap_or_default().trim().to_owned()
}

/// Judges what became of damaged members.
pub fn check(history: &History) -> Verdict {
    let mut judge = Judge::new("damage");
    let mut refused = 0;
    for entry in history.entries.iter().filter(|entry| entry.process == Process::Nemesis && entry.f == CORRUPT) {
        let Ok(Fault::Begin(value)) = serde_json::from_value(entry.value.clone()) else { continue };
        let Ok(damage) = serde_json::from_value::<Damage>(value) else { continue };
        judge.checked(1);
        refused += usize::from(damage.ended);
        let Damage { member, file, damage, ended, answers, said } = damage;
        if ended && said.is_empty() {
            judge.wrong(format!("{member} ended after {damage} of {file}, and did not say why"), [entry.index]);
        } else if !ended && !answers {
            judge.wrong(format!("{member} neither served nor refused to after {damage} of {file}"), [entry.index]);
        }
    }
    judge.stat("refused", refused);
    judge.verdict()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::check::Validity;
    use crate::history::Recorder;

    fn judged(ended: bool, answers: bool, said: &str) -> Validity {
        let recorder = Recorder::default();
        let damage =
            Damage { member: "n1".into(), file: "raft/00000001.wal".into(), damage: "a flip".into(), ended, answers, said: said.into() };
        recorder.nemesis(CORRUPT, &Fault::Begin(serde_json::json!({})));
        recorder.nemesis(CORRUPT, &Fault::Begin(serde_json::to_value(damage).unwrap()));
        check(&recorder.history()).valid
    }

    #[test]
    fn who_serves_or_says_why_not_is_good_and_who_ends_in_silence_is_bad() {
        assert_eq!(judged(false, true, ""), Validity::Valid);
        assert_eq!(judged(true, false, "open raft: Corruption: block checksum mismatch"), Validity::Valid);
        assert_eq!(judged(true, false, ""), Validity::Invalid);
        assert_eq!(judged(false, false, ""), Validity::Invalid);
        assert_eq!(check(&Recorder::default().history()).valid, Validity::NothingToCheck);
    }

    #[test]
    fn the_reason_is_found_in_a_log() {
        assert_eq!(named("starts\nopen state-1: Corruption: bad block\nbye"), "open state-1: Corruption: bad block");
        assert_eq!(named("starts\nbye"), "");
    }
}
