//! A patch of the largest size that the server takes is a matter of seconds at worst, whatever is in it: nothing is quadratic.
#![allow(clippy::unwrap_used)]

mod apps;

use std::time::{Duration, Instant};

use apps::{app, applied, at, created, object, updated, writer};
use serde_json::{Value, json};
use tricorn_patch::{strategic_merge, track_update};
use tricorn_schema::Definitions;

const ITEMS: usize = 50_000;
const LIMIT: Duration = Duration::from_secs(120);

fn containers(from: usize, image: &str) -> Value {
    // Against the order of their names, which is the worst for a sorted list.
    (from..from + ITEMS).rev().map(|i| json!({"name": i.to_string(), "image": image})).collect()
}

#[test]
fn writes_of_large_lists() {
    let start = Instant::now();
    let live = created("a", 1, json!({"containers": containers(0, "x")}));
    let live = updated(&live, "b", 2, |o| o["spec"]["containers"] = containers(ITEMS / 2, "y"));
    let other = applied(Some(&live), "me", 3, json!({"containers": containers(ITEMS, "z")}), true).unwrap();
    assert_eq!(other["spec"]["containers"].as_array().unwrap().len(), ITEMS + ITEMS / 2);
    let mut replaced = object(json!({"containers": []}));
    let time = at(4);
    track_update(app(), Some(&other), &mut replaced, &writer("c", &time));
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
}

#[test]
fn strategic_merges_of_large_lists() {
    let definitions = Definitions::from_openapi(&json!({"definitions": {"T": {"type": "object", "properties": {
        "words": {"type": "array", "items": {"type": "string"}, "x-kubernetes-patch-strategy": "merge"},
        "items": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "image": {"type": "string"}}}}}}}}));
    let node = definitions.node("T").unwrap();
    let words = |from: usize| (from..from + ITEMS).map(|i| json!(i.to_string())).collect::<Value>();
    let mut target = json!({"items": containers(0, "x"), "words": words(0)});
    let patch = json!({"items": containers(ITEMS / 2, "y"), "$setElementOrder/items": containers(ITEMS / 2, ""), "words": words(ITEMS / 2),
        "$deleteFromPrimitiveList/words": words(0), "$setElementOrder/words": words(ITEMS / 2)});
    let start = Instant::now();
    strategic_merge(node, &mut target, &patch).unwrap();
    assert_eq!(target["items"].as_array().unwrap().len(), ITEMS + ITEMS / 2);
    assert_eq!(target["words"].as_array().unwrap().len(), ITEMS);
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
}
