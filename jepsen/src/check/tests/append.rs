use super::{Scene, invalid, valid};
use crate::check::append::{Micro, TXN, Txn, check};
use crate::check::{Validity, append};
use crate::history::{Entry, History, Phase, Process};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn a(key: &str, value: i64) -> Micro {
    Micro::Append(key.into(), value)
}

fn r(key: &str, values: &[i64]) -> Micro {
    Micro::Read(key.into(), Some(values.to_vec()))
}

fn asked(txn: &[Micro]) -> Txn {
    let ask = |micro: &Micro| if let Micro::Read(key, _) = micro { Micro::Read(key.clone(), None) } else { micro.clone() };
    Txn(txn.iter().map(ask).collect())
}

impl Scene {
    fn txn(&mut self, process: u64, txn: &[Micro]) -> &mut Self {
        self.call(process, TXN, asked(txn), Txn(txn.to_vec()))
    }

    /// Both begin before either ends.
    fn together(&mut self, one: &[Micro], other: &[Micro]) -> &mut Self {
        self.invoke(1, TXN, asked(one)).invoke(2, TXN, asked(other)).ok(1, TXN, Txn(one.to_vec())).ok(2, TXN, Txn(other.to_vec()))
    }
}

#[test]
fn its_shape_is_elles() {
    let text = r#"[["append","x",1],["r","y",null],["r","x",[1,2]]]"#;
    let txn: Txn = serde_json::from_str(text).unwrap();
    assert_eq!(txn.0, [a("x", 1), Micro::Read("y".into(), None), r("x", &[1, 2])]);
    assert_eq!(serde_json::to_string(&txn).unwrap(), text);
}

#[test]
fn one_after_the_other_is_good() {
    let mut scene = Scene::new();
    scene.txn(1, &[a("x", 1), r("y", &[])]).txn(2, &[r("x", &[1]), a("x", 2), r("x", &[1, 2])]).together(&[a("y", 1)], &[r("y", &[])]);
    scene.invoke(3, TXN, asked(&[a("x", 3)])).info(3, TXN).txn(1, &[r("x", &[1, 2, 3]), r("y", &[1])]);
    valid(&check(&scene.history()));
}

#[test]
fn writes_in_a_circle_are_g0() {
    let mut scene = Scene::new();
    scene.together(&[a("x", 1), a("y", 1)], &[a("x", 2), a("y", 2)]).txn(3, &[r("x", &[1, 2]), r("y", &[2, 1])]);
    invalid(&check(&scene.history()), "G0:");
}

#[test]
fn what_failed_and_what_was_half_done_must_not_be_read() {
    let mut failed = Scene::new();
    failed.invoke(1, TXN, asked(&[a("x", 1)])).fail(1, TXN).txn(2, &[r("x", &[1])]);
    invalid(&check(&failed.history()), "G1a:");
    let mut half = Scene::new();
    half.together(&[a("x", 1), a("x", 2)], &[r("x", &[1])]).txn(2, &[r("x", &[1, 2])]);
    invalid(&check(&half.history()), "G1b:");
}

#[test]
fn two_who_read_each_other_are_g1c() {
    let mut scene = Scene::new();
    scene.together(&[a("x", 1), r("y", &[1])], &[a("y", 1), r("x", &[1])]);
    invalid(&check(&scene.history()), "G1c:");
}

#[test]
fn a_lost_update_is_g_single_and_a_write_skew_g2() {
    let mut lost = Scene::new();
    lost.together(&[r("x", &[]), a("x", 1)], &[r("x", &[]), a("x", 2)]).txn(3, &[r("x", &[1, 2])]);
    invalid(&check(&lost.history()), "G-single:");
    let mut skew = Scene::new();
    skew.together(&[r("x", &[]), a("y", 1)], &[r("y", &[]), a("x", 1)]).txn(3, &[r("x", &[1]), r("y", &[1])]);
    invalid(&check(&skew.history()), "G2:");
}

#[test]
fn reads_of_the_past_are_found_by_time() {
    let mut stale = Scene::new();
    stale.txn(1, &[a("x", 1)]).txn(2, &[r("x", &[])]).txn(3, &[r("x", &[1])]);
    invalid(&check(&stale.history()), "realtime");
    let mut lost = Scene::new();
    lost.txn(1, &[a("x", 1)]).txn(2, &[r("x", &[])]);
    invalid(&check(&lost.history()), "realtime");
}

#[test]
fn lists_go_one_way() {
    let mut scene = Scene::new();
    scene.together(&[a("x", 1)], &[a("x", 2)]).together(&[r("x", &[1, 2])], &[r("x", &[2])]);
    invalid(&check(&scene.history()), "incompatible orders");
    let mut twice = Scene::new();
    twice.txn(1, &[a("x", 1)]).txn(1, &[r("x", &[1, 1])]);
    invalid(&check(&twice.history()), "duplicate");
    let mut strange = Scene::new();
    strange.txn(1, &[r("x", &[7])]);
    invalid(&check(&strange.history()), "unexpected");
    let mut own = Scene::new();
    own.txn(1, &[a("x", 1), r("x", &[])]);
    invalid(&check(&own.history()), "internal");
}

#[test]
fn a_transaction_reads_again_what_it_has_appended_since() {
    let mut scene = Scene::new();
    scene.txn(1, &[a("x", 1), r("x", &[1]), a("x", 2), r("x", &[1, 2])]);
    valid(&check(&scene.history()));
    let mut lost = Scene::new();
    lost.txn(1, &[a("x", 1), r("x", &[1]), a("x", 2), r("x", &[2])]);
    invalid(&check(&lost.history()), "internal");
}

/// A transaction: whose, on which keys and whether it appends, how long it takes before and after it happens.
type Spec = (u64, Vec<(u8, bool)>, u8, u8);

/// Transactions that a store does one after the other, while they overlap.
fn serial(spec: &[Spec]) -> History {
    let mut lists: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut events: Vec<(u64, u64, Phase, Txn)> = Vec::new();
    let mut free: BTreeMap<u64, u64> = BTreeMap::new();
    let mut value = 0;
    for (n, (client, steps, before, after)) in spec.iter().enumerate() {
        let at = 100 + n as u64 * 10;
        let begun = (at - u64::from(*before) * 10).max(free.get(client).copied().unwrap_or(0) + 1);
        if begun >= at {
            continue;
        }
        let mut done = Vec::new();
        for (key, append) in steps {
            let key = format!("k{key}");
            let list = lists.entry(key.clone()).or_default();
            if *append {
                value += 1;
                list.push(value);
                done.push(Micro::Append(key, value));
            } else {
                done.push(Micro::Read(key, Some(list.clone())));
            }
        }
        let ended = at + 5 + u64::from(*after) * 10;
        events.push((begun, *client, Phase::Invoke, asked(&done)));
        events.push((ended, *client, if n % 9 == 8 { Phase::Info } else { Phase::Ok }, Txn(done)));
        free.insert(*client, ended);
    }
    events.sort_by_key(|(time, ..)| *time);
    let entry = |(index, (time, client, phase, txn)): (usize, (u64, u64, Phase, Txn))| {
        let value = serde_json::to_value(txn).unwrap();
        Entry { index, time, process: Process::Client(client), node: None, phase, f: TXN.into(), value, error: None }
    };
    History { entries: events.into_iter().enumerate().map(entry).collect() }
}

fn specs(most: usize) -> impl Strategy<Value = Vec<Spec>> {
    prop::collection::vec((0u64..5, prop::collection::vec((0u8..3, any::<bool>()), 1..4), 0u8..6, 0u8..6), 1..most)
}

proptest! {
    #[test]
    fn what_is_done_one_after_the_other_is_good(spec in specs(60)) {
        let verdict = check(&serial(&spec));
        prop_assert!(matches!(verdict.valid, Validity::Valid | Validity::NothingToCheck), "{}", verdict);
    }

    /// Of one client, a read without something that was acknowledged before is always found.
    #[test]
    fn a_list_with_a_hole_is_bad(spec in specs(60), which in 0usize..1000) {
        let spec: Vec<_> = spec.into_iter().map(|(_, steps, ..)| (0, steps, 1, 0)).collect();
        let mut history = serial(&spec);
        let parsed = |entry: &Entry| (entry.phase == Phase::Ok).then(|| serde_json::from_value::<Txn>(entry.value.clone()).unwrap());
        let acknowledged: Vec<Micro> = history.entries.iter().filter_map(parsed).flat_map(|txn| txn.0).collect();
        let mut reads: Vec<(usize, Txn)> = history.entries.iter().filter_map(|entry| Some((entry.index, parsed(entry)?))).collect();
        if reads.is_empty() {
            return Ok(());
        }
        let place = which % reads.len();
        let (index, txn) = &mut reads[place];
        let first = |key: &String, values: &[i64]| values.first().is_some_and(|value| acknowledged.contains(&a(key, *value)));
        let Some(Micro::Read(_, Some(values))) = txn.0.iter_mut().find(|micro| matches!(micro, Micro::Read(key, Some(values)) if first(key, values))) else {
            return Ok(());
        };
        values.remove(0);
        history.entries[*index].value = serde_json::to_value(txn).unwrap();
        prop_assert_eq!(check(&history).valid, Validity::Invalid);
    }
}

#[test]
fn a_hundred_thousand_transactions_are_judged() {
    let spec: Vec<_> = (0..100_000u64)
        .map(|n| (n % 20, vec![((n % 251) as u8, n % 3 == 0), ((n * 7 % 251) as u8, n % 5 == 0)], (n % 3) as u8 + 1, (n % 4) as u8))
        .collect();
    let history = serial(&spec);
    valid(&append::check(&history));
}
