//! Sets, ids, locks, elections, fenced writers.

use super::{Scene, invalid, valid};
use crate::check::fenced::{self, ACT, Act};
use crate::check::ids::{self, ID};
use crate::check::lock::{self, ACQUIRE, Acquire, Acquired, GUARDED, Guarded, Held, OBSERVE, Observed, RELEASE, Released};
use crate::check::set::{self, ADD, Add, Elements, READ, Read};
use crate::check::{Validity, Verdict};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

impl Scene {
    fn add(&mut self, process: u64, value: i64) -> &mut Self {
        self.call(process, ADD, Add { value }, json!({}))
    }

    fn elements(&mut self, process: u64, values: &[i64]) -> &mut Self {
        self.call(process, READ, Read::default(), Elements { values: values.to_vec() })
    }

    fn acquired(&mut self, process: u64, token: i64, revision: i64) -> &mut Self {
        self.call(process, ACQUIRE, Acquire { lock: "a".into(), ..Acquire::default() }, Acquired { token, revision })
    }

    fn guarded(&mut self, process: u64, token: i64, revision: i64, succeeded: bool) -> &mut Self {
        self.call(process, GUARDED, Held { lock: "a".into(), token }, Guarded { revision, succeeded })
    }

    fn released(&mut self, process: u64, token: i64, revision: i64) -> &mut Self {
        self.call(process, RELEASE, Held { lock: "a".into(), token }, Released { revision })
    }

    fn observed(&mut self, process: u64, token: i64, revision: i64) -> &mut Self {
        self.call(process, OBSERVE, Acquire { lock: "a".into(), ..Acquire::default() }, Observed { token, revision })
    }

    fn acted(&mut self, term: i64, revision: i64) -> &mut Self {
        self.call(term as u64, ACT, json!(null), Act { term, object: "x".into(), revision })
    }
}

#[test]
fn a_set_that_keeps_everything_is_good() {
    let mut scene = Scene::new();
    scene.add(1, 1).invoke(2, ADD, Add { value: 2 }).elements(1, &[1]).elements(3, &[2, 1]).ok(2, ADD, json!({}));
    scene.invoke(4, ADD, Add { value: 3 }).info(4, ADD).elements(1, &[1, 2]).elements(1, &[1, 2, 3]);
    valid(&set::check(&scene.history()));
}

#[test]
fn a_set_that_loses_or_invents_is_bad() {
    let mut lost = Scene::new();
    lost.add(1, 1).add(1, 2).elements(1, &[2]);
    invalid(&set::check(&lost.history()), "1 is lost");
    let mut stale = Scene::new();
    stale.add(1, 1).elements(1, &[]).elements(1, &[1]);
    invalid(&set::check(&stale.history()), "missed by a read");
    let mut seen = Scene::new();
    seen.invoke(1, ADD, Add { value: 1 }).elements(2, &[1]).elements(2, &[]);
    invalid(&set::check(&seen.history()), "1 is lost");
    let mut twice = Scene::new();
    twice.add(1, 1).elements(1, &[1, 1]);
    invalid(&set::check(&twice.history()), "more than once");
    let mut strange = Scene::new();
    strange.add(1, 1).elements(1, &[1, 9]);
    invalid(&set::check(&strange.history()), "nobody added it");
    let mut failed = Scene::new();
    failed.invoke(1, ADD, Add { value: 1 }).fail(1, ADD).elements(1, &[1]);
    invalid(&set::check(&failed.history()), "though it was refused");
}

#[test]
fn a_read_that_may_be_stale_may_miss() {
    let mut scene = Scene::new();
    scene.add(1, 1).call(1, READ, Read { serializable: true }, Elements::default()).elements(1, &[1]);
    valid(&set::check(&scene.history()));
}

#[test]
fn ids_are_given_once() {
    let mut scene = Scene::new();
    scene.call(1, ID, json!({}), json!({"id": 1})).call(2, ID, json!({}), json!({"id": "1"})).call(2, ID, json!(null), json!({"id": 2}));
    valid(&ids::check(&scene.history()));
    scene.call(1, ID, json!({}), json!({"id": 2}));
    invalid(&ids::check(&scene.history()), "the id 2 was given twice");
}

#[test]
fn a_lock_whose_old_holder_is_refused_is_good() {
    let mut scene = Scene::new();
    scene.acquired(1, 10, 10).guarded(1, 10, 11, true);
    // The first holder sleeps, its lease runs out, and the second one is let in.
    scene.acquired(2, 12, 14).guarded(2, 12, 15, true).guarded(1, 10, 15, false).released(2, 12, 16).acquired(1, 17, 17);
    valid(&lock::check(&scene.history()));
}

#[test]
fn an_old_holder_that_still_writes_is_bad() {
    let mut scene = Scene::new();
    scene.acquired(1, 10, 10).acquired(2, 12, 14).guarded(2, 12, 15, true).guarded(1, 10, 16, true);
    let verdict = lock::check(&scene.history());
    invalid(&verdict, "10 wrote at revision 16, though it was over at 14");
    invalid(&verdict, "10 wrote at revision 16, after 12");
    let mut released = Scene::new();
    released.acquired(1, 10, 0).released(1, 10, 0).guarded(1, 10, 12, true);
    invalid(&lock::check(&released.history()), "after it was known to be over");
}

#[test]
fn tokens_rise() {
    let mut back = Scene::new();
    back.acquired(1, 12, 12).acquired(2, 10, 13);
    invalid(&lock::check(&back.history()), "the token 10 was given to somebody who asked after 12");
    let mut twice = Scene::new();
    twice.acquired(1, 10, 10).acquired(2, 10, 11);
    invalid(&lock::check(&twice.history()), "given twice");
}

#[test]
fn leaders_are_seen_in_order() {
    let mut scene = Scene::new();
    scene.observed(1, 10, 10).observed(2, 0, 11).observed(2, 12, 13).observed(1, 12, 14);
    valid(&lock::check(&scene.history()));
    scene.observed(1, 10, 0);
    invalid(&lock::check(&scene.history()), "saw 10 lead after 12");
    let mut other = Scene::new();
    other.observed(1, 12, 13).observed(2, 10, 15);
    invalid(&lock::check(&other.history()), "10 led at revision 15, and 12 at 13");
}

#[test]
fn one_term_after_the_other_acts() {
    let mut scene = Scene::new();
    scene.acted(1, 5).acted(2, 8).acted(1, 7).acted(2, 9);
    valid(&fenced::check(&scene.history()));
    scene.acted(1, 10);
    invalid(&fenced::check(&scene.history()), "term 1 wrote x at revision 10, after term 2");
}

proptest! {
    /// Elements are added and read by clients that overlap; one that is taken out of the last read, when it was known before, is missed.
    #[test]
    fn a_set_that_works_is_good_and_one_that_forgets_is_bad(steps in prop::collection::vec((0u64..4, any::<bool>(), 0u8..10), 1..60), which in 0usize..100) {
        let mut scene = Scene::new();
        let mut open: BTreeMap<u64, Option<Elements>> = BTreeMap::new();
        let mut held: Vec<i64> = Vec::new();
        for (n, (client, adds, end)) in steps.iter().enumerate() {
            match open.remove(client) {
                Some(Some(elements)) => _ = scene.ok(*client, READ, elements),
                Some(None) if *end == 0 => _ = scene.info(*client, ADD),
                Some(None) => _ = scene.ok(*client, ADD, json!({})),
                None => {}
            }
            // Everything takes effect when it is asked for, and ends when its client goes on.
            if *adds {
                held.push(n as i64);
                scene.invoke(*client, ADD, Add { value: n as i64 });
                open.insert(*client, None);
            } else {
                scene.invoke(*client, READ, Read::default());
                open.insert(*client, Some(Elements { values: held.clone() }));
            }
        }
        valid_or_nothing(&set::check(&scene.history()));
        scene.elements(8, &held);
        valid_or_nothing(&set::check(&scene.history()));
        if !held.is_empty() {
            held.remove(which % held.len());
            scene.elements(8, &held);
            prop_assert_eq!(set::check(&scene.history()).valid, Validity::Invalid);
        }
    }
}

fn valid_or_nothing(verdict: &Verdict) {
    assert!(matches!(verdict.valid, Validity::Valid | Validity::NothingToCheck), "{verdict}");
}
