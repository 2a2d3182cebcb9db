//! Keys and values: what etcd promises of reads, writes, transactions, leases and compaction, as strict serializability with revisions.
//!
//! The operation is `kv`, a [`Request`](crate::kv::Request) with an [`Answer`](crate::kv::Answer); watches are read as witnesses. Keys are
//! those that some `kv` call puts: they are absent in the beginning, and nobody else writes them.
//!
//! Revisions decide nearly everything. A write says the revision that it made, a read the one that it speaks of, so the history can be told
//! again in one pass and compared; and no revision may be lower than one that was seen before the call began. What remains are writes whose
//! end nobody knows and leases that ran out, which are given a place where something that was seen asks for one.

mod compare;
mod explain;
pub(crate) mod realtime;
mod replay;
mod search;
pub(crate) mod sightings;
pub(crate) mod store;
mod timeline;

pub use timeline::{Timeline, timeline};

use super::{Judge, Verdict};
use crate::history::{History, Outcome};
use crate::kv::{Answer, Request, Result};
use replay::Replay;
use search::Search;
use sightings::{Calls, Sightings};

/// What may be taken for granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Nobody but the `kv` calls of the history writes or compacts, and it begins with the store: every revision must have its writer. Not
    /// so where Kubernetes shares the store.
    pub alone: bool,
}

/// Judges the `kv` calls of a history in a store that others may write to.
pub fn check(history: &History) -> Verdict {
    check_with(history, Options::default())
}

/// Judges the `kv` calls of a history.
pub fn check_with(history: &History, options: Options) -> Verdict {
    let calls = match Calls::of(history) {
        Ok(calls) => calls,
        Err(error) => return Verdict::malformed("kv", &error),
    };
    let mut judge = Judge::new("kv");
    judge.checked(calls.kv.len());
    let sightings = Sightings::of(&calls);
    realtime::check(&mut judge, &calls, &sightings);
    realtime::check_window(&mut judge, &calls, &sightings, options);
    check_refused(&mut judge, &calls, &sightings);
    let (replay, collisions) = Replay::new(&calls, &sightings, options);
    for collision in collisions {
        let of = |place: usize| calls.kv[place].returned.unwrap_or(calls.kv[place].invoked);
        let indexes = [of(collision.calls.0), of(collision.calls.1)];
        judge.wrong(format!("two writes have revision {}", collision.revision), indexes);
    }
    let mut search = Search::new(replay);
    search.run();
    for unexplained in &search.unexplained {
        let conflict = &unexplained.conflict;
        if unexplained.certain {
            judge.wrong(conflict.what.clone(), conflict.indexes.clone());
        } else {
            judge.unsure(format!("{}; not everything that might explain it was tried", conflict.what), conflict.indexes.clone());
        }
    }
    if search.gave_up {
        judge.unsure(format!("the search went through {} revisions and gave up", search.replay.work), []);
    } else if options.alone && search.unexplained.is_empty() {
        check_gaps(&mut judge, &search);
    }
    judge.stat("writes", search.replay.steps.len());
    judge.stat("unknown", calls.kv.iter().filter(|call| matches!(call.outcome, Outcome::Unknown(_))).count());
    judge.stat("unknown-placed", search.placed());
    judge.stat("revisions-gone-through", search.replay.work);
    judge.verdict()
}

/// What was refused did not happen.
fn check_refused(judge: &mut Judge, calls: &Calls, sightings: &Sightings) {
    let seen = sightings.puts();
    let refused =
        |outcome: &Outcome<Answer>| matches!(outcome, Outcome::Failed(_) | Outcome::Ok(Answer { result: Result::Refused(_), .. }));
    let mut writers = std::collections::HashMap::new();
    let txns = || calls.kv.iter().filter_map(|call| if let Request::Txn(txn) = &call.request { Some((call, txn)) } else { None });
    for (call, txn) in txns().filter(|(call, _)| !refused(&call.outcome)) {
        store::puts(txn).for_each(|put| _ = writers.insert(put, call.invoked));
    }
    for (call, txn) in txns().filter(|(call, _)| refused(&call.outcome)) {
        if let Some((key, value)) = store::puts(txn).find(|put| seen.contains_key(put) && !writers.contains_key(put)) {
            judge.wrong(format!("{key}={value:?} was refused, and yet it was seen"), std::iter::once(call.invoked).chain(call.returned));
        }
    }
}

/// In a store of our own every revision has a writer, if only one whose end nobody knows. They are counted, not placed: with several such
/// writers a revision may pass that none of them can have made.
fn check_gaps(judge: &mut Judge, search: &Search<'_>) {
    let sightings = search.replay.sightings;
    let leases = search.replay.calls.iter().any(|call| matches!(call.request, Request::Grant { .. } | Request::Revoke { .. }));
    let mut floors: Vec<i64> = search.movable().map(|place| sightings.seen_before(search.replay.calls[place].begun).0).collect();
    floors.sort_unstable();
    let mut used = 0;
    for revision in 2..=sightings.highest() {
        if !search.may_be_elsewhere(revision) {
            continue;
        }
        if floors.get(used).is_some_and(|floor| *floor < revision) {
            used += 1;
        } else if !leases {
            judge.wrong(format!("nobody wrote at revision {revision}"), []);
        }
    }
}
