//! Objects, informers, members, and who serves when.

use super::{Scene, invalid, valid};
use crate::check::available::{self, Bounds, HEAL};
use crate::check::hash::{self, HASH, HashOf, Hashed};
use crate::check::informer::{self, Cache, INFORMER, Informer, TRUTH, Truth};
use crate::check::object::{CREATE, Create, DELETE, Delete, Found, GET, UPDATE, Update, Written, check};
use crate::check::{Validity, Verdict};
use serde_json::json;

impl Scene {
    fn created(&mut self, by: &str, version: i64) -> &mut Self {
        self.call(1, CREATE, Create { name: "a".into(), by: by.into() }, Written { resource_version: version })
    }

    fn updated(&mut self, process: u64, from: i64, version: i64, value: i64) -> &mut Self {
        let update = Update { name: "a".into(), resource_version: from, value };
        self.call(process, UPDATE, update, Written { resource_version: version })
    }

    fn found(&mut self, process: u64, version: i64, value: i64) -> &mut Self {
        self.call(process, GET, Delete { name: "a".into() }, Found { resource_version: version, value })
    }

    fn cache(&mut self, informer: &str, revision: i64, objects: &[(&str, i64)], seen: &[(&str, i64)]) -> &mut Self {
        let own = |(key, version): &(&str, i64)| ((*key).to_owned(), *version);
        let cache = Cache { revision, objects: objects.iter().map(own).collect(), seen: seen.iter().map(own).collect() };
        self.call(5, INFORMER, Informer { informer: informer.into(), resource: "pods".into() }, cache)
    }

    fn truth(&mut self, revision: i64, objects: &[(&str, i64)]) -> &mut Self {
        let objects = objects.iter().map(|(key, version)| ((*key).to_owned(), *version)).collect();
        self.call(6, TRUTH, Truth { resource: "pods".into() }, Cache { revision, objects, seen: Vec::new() })
    }

    fn hashed(&mut self, member: &str, revision: i64, compact_revision: i64, hash: u32) -> &mut Self {
        self.call(7, HASH, HashOf { member: member.into() }, Hashed { revision, compact_revision, hash })
    }
}

#[test]
fn updates_that_follow_one_another_are_good() {
    let mut scene = Scene::new();
    scene.created("one", 2).updated(1, 2, 3, 7).updated(2, 3, 4, 8).invoke(
        3,
        UPDATE,
        json!({"name": "a", "resourceVersion": 3, "value": 9}),
    );
    scene.fail(3, UPDATE).found(1, 4, 8);
    valid(&check(&scene.history()));
}

#[test]
fn a_lost_update_is_bad() {
    let mut scene = Scene::new();
    scene.created("one", 2).updated(1, 2, 3, 7).updated(2, 2, 4, 8);
    invalid(&check(&scene.history()), "two updates of version 2 were both done");
}

#[test]
fn versions_and_values_are_what_was_written() {
    let mut value = Scene::new();
    value.created("one", 2).updated(1, 2, 3, 7).found(1, 3, 6);
    invalid(&check(&value.history()), "at version 3 holds 6, and 7 was there");
    let mut stale = Scene::new();
    stale.created("one", 2).updated(1, 2, 3, 7).found(2, 2, 0);
    invalid(&check(&stale.history()), "read at version 2, after 3 was known");
    let mut back = Scene::new();
    back.updated(1, 5, 4, 7);
    invalid(&check(&back.history()), "an update of version 5 made 4");
}

#[test]
fn a_name_is_made_once_a_life() {
    let mut scene = Scene::new();
    scene.created("one", 2).call(1, DELETE, Delete { name: "a".into() }, json!({})).created("two", 4);
    valid(&check(&scene.history()));
    scene.created("three", 5);
    invalid(&check(&scene.history()), "made by two and by three, and nobody deleted it");
}

#[test]
fn a_long_deletion_is_kept_for_the_life_it_can_end() {
    let mut scene = Scene::new();
    let name = || Delete { name: "a".into() };
    // The first deletion is begun first and ends last: it ends the second life, and the short one the first.
    scene.created("one", 2).invoke(2, DELETE, json!({"name": "a"}));
    scene.call(3, DELETE, name(), json!({})).created("two", 4).ok(2, DELETE, json!({})).created("three", 6);
    valid(&check(&scene.history()));
    scene.created("four", 7);
    invalid(&check(&scene.history()), "made by three and by four, and nobody deleted it");
}

#[test]
fn informers_end_with_the_truth() {
    let mut scene = Scene::new();
    scene.cache("one", 3, &[("a", 2), ("b", 3)], &[("a", 2), ("b", 3)]).truth(5, &[("a", 4)]);
    scene.cache("one", 5, &[("a", 4)], &[("a", 4), ("b", 5)]).cache("two", 5, &[("a", 4)], &[]);
    valid(&informer::check(&scene.history()));
    let mut missing = Scene::new();
    missing.truth(5, &[("a", 4), ("b", 5)]).cache("one", 4, &[("a", 4), ("c", 3)], &[]);
    let verdict = informer::check(&missing.history());
    invalid(&verdict, "not b");
    invalid(&verdict, "c, which is gone");
    let mut early = Scene::new();
    early.cache("one", 4, &[("a", 4)], &[]).truth(5, &[("a", 5)]);
    assert_eq!(informer::check(&early.history()).valid, Validity::Unknown);
}

#[test]
fn informers_go_one_way() {
    let mut scene = Scene::new();
    scene.cache("one", 4, &[("a", 4)], &[("a", 4), ("a", 3)]).truth(4, &[("a", 4)]);
    invalid(&informer::check(&scene.history()), "saw a at 3 after it saw it at 4");
}

#[test]
fn members_at_one_revision_have_one_hash() {
    let mut scene = Scene::new();
    scene.hashed("s1", 3, -1, 7).hashed("s2", 4, -1, 9).hashed("s1", 4, 0, 9).hashed("etcd", 4, -1, 9);
    valid(&hash::check(&scene.history()));
    scene.hashed("s3", 4, -1, 8);
    invalid(&hash::check(&scene.history()), "s3 has 00000008");
    let mut behind = Scene::new();
    behind.hashed("s1", 4, -1, 7).hashed("s2", 3, -1, 6);
    invalid(&hash::check(&behind.history()), "not at one revision");
    let mut silent = Scene::new();
    silent.hashed("s1", 4, -1, 7).invoke(7, HASH, HashOf { member: "s2".into() });
    assert_eq!(hash::check(&silent.history()).valid, Validity::Unknown);
}

fn healed(seconds: f64) -> Verdict {
    let mut scene = Scene::new();
    scene.on("s1").call(1, "add", json!({}), json!({})).nemesis(HEAL, json!({})).invoke(1, "add", json!({})).wait(seconds);
    scene.ok(1, "add", json!({}));
    available::check_with(&scene.history(), Bounds { after_heal_seconds: 10.0, majority_seconds: None })
}

#[test]
fn after_healing_all_serve_soon() {
    valid(&healed(1.0));
    invalid(&healed(11.0), "s1 served its first add 11.0 s after the heal");
}

/// Who was turned away once, before the member served anybody, does not show that it never served; who asks late is not answered late.
#[test]
fn who_asked_too_early_or_late_says_nothing() {
    let scene = |again: bool| {
        let mut scene = Scene::new();
        scene.on("s1").call(1, "add", json!({}), json!({})).nemesis(HEAL, json!({}));
        scene.invoke(1, "add", json!({})).failed(1, "add", "connection refused").wait(8.0).call(2, "read", json!({}), json!({}));
        if again {
            scene.invoke(1, "add", json!({})).failed(1, "add", "connection refused");
        }
        scene.wait(1.0).invoke(3, "hash", json!({})).wait(2.0).ok(3, "hash", json!({}));
        available::check_with(&scene.history(), Bounds { after_heal_seconds: 10.0, majority_seconds: None })
    };
    valid(&scene(false));
    invalid(&scene(true), "s1 served no add after the heal, asked 1 times");
}

#[test]
fn a_majority_serves_while_it_is_cut_off() {
    let cut = |seconds| {
        let mut scene = Scene::new();
        scene.nemesis("partition", json!({"begin": {"majority": ["s1", "s2"]}})).on("s1").invoke(1, "add", json!({})).wait(seconds);
        scene.ok(1, "add", json!({})).wait(20.0).nemesis("partition", json!({"end": {}}));
        available::check_with(&scene.history(), Bounds { after_heal_seconds: 10.0, majority_seconds: Some(5.0) })
    };
    valid(&cut(1.0));
    invalid(&cut(6.0), "s1 and s2 served nothing within 5 s of partition");
}

#[test]
fn a_refusal_for_a_reason_is_service_and_silence_is_none() {
    let end = |why: &str, seconds| {
        let mut scene = Scene::new();
        scene.on("s1").call(1, "create", json!({}), json!({})).nemesis(HEAL, json!({}));
        scene.invoke(1, "create", json!({})).failed(1, "create", why).wait(seconds).invoke(2, "watch", json!({}));
        available::check_with(&scene.history(), Bounds { after_heal_seconds: 10.0, majority_seconds: None })
    };
    valid(&end("pods \"a\" already exists", 11.0));
    invalid(&end("connection refused", 11.0), "s1 served no create after the heal");
    assert_eq!(end("connection refused", 1.0).valid, Validity::Unknown);
}
