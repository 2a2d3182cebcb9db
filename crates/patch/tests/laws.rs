//! Laws that hold for any sequence of writes.
#![allow(clippy::unwrap_used)]

mod apps;

use apps::{app, applied, created, leaks, updated};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tricorn_patch::{strategic_merge, track_update};

fn maybe(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    prop::option::of(value)
}

fn spec() -> impl Strategy<Value = Value> {
    let container = (
        "[a-c]",
        maybe("[x-z]".prop_map(Value::from)),
        prop::collection::btree_map("[m-n]", "[0-1]", 0..2),
        prop::collection::btree_set(80u32..83, 0..3),
    );
    let container = container.prop_map(|(name, image, limits, ports)| {
        let mut c = json!({"name": name});
        if let Some(image) = image {
            c["image"] = image;
        }
        if !limits.is_empty() {
            c["resources"] = json!({"limits": limits});
        }
        if !ports.is_empty() {
            c["ports"] = ports.into_iter().map(|p| json!({"port": p, "protocol": "TCP"})).collect();
        }
        c
    });
    let containers = prop::collection::vec(container, 0..4).prop_map(|mut list| {
        let mut seen = Vec::new();
        list.retain(|c| {
            let fresh = !seen.contains(&c["name"]);
            seen.push(c["name"].clone());
            fresh
        });
        Value::Array(list)
    });
    let args = prop::collection::vec("[a-b]", 0..3).prop_map(|a| json!(a));
    let strategy = prop_oneof![Just(json!({})), Just(json!({"type": "A"})), Just(json!({"type": "B", "rolling": {"surge": 1}}))];
    (maybe((0..3i64).prop_map(Value::from)), maybe(containers), maybe(args), maybe(strategy)).prop_map(
        |(replicas, containers, args, strategy)| {
            let mut spec = Map::new();
            for (name, value) in [("replicas", replicas), ("containers", containers), ("args", args), ("strategy", strategy)] {
                if let Some(value) = value {
                    spec.insert(name.into(), value);
                }
            }
            Value::Object(spec)
        },
    )
}

fn check_no_leaks(object: &Value) -> Result<(), TestCaseError> {
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let mut lost = Vec::new();
        leaks(&entry["fieldsV1"], object, "", &mut lost);
        prop_assert!(lost.is_empty(), "{} owns {lost:?} of {object}", entry["manager"]);
        prop_assert!(entry["fieldsV1"].as_object().is_some_and(|f| !f.is_empty()));
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Write {
    Apply(usize, Value, bool),
    Update(usize, Value),
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        (0..3usize, spec(), any::<bool>()).prop_map(|(m, s, f)| Write::Apply(m, s, f)),
        (0..3usize, spec()).prop_map(|(m, s)| Write::Update(m, s))
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ownership_never_leaks_and_what_is_applied_is_there(writes in prop::collection::vec(write(), 1..8)) {
        let mut live = created("first", 0, json!({"replicas": 1}));
        for (i, write) in writes.into_iter().enumerate() {
            let second = i as u32 + 1;
            match write {
                Write::Apply(manager, spec, force) => {
                    let manager = format!("applier{manager}");
                    match applied(Some(&live), &manager, second, spec.clone(), force) {
                        Err(status) => {
                            prop_assert!(!force, "{}", status.message());
                            prop_assert_eq!(status.code(), 409);
                        }
                        Ok(new) => {
                            // A second apply changes nothing, not even a time.
                            let again = applied(Some(&new), &manager, second + 100, spec.clone(), false).unwrap();
                            // (An object that nobody owns anything of is taken for one from before tracking.)
                            if new["metadata"].get("managedFields").is_some() {
                                prop_assert_eq!(&again, &new);
                            }
                            if let Some(replicas) = spec.get("replicas") {
                                prop_assert_eq!(&new["spec"]["replicas"], replicas);
                            }
                            live = new;
                        }
                    }
                }
                Write::Update(manager, spec) => {
                    let manager = format!("updater{manager}");
                    let new = updated(&live, &manager, second, |o| o["spec"] = spec);
                    let again = updated(&new, &manager, second + 100, |_| {});
                    prop_assert_eq!(&again, &new);
                    live = new;
                }
            }
            check_no_leaks(&live)?;
        }
    }

    #[test]
    fn an_applier_that_lets_go_of_everything_leaves_what_was_there(base in spec(), mine in spec()) {
        let live = applied(None, "base", 1, base, false).unwrap();
        if let Ok(with_mine) = applied(Some(&live), "me", 2, mine, false) {
            let without = applied(Some(&with_mine), "me", 3, json!({}), false).unwrap();
            // Empty lists and structs of mine may have gone into the base's; values may not have changed.
            let strip = |v: &Value| { let mut v = json!({"spec": v}); drop_empty(&mut v); sort_lists(&mut v); v };
            prop_assert_eq!(strip(&without["spec"]), strip(&live["spec"]));
        }
    }

    #[test]
    fn nothing_that_is_sent_makes_it_panic(a in any_json(), b in any_json()) {
        let _ = applied(Some(&a), "me", 1, b.clone(), true);
        let mut new = b.clone();
        let time = apps::at(1);
        track_update(app(), Some(&a), &mut new, &apps::writer("m", &time));
        let mut target = a.clone();
        let _ = strategic_merge(app(), &mut target, &b);
        let mut object = apps::object(b.clone());
        object["metadata"]["managedFields"] = a.clone();
        let _ = applied(Some(&object), "me", 1, b.clone(), true);
        let live = apps::object(a.clone());
        track_update(app(), Some(&live), &mut object, &apps::writer("m", &time));
        let _ = strategic_merge(app(), &mut object, &apps::object(b));
    }

    #[test]
    fn a_strategic_merge_is_done_after_once(a in spec(), b in spec()) {
        let mut target = apps::object(a);
        let patch = apps::object(b);
        strategic_merge(app(), &mut target, &patch).unwrap();
        let once = target.clone();
        strategic_merge(app(), &mut target, &patch).unwrap();
        prop_assert_eq!(target, once);
    }
}

fn drop_empty(value: &mut Value) -> bool {
    match value {
        Value::Object(object) => {
            object.retain(|_, v| !drop_empty(v));
            object.is_empty()
        }
        Value::Array(list) => {
            list.iter_mut().for_each(|v| {
                drop_empty(v);
            });
            list.is_empty()
        }
        other => other.is_null(),
    }
}

/// Another's elements between mine may have made mine change places; `args` is atomic and was not touched.
fn sort_lists(value: &mut Value) {
    match value {
        Value::Object(object) => object.iter_mut().filter(|(k, _)| *k != "args").for_each(|(_, v)| sort_lists(v)),
        Value::Array(list) => {
            list.iter_mut().for_each(sort_lists);
            list.sort_by_key(|v| v.to_string());
        }
        _ => {}
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("spec"),
        Just("metadata"),
        Just("containers"),
        Just("name"),
        Just("ports"),
        Just("port"),
        Just("labels"),
        Just("managedFields"),
        Just("fieldsV1"),
        Just("args"),
        Just("f:spec"),
        Just("k:{"),
        Just("k:{\"name\":1}"),
        Just("v:"),
        Just("."),
        Just("$patch"),
        Just("$retainKeys"),
        Just("$setElementOrder/containers"),
        Just("operation"),
        Just("apiVersion"),
        Just("fieldsType"),
        Just("finalizers"),
    ];
    let text = prop_oneof![Just("Apply"), Just("apps/v1"), Just("FieldsV1"), Just("delete"), Just("replace"), Just("merge"), Just("x")];
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..3i64).prop_map(Value::from), text.prop_map(Value::from)];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5)
                .prop_map(|kv| Value::Object(kv.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}
