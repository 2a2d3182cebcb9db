//! HashKV: members that are at the same revision hold the same data.

use super::{Judge, Verdict};
use crate::history::History;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Asks a member for its hash. Its request is a [`HashOf`], its answer a [`Hashed`].
pub const HASH: &str = "hash";

/// `{"member": "s1"}`; another store to which the same writes were replayed is a member too, of any other name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HashOf {
    /// The member's name.
    pub member: String,
}

/// `{"revision": 40, "compact_revision": 12, "hash": 3735928559}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hashed {
    /// The revision up to which was hashed.
    pub revision: i64,
    /// The revision below which all was forgotten; -1 or 0 if nothing was.
    pub compact_revision: i64,
    /// The hash.
    pub hash: u32,
}

/// Judges the hashes of a history: those of the same revisions are the same, and in the end all members speak of the same revisions.
pub fn check(history: &History) -> Verdict {
    let mut judge = Judge::new("hash");
    let calls = match history.calls::<HashOf, Hashed>(HASH) {
        Ok(calls) => calls,
        Err(error) => return Verdict::malformed("hash", &error),
    };
    let mut known: HashMap<(i64, i64), (u32, &str, usize)> = HashMap::new();
    let mut last: BTreeMap<&str, (Hashed, usize)> = BTreeMap::new();
    let members: BTreeSet<&str> = calls.iter().map(|call| call.request.member.as_str()).collect();
    for call in &calls {
        let (Some(&hashed), Some(index)) = (call.answer(), call.returned) else { continue };
        judge.checked(1);
        let member = call.request.member.as_str();
        // Members that never compacted say so with -1 or with 0.
        let at = (hashed.revision, hashed.compact_revision.max(0));
        let (hash, other, before) = *known.entry(at).or_insert((hashed.hash, member, index));
        if hash != hashed.hash {
            judge.wrong(
                format!(
                    "at revision {}, compacted at {}, {other} has the hash {hash:08x} and {member} has {:08x}",
                    at.0, at.1, hashed.hash
                ),
                [before, index],
            );
        }
        last.insert(member, (hashed, index));
    }
    for member in members.iter().filter(|member| !last.contains_key(*member) && !last.is_empty()) {
        judge.unsure(format!("{member} never said its hash"), []);
    }
    let ends: BTreeSet<(i64, i64)> = last.values().map(|(hashed, _)| (hashed.revision, hashed.compact_revision.max(0))).collect();
    if ends.len() > 1 {
        let said: Vec<String> = last
            .iter()
            .map(|(member, (hashed, _))| format!("{member} at {} compacted at {}", hashed.revision, hashed.compact_revision))
            .collect();
        judge.wrong(format!("in the end the members are not at one revision: {}", said.join(", ")), last.values().map(|(_, index)| *index));
    }
    judge.stat("members", members.len());
    judge.verdict()
}
