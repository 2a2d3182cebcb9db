use super::{Scene, invalid, valid};
use crate::check::Validity;
use crate::check::register::{Answer, REGISTER, Request, check};
use crate::history::{Entry, History, Phase, Process};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn read(key: &str) -> Request {
    Request::Read(key.into())
}

fn write(key: &str, value: i64) -> Request {
    Request::Write(key.into(), value)
}

fn cas(key: &str, old: i64, new: i64) -> Request {
    Request::Cas(key.into(), old, new)
}

fn value(value: impl Into<Option<i64>>) -> Answer {
    Answer { value: value.into(), swapped: None }
}

#[test]
fn writes_swaps_and_reads_in_order_are_good() {
    let mut scene = Scene::new();
    scene.call(1, REGISTER, read("x"), value(None)).call(1, REGISTER, write("x", 1), value(None)).call(
        2,
        REGISTER,
        cas("x", 1, 2),
        value(None),
    );
    scene.call(3, REGISTER, cas("x", 1, 3), Answer { value: None, swapped: Some(false) });
    scene.call(1, REGISTER, read("x"), value(2)).call(1, REGISTER, read("y"), value(None));
    valid(&check(&scene.history()));
}

#[test]
fn a_lost_write_is_bad() {
    let mut scene = Scene::new();
    scene.call(1, REGISTER, write("x", 1), value(None)).call(1, REGISTER, write("x", 2), value(None)).call(
        2,
        REGISTER,
        read("x"),
        value(1),
    );
    invalid(&check(&scene.history()), "x: after 2 calls");
}

#[test]
fn two_swaps_of_one_value_are_bad() {
    let mut scene = Scene::new();
    scene.call(1, REGISTER, write("x", 1), value(None));
    scene.invoke(1, REGISTER, cas("x", 1, 2)).invoke(2, REGISTER, cas("x", 1, 3));
    scene.ok(1, REGISTER, value(None)).ok(2, REGISTER, value(None));
    invalid(&check(&scene.history()), "cannot have been answered");
}

#[test]
fn a_swap_refused_without_a_reason_is_bad() {
    let mut scene = Scene::new();
    scene.call(1, REGISTER, write("x", 1), value(None));
    scene.call(3, REGISTER, cas("x", 1, 3), Answer { value: None, swapped: Some(false) });
    invalid(&check(&scene.history()), "cannot have been answered");
}

#[test]
fn many_writes_with_unknown_ends_cost_little() {
    let mut scene = Scene::new();
    for n in 0..2000 {
        scene.invoke(n, REGISTER, write("x", n as i64)).info(n, REGISTER);
    }
    scene.call(5000, REGISTER, read("x"), value(77)).call(5000, REGISTER, read("x"), value(78));
    valid(&check(&scene.history()));
    scene.call(5000, REGISTER, read("x"), value(77));
    invalid(&check(&scene.history()), "x:");
}

/// Calls that a register does one after the other, while they overlap: (client, what, value, before, after).
fn run(spec: &[(u64, u8, i64, u64, u64)]) -> History {
    let mut holds: Option<i64> = None;
    let mut events: Vec<(u64, u64, Phase, serde_json::Value)> = Vec::new();
    let mut free: BTreeMap<u64, u64> = BTreeMap::new();
    for (n, (client, what, number, before, after)) in spec.iter().enumerate() {
        let at = 100 + n as u64 * 10;
        let begun = (at - before * 10).max(free.get(client).copied().unwrap_or(0) + 1);
        if begun >= at {
            continue;
        }
        let unique = n as i64;
        let (request, answer) = match what % 4 {
            0 => (write("x", unique), value(None)),
            1 => {
                let old = holds.filter(|_| number % 2 == 0).unwrap_or(*number);
                (cas("x", old, unique), Answer { value: None, swapped: Some(holds == Some(old)) })
            }
            _ => (read("x"), value(holds)),
        };
        let unknown = what / 4 == 0;
        // Of those whose end is unknown, every other one does not happen.
        if !unknown || number % 2 == 0 {
            match &request {
                Request::Write(_, new) => holds = Some(*new),
                Request::Cas(_, old, new) if holds == Some(*old) => holds = Some(*new),
                _ => {}
            }
        }
        let ended = at + 5 + after * 10;
        events.push((begun, *client, Phase::Invoke, serde_json::to_value(request).unwrap()));
        events.push((ended, *client, if unknown { Phase::Info } else { Phase::Ok }, serde_json::to_value(answer).unwrap()));
        free.insert(*client, ended);
    }
    events.sort_by_key(|(time, ..)| *time);
    let entry = |(index, (time, client, phase, value)): (usize, (u64, u64, Phase, serde_json::Value))| Entry {
        index,
        time,
        process: Process::Client(client),
        node: None,
        phase,
        f: REGISTER.into(),
        value,
        error: None,
    };
    History { entries: events.into_iter().enumerate().map(entry).collect() }
}

proptest! {
    #[test]
    fn what_a_register_does_is_good_and_what_nobody_wrote_is_bad(
        spec in prop::collection::vec((0u64..5, 0u8..40, 0i64..50, 0u64..6, 0u64..6), 1..60), which in 0usize..1000,
    ) {
        let mut history = run(&spec);
        prop_assert_ne!(check(&history).valid, Validity::Invalid);
        prop_assert_ne!(check(&history).valid, Validity::Unknown);
        let mut reads: Vec<&mut Entry> = history.entries.iter_mut().filter(|entry| entry.phase == Phase::Ok && entry.value["value"].is_i64()).collect();
        if !reads.is_empty() {
            let place = which % reads.len();
            reads[place].value = serde_json::json!({"value": 1000});
            prop_assert_eq!(check(&history).valid, Validity::Invalid);
        }
    }
}
