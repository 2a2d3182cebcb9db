//! Time: what was over before something began comes before it.

use super::Options;
use super::sightings::{Calls, KvCall, Sightings};
use super::store::changed;
use crate::check::Judge;
use crate::history::Outcome;
use crate::kv::{Answer, Range, Request, Result};

/// Whether an answer may be from the past: the member said what it knew. A renewal is answered with the revision of whoever passes it on.
pub(crate) fn may_be_stale(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.serializable,
        Request::Txn(txn) => {
            let mut ops = txn.then.iter().chain(&txn.otherwise).peekable();
            ops.peek().is_some() && ops.all(|op| matches!(op, crate::kv::Op::Range(Range { serializable: true, .. })))
        }
        Request::KeepAlive { .. } | Request::Defragment => true,
        Request::Grant { .. } | Request::Revoke { .. } | Request::Compact { .. } => false,
    }
}

/// Revisions never go back: whoever asks after somebody has seen a revision is answered at that one or a later one, and a write is later.
pub(super) fn check(judge: &mut Judge, calls: &Calls, sightings: &Sightings) {
    for call in &calls.kv {
        let Some(Answer { revision, result }) = call.answer() else { continue };
        if may_be_stale(&call.request) || *revision == 0 || matches!(result, Result::Refused(_)) {
            continue;
        }
        let (seen, by) = sightings.seen_before(call.begun);
        let wrote = matches!(result, Result::Txn { results, .. } if changed(results));
        let what = if wrote { "a write" } else { "an answer" };
        if *revision < seen || (wrote && *revision == seen) {
            judge.wrong(
                format!("{what} has revision {revision}, though revision {seen} had been seen before it was asked for"),
                by.into_iter().chain([call.invoked]).chain(call.returned),
            );
        }
    }
}

struct Compaction {
    revision: i64,
    begun: u64,
    ended: Option<u64>,
}

fn compactions(calls: &[KvCall]) -> Vec<Compaction> {
    let of = |call: &KvCall| match (&call.request, &call.outcome) {
        (_, Outcome::Failed(_)) | (_, Outcome::Ok(Answer { result: Result::Refused(_), .. })) => None,
        (Request::Compact { revision }, outcome) => {
            let ended = call.ended.filter(|_| matches!(outcome, Outcome::Ok(_)));
            Some(Compaction { revision: *revision, begun: call.begun, ended })
        }
        _ => None,
    };
    calls.iter().filter_map(of).collect()
}

/// What is before a compacted revision cannot be read any more, all else can; and so for what is still to come.
pub(super) fn check_window(judge: &mut Judge, calls: &Calls, sightings: &Sightings, options: Options) {
    let compactions = compactions(&calls.kv);
    for call in &calls.kv {
        let (Some(answer), Some(ended)) = (call.answer(), call.ended) else { continue };
        let at = match &call.request {
            Request::Range(range) if range.revision > 0 => range.revision,
            Request::Compact { revision } => *revision,
            _ => continue,
        };
        let mut wrong = |what: String| judge.wrong(what, std::iter::once(call.invoked).chain(call.returned));
        match &answer.result {
            Result::Refused(why) if why.contains("compacted") => {
                let possible = |compaction: &Compaction| {
                    compaction.begun < ended && (compaction.revision > at || (is_compact(&call.request) && compaction.revision >= at))
                };
                if options.alone && !compactions.iter().any(possible) {
                    wrong(format!("revision {at} was refused as compacted, though nobody compacted past it"));
                }
            }
            Result::Refused(why) if why.contains("future revision") => {
                let (seen, _) = sightings.seen_before(call.begun);
                if !may_be_stale(&call.request) && seen >= at {
                    wrong(format!("revision {at} was refused as still to come, though revision {seen} had been seen before"));
                }
            }
            Result::Refused(_) => {}
            _ if answer.revision > 0 && at > answer.revision => {
                wrong(format!("revision {at} was answered at revision {}, before it was there", answer.revision));
            }
            _ => {
                let before =
                    |compaction: &&Compaction| compaction.ended.is_some_and(|ended| ended < call.begun) && compaction.revision > at;
                if let Some(compaction) = compactions.iter().find(before).filter(|_| !may_be_stale(&call.request)) {
                    wrong(format!("revision {at} was answered after all before {} had been compacted", compaction.revision));
                }
            }
        }
    }
}

fn is_compact(request: &Request) -> bool {
    matches!(request, Request::Compact { .. })
}
