//! Contents of members, and of etcd after the same writes.

use super::kv::kv;
use super::{Scene, invalid, valid};
use crate::check::Validity;
use crate::check::contents::{CONTENTS, Contents, Of, REPLAY, Replayed, check};
use crate::kv::KeyValue;
use serde_json::json;

impl Scene {
    fn holds(&mut self, member: &str, revision: i64, kvs: &[KeyValue]) -> &mut Self {
        self.call(7, CONTENTS, Of { member: member.into() }, Contents { revision, kvs: kvs.to_vec() })
    }
}

#[test]
fn members_that_hold_the_same_at_a_revision_are_good() {
    let mut scene = Scene::new();
    scene.holds("n1", 4, &[kv("a", "1", 2, 4, 2)]).holds("etcd", 4, &[kv("a", "1", 2, 4, 2)]).holds("n2", 5, &[]);
    scene.call(7, REPLAY, json!({}), Replayed { writes: 3, ..Replayed::default() });
    let verdict = check(&scene.history());
    valid(&verdict);
    assert_eq!(verdict.stats["replayed"], json!(3));
}

#[test]
fn a_key_that_differs_or_is_missing_is_named() {
    let mut scene = Scene::new();
    scene.holds("n1", 4, &[kv("a", "1", 2, 4, 2)]).holds("etcd", 4, &[kv("a", "1", 2, 4, 1)]);
    invalid(&check(&scene.history()), "at revision 4, a is");
    let mut missing = Scene::new();
    missing.holds("n1", 4, &[kv("a", "1", 2, 4, 2)]).holds("etcd", 4, &[]);
    invalid(&check(&missing.history()), "nothing for etcd");
    let mut order = Scene::new();
    let (a, b) = (kv("a", "1", 2, 2, 1), kv("b", "1", 3, 3, 1));
    order.holds("n1", 4, &[a.clone(), b.clone()]).holds("n2", 4, &[b, a]);
    invalid(&check(&order.history()), "another order");
}

#[test]
fn a_write_that_leads_elsewhere_is_bad_and_one_that_was_not_replayed_is_told() {
    let mut scene = Scene::new();
    scene.call(7, REPLAY, json!({}), Replayed { writes: 3, came_to: 4, expected: 5 });
    invalid(&check(&scene.history()), "etcd is at revision 4, not 5");
    let mut not = Scene::new();
    not.invoke(7, REPLAY, json!({})).failed(7, REPLAY, "there is no etcd");
    let verdict = check(&not.history());
    assert_eq!(verdict.valid, Validity::NothingToCheck);
    assert_eq!(verdict.stats["not-replayed"], json!("there is no etcd"));
}
