//! Leases of the Kubernetes API as client-go's leader election uses them: two never believe at once that they lead, and every change of
//! hands is counted.
//!
//! All who take part read the same clock, as the histories do, so that a holder who stops in time can be told from one who does not.

use super::{Judge, Verdict};
use crate::history::{Call, History, Malformed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Takes a lease that nobody holds any more. Its request is a [`Hold`], its answer a [`HeldAt`].
pub const TAKE: &str = "take";
/// Renews it. Its request is a [`Hold`], its answer a [`HeldAt`].
pub const RENEW: &str = "renew";
/// Gives it back. Its request is a [`Hold`], its answer a [`HeldAt`].
pub const YIELD: &str = "yield";

/// `{"lease": "a", "holder": "p1-7", "seconds": 2.0}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// The lease.
    pub lease: String,
    /// Who holds it; a name is used for one term.
    pub holder: String,
    /// For how long the holder believes that it leads, from when this was asked for, unless it is renewed; less than the lease lasts.
    pub seconds: f64,
}

/// `{"version": 12, "transitions": 3}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAt {
    /// The resourceVersion that was made.
    pub version: i64,
    /// How often the lease has changed hands.
    pub transitions: i64,
}

/// While somebody believed that it led.
#[derive(Debug, Clone)]
struct Term<'a> {
    holder: &'a str,
    from: u64,
    until: u64,
    taken: HeldAt,
    index: usize,
}

/// Judges the leases of a history.
pub fn check(history: &History) -> Verdict {
    judge(history).unwrap_or_else(|error| Verdict::malformed("holders", &error))
}

type Holding = Call<Hold, HeldAt>;

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut judge = Judge::new("holders");
    let takes: Vec<Holding> = history.calls(TAKE)?;
    let renewals: Vec<Holding> = history.calls(RENEW)?;
    let yields: Vec<Holding> = history.calls(YIELD)?;
    let mut leases: BTreeMap<&str, Vec<Term<'_>>> = BTreeMap::new();
    for take in &takes {
        let (Some(taken), Some(from), Some(index)) = (take.answer(), take.ended, take.returned) else { continue };
        judge.checked(1);
        let mine = |call: &&Holding| call.request.lease == take.request.lease && call.request.holder == take.request.holder;
        let believes = |call: &Holding| call.begun.saturating_add((call.request.seconds * 1e9) as u64);
        let renewed = renewals.iter().filter(mine).filter(|call| call.answer().is_some());
        let mut until = renewed.map(believes).fold(believes(take), u64::max);
        // Whoever gives it back leads no more from when it asks for that.
        if let Some(yielded) = yields.iter().filter(mine).map(|call| call.begun).min() {
            until = until.min(yielded);
        }
        let term = Term { holder: &take.request.holder, from, until, taken: *taken, index };
        leases.entry(&take.request.lease).or_default().push(term);
    }
    for (lease, terms) in &mut leases {
        check_alone(&mut judge, lease, terms);
        check_counted(&mut judge, lease, terms, &takes);
    }
    check_writes(&mut judge, [&takes, &renewals, &yields]);
    judge.stat("terms", leases.values().map(Vec::len).sum::<usize>());
    Ok(judge.verdict())
}

/// No two believe at once that they lead.
fn check_alone(judge: &mut Judge, lease: &str, terms: &mut [Term<'_>]) {
    terms.sort_by_key(|term| (term.from, term.until));
    for pair in terms.windows(2) {
        let [before, after] = pair else { continue };
        if after.from < before.until {
            let seconds = (before.until.min(after.until).saturating_sub(after.from)) as f64 / 1e9;
            let what = format!("{lease}: {} and {} both led, for {seconds:.3} s", before.holder, after.holder);
            judge.wrong(what, [before.index, after.index]);
        }
    }
}

/// Transitions are counted one by one; those that nobody knows of may be between.
fn check_counted(judge: &mut Judge, lease: &str, terms: &mut [Term<'_>], takes: &[Holding]) {
    terms.sort_by_key(|term| term.taken.version);
    let unknown = takes.iter().filter(|take| take.request.lease == lease && take.answer().is_none()).count();
    let unknown = i64::try_from(unknown).unwrap_or(i64::MAX);
    for pair in terms.windows(2) {
        let [before, after] = pair else { continue };
        let more = after.taken.transitions - before.taken.transitions;
        if more < 1 || more > 1 + unknown {
            let (one, other) = (before.taken.transitions, after.taken.transitions);
            let what = format!(
                "{lease} had changed hands {one} times when {} took it, and then {other} times for {}",
                before.holder, after.holder
            );
            judge.wrong(what, [before.index, after.index]);
        }
    }
}

/// One version is one write.
fn check_writes(judge: &mut Judge, kinds: [&Vec<Holding>; 3]) {
    let mut made: BTreeMap<(&str, i64), usize> = BTreeMap::new();
    for call in kinds.into_iter().flatten() {
        let (Some(held), Some(index)) = (call.answer(), call.returned) else { continue };
        if let Some(before) = made.insert((&call.request.lease, held.version), index) {
            judge.wrong(format!("{}: two writes made version {}", call.request.lease, held.version), [before, index]);
        }
    }
}
