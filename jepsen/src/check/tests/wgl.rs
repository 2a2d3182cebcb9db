use crate::check::wgl::{Model, Search, search};
use crate::history::{Call, Outcome, Process};
use proptest::prelude::*;

/// One register: write some, read what was written.
struct Register;

impl Model for Register {
    type State = i64;
    type Request = Option<i64>;
    type Answer = i64;

    fn step(&self, state: &i64, request: &Option<i64>, answer: Option<&i64>) -> Option<i64> {
        match (request, answer) {
            (Some(value), _) => Some(*value),
            (None, Some(read)) if read != state => None,
            (None, _) => Some(*state),
        }
    }
}

fn call(invoked: usize, returned: usize, request: Option<i64>, outcome: Outcome<i64>) -> Call<Option<i64>, i64> {
    let (begun, ended) = (invoked as u64, Some(returned as u64));
    Call { process: Process::Client(0), node: None, invoked, returned: Some(returned), begun, ended, request, outcome }
}

fn look(calls: &[Call<Option<i64>, i64>]) -> Search {
    search(&Register, 0, &calls.iter().collect::<Vec<_>>(), 1_000_000)
}

#[test]
fn calls_that_overlap_may_stand_in_either_order() {
    let calls = [call(0, 3, Some(1), Outcome::Ok(0)), call(1, 2, None, Outcome::Ok(0)), call(4, 5, None, Outcome::Ok(1))];
    assert_eq!(look(&calls), Search::Found(vec![1, 0, 2]));
}

#[test]
fn a_stale_read_is_found() {
    let calls = [call(0, 1, Some(1), Outcome::Ok(0)), call(2, 3, None, Outcome::Ok(0))];
    assert_eq!(look(&calls), Search::Impossible { stuck: 1, reached: 1 });
}

#[test]
fn what_nobody_knows_may_happen_late_or_never_but_once() {
    let unknown = |invoked| call(invoked, invoked + 1, Some(7), Outcome::Unknown("timed out".into()));
    let read = |at, value| call(at, at + 1, None, Outcome::Ok(value));
    let write = |at, value| call(at, at + 1, Some(value), Outcome::Ok(0));
    assert!(matches!(look(&[unknown(0), read(2, 0), read(4, 7)]), Search::Found(_)));
    assert!(matches!(look(&[unknown(0), read(2, 0), read(4, 0)]), Search::Found(_)));
    assert!(matches!(look(&[unknown(0), read(2, 7), write(4, 1), read(6, 7)]), Search::Impossible { .. }));
    assert!(matches!(look(&[read(2, 7), unknown(4)]), Search::Impossible { .. }));
}

#[test]
fn what_failed_did_not_happen() {
    let calls = [call(0, 1, Some(1), Outcome::Failed("no".into())), call(2, 3, None, Outcome::Ok(1))];
    assert!(matches!(look(&calls), Search::Impossible { .. }));
}

#[test]
fn a_search_that_takes_too_long_says_so() {
    let mut calls: Vec<_> = (0..30).map(|n| call(n, 1000 + n, Some(n as i64 + 1), Outcome::Ok(0))).collect();
    calls.push(call(2000, 2001, None, Outcome::Ok(99)));
    assert_eq!(search(&Register, 0, &calls.iter().collect::<Vec<_>>(), 10_000), Search::GaveUp);
}

/// All orders, tried one by one.
fn brute_force(calls: &[Call<Option<i64>, i64>], used: &mut Vec<bool>, state: i64) -> bool {
    let must = |n: usize| matches!(calls[n].outcome, Outcome::Ok(_));
    if (0..calls.len()).all(|n| used[n] || !must(n)) {
        return true;
    }
    let end = (0..calls.len()).filter(|n| !used[*n] && must(*n)).filter_map(|n| calls[n].returned).min().unwrap_or(usize::MAX);
    (0..calls.len()).any(|n| {
        if used[n] || calls[n].invoked > end || matches!(calls[n].outcome, Outcome::Failed(_)) {
            return false;
        }
        let Some(next) = Register.step(&state, &calls[n].request, calls[n].answer()) else { return false };
        used[n] = true;
        let found = brute_force(calls, used, next);
        used[n] = false;
        found
    })
}

proptest! {
    #[test]
    fn it_agrees_with_trying_every_order(spec in prop::collection::vec((0usize..20, 1usize..10, prop::option::of(0i64..3), 0i64..3, 0u8..8), 1..7)) {
        let calls: Vec<_> = spec.iter().enumerate().map(|(n, (begin, length, request, answer, end))| {
            let outcome = match end { 0 => Outcome::Unknown(String::new()), 1 => Outcome::Failed(String::new()), _ => Outcome::Ok(*answer) };
            // Every event has a place of its own.
            call(begin * 16 + n * 2, (begin + length) * 16 + n * 2 + 1, *request, outcome)
        }).collect();
        let possible = brute_force(&calls, &mut vec![false; calls.len()], 0);
        prop_assert_eq!(matches!(look(&calls), Search::Found(_)), possible);
    }
}
