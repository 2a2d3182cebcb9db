//! Watches that say all, and watches that do not.

use super::kv::{all, delete, deleted, done, event, gone, kv, message, put};
use super::{Scene, invalid, valid};
use crate::check::watch::{check, check_with};
use crate::kv::{Event, Watch, WatchMessage};

/// a is written at 2 and 3, b at 4, a is deleted at 5.
fn scene() -> Scene {
    let mut scene = Scene::new();
    scene.kv(1, put("a", "1"), done(2)).kv(1, put("a", "2"), done(3)).kv(1, put("b", "1"), done(4)).kv(1, delete("a"), deleted(5, 1));
    scene
}

fn events() -> [Event; 4] {
    [event(kv("a", "1", 2, 2, 1)), event(kv("a", "2", 2, 3, 2)), event(kv("b", "1", 4, 4, 1)), gone("a", 5)]
}

fn told(watch: Watch, created_at: i64, messages: &[WatchMessage]) -> super::Verdict {
    let mut scene = scene();
    scene.watched(9, watch, created_at, messages);
    check(&scene.history())
}

#[test]
fn everything_in_order_is_good() {
    let [one, two, three, four] = events();
    let messages = [message(9, 3, &[one, two]), message(9, 3, &[]), message(9, 5, &[three, four]), message(9, 5, &[])];
    valid(&told(all(1), 5, &messages));
}

#[test]
fn a_watch_of_now_begins_with_what_comes_after() {
    let [_, two, three, four] = events();
    valid(&told(all(0), 2, &[message(9, 5, &[two.clone(), three.clone(), four.clone()])]));
    invalid(&told(all(0), 3, &[message(9, 5, &[two, three, four])]), "before it begins");
}

#[test]
fn what_is_left_out_is_missed() {
    let [one, two, three, four] = events();
    invalid(&told(all(1), 5, &[message(9, 5, &[one.clone(), three.clone(), four])]), "a at revision 3 was not told");
    invalid(&told(all(1), 5, &[message(9, 4, &[one.clone(), two.clone(), three]), message(9, 5, &[])]), "a at revision 5 was not told");
    invalid(&told(all(3), 5, &[message(9, 4, &[events()[2].clone()])]), "a at revision 3 was not told");
    let only_a = Watch { key: "a".into(), from: 1, ..Watch::default() };
    valid(&told(only_a, 5, &[message(9, 5, &[one, two, gone("a", 5)])]));
}

#[test]
fn order_and_singleness_are_asked_for() {
    let [one, two, three, four] = events();
    invalid(&told(all(1), 5, &[message(9, 5, &[two.clone(), one.clone(), three.clone(), four.clone()])]), "was told after revision 3");
    invalid(&told(all(1), 5, &[message(9, 5, &[one.clone(), one.clone(), two, three, four])]), "was told twice");
}

#[test]
fn a_revision_is_told_at_once() {
    let (one, two) = (event(kv("c", "1", 6, 6, 1)), event(kv("d", "1", 6, 6, 1)));
    valid(&told(all(6), 5, &[message(9, 6, &[one.clone(), two.clone()])]));
    invalid(&told(all(6), 5, &[message(9, 6, &[one]), message(9, 6, &[two])]), "told in two parts");
}

#[test]
fn what_was_before_is_what_was_before() {
    let watch = || Watch { prev_kv: true, ..all(3) };
    let was = |prev| {
        let [_, two, three, four] = events();
        [Event { prev: Some(prev), ..two }, three, Event { prev: Some(kv("a", "2", 2, 3, 2)), ..four }]
    };
    valid(&told(watch(), 5, &[message(9, 5, &was(kv("a", "1", 2, 2, 1)))]));
    invalid(&told(watch(), 5, &[message(9, 5, &was(kv("a", "0", 1, 1, 1)))]), "does not come before it");
    let [_, two, three, four] = events();
    invalid(&told(watch(), 5, &[message(9, 5, &[two, three, four])]), "does not say what was before");
}

#[test]
fn a_watch_that_began_too_early_is_told_so() {
    let compacted = |at| WatchMessage { time: 9, revision: 5, events: Vec::new(), compact_revision: at };
    valid(&told(all(2), 5, &[compacted(4)]));
    invalid(&told(all(4), 5, &[compacted(4)]), "4 was still there");
}

#[test]
fn the_two_who_were_told_different_things() {
    let mut scene = scene();
    scene.watched(9, all(1), 1, &[message(9, 3, &[event(kv("a", "1", 2, 2, 1)), event(kv("a", "2", 2, 3, 2))])]);
    scene.watched(8, all(1), 1, &[message(9, 3, &[event(kv("a", "1", 2, 2, 1)), event(kv("a", "3", 2, 3, 2))])]);
    invalid(&check(&scene.history()), "told in two ways");
}

#[test]
fn a_watch_that_fell_silent_is_found_where_a_bound_is_given() {
    let [one, two, ..] = events();
    let mut scene = scene();
    scene.invoke(9, "watch", all(1)).wait(60.0);
    let watched = crate::kv::Watched { created_at: 5, messages: vec![message(9, 3, &[one, two])], error: None };
    scene.ok(9, "watch", watched);
    valid(&check(&scene.history()));
    // Only what was seen to be there is asked for: the last answer was of revision 5.
    scene.entries.iter_mut().filter(|entry| entry.f == "watch").for_each(|entry| entry.time += 10);
    invalid(&check_with(&scene.history(), Some(20.0)), "b at revision 4 was not told");
}
