//! Leases that change hands.

use super::{Scene, invalid, valid};
use crate::check::holders::{HeldAt, Hold, RENEW, TAKE, YIELD, check};

fn hold(holder: &str) -> Hold {
    Hold { lease: "a".into(), holder: holder.into(), seconds: 2.0 }
}

impl Scene {
    fn held(&mut self, f: &str, holder: &str, version: i64, transitions: i64) -> &mut Self {
        self.call(1, f, hold(holder), HeldAt { version, transitions })
    }
}

#[test]
fn hands_that_change_in_time_are_good() {
    let mut scene = Scene::new();
    scene.held(TAKE, "one", 2, 1).wait(1.0).held(RENEW, "one", 3, 1).wait(3.0).held(TAKE, "two", 4, 2).held(YIELD, "two", 5, 2);
    scene.held(TAKE, "three", 6, 3);
    valid(&check(&scene.history()));
    // A renewal that failed prolongs nothing.
    let mut failed = Scene::new();
    failed.held(TAKE, "one", 2, 1).wait(1.5).invoke(1, RENEW, hold("one")).fail(1, RENEW).wait(1.0).held(TAKE, "two", 3, 2);
    valid(&check(&failed.history()));
}

#[test]
fn two_who_lead_at_once_are_bad() {
    let mut scene = Scene::new();
    scene.held(TAKE, "one", 2, 1).wait(1.0).held(RENEW, "one", 3, 1).wait(1.5).held(TAKE, "two", 4, 2);
    invalid(&check(&scene.history()), "one and two both led");
}

#[test]
fn a_change_that_is_not_counted_is_bad() {
    let mut lost = Scene::new();
    lost.held(TAKE, "one", 2, 1).wait(3.0).held(TAKE, "two", 3, 1);
    invalid(&check(&lost.history()), "had changed hands 1 times");
    let mut many = Scene::new();
    many.held(TAKE, "one", 2, 1).wait(3.0).held(TAKE, "two", 3, 3);
    invalid(&check(&many.history()), "then 3 times for two");
    // One of which nobody knows may be between them.
    many.invoke(2, TAKE, hold("who knows")).info(2, TAKE);
    valid(&check(&many.history()));
}

#[test]
fn a_version_is_made_once() {
    let mut scene = Scene::new();
    scene.held(TAKE, "one", 2, 1).held(RENEW, "one", 2, 1);
    invalid(&check(&scene.history()), "two writes made version 2");
}
