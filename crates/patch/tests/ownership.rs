//! Who owns which field after writes of all kinds.
#![allow(clippy::unwrap_used)]

mod apps;

use apps::{app, applied, at, created, fields, object, status_writer, updated, writer};
use serde_json::{Value, json};
use tricorn_patch::{apply, track_update};

#[test]
fn a_creator_owns_what_was_sent() {
    let app = created(
        "kubectl-create",
        1,
        json!({"replicas": 1, "selector": {"matchLabels": {"app": "a"}}, "strategy": {"type": "R", "rolling": {"surge": "25%"}},
            "containers": [{"name": "c", "image": "i", "resources": {}, "ports": [{"port": 80, "protocol": "TCP"}]}]}),
    );
    assert_eq!(
        app["metadata"]["managedFields"],
        json!([{"manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "time": at(1), "fieldsType": "FieldsV1", "fieldsV1": {
            "f:spec": {
                "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {},
                    "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}}}, "f:resources": {}}},
                "f:replicas": {}, "f:selector": {}, "f:strategy": {"f:rolling": {".": {}, "f:surge": {}}, "f:type": {}}}}}])
    );
}

#[test]
fn custom_resources_own_their_spec_as_such() {
    let mut new = object(json!({"replicas": 1}));
    let time = at(1);
    let custom = tricorn_patch::Writer { builtin: false, ..writer("m", &time) };
    track_update(app(), None, &mut new, &custom);
    assert_eq!(fields(&new, "m", "Update"), json!({"f:spec": {".": {}, "f:replicas": {}}}));
}

#[test]
fn a_changed_field_changes_hands() {
    let first = created("a", 1, json!({"replicas": 1, "paused": true}));
    let second = updated(&first, "b", 2, |o| o["spec"]["replicas"] = json!(2));
    assert_eq!(fields(&second, "a", "Update"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(fields(&second, "b", "Update"), json!({"f:spec": {"f:replicas": {}}}));
    let third = updated(&second, "c", 3, |o| {
        o["spec"].as_object_mut().unwrap().remove("paused");
    });
    assert_eq!(fields(&third, "a", "Update"), Value::Null, "an entry that owns nothing goes");
    assert_eq!(fields(&third, "c", "Update"), Value::Null, "removing is not owning");
}

#[test]
fn a_write_that_changes_nothing_changes_no_entry() {
    let first = created("a", 1, json!({"replicas": 1}));
    assert_eq!(updated(&first, "b", 2, |_| {}), first);
    let only_metadata = updated(&first, "b", 2, |o| o["metadata"]["resourceVersion"] = json!("7"));
    assert_eq!(only_metadata["metadata"]["managedFields"], first["metadata"]["managedFields"]);
}

#[test]
fn entries_that_are_sent_along() {
    let live = created("a", 1, json!({"replicas": 1}));
    let without = updated(&live, "a", 2, |o| {
        o["metadata"].as_object_mut().unwrap().remove("managedFields");
    });
    assert_eq!(without["metadata"]["managedFields"], live["metadata"]["managedFields"], "clients that know nothing of them keep them");
    let reset = updated(&live, "a", 2, |o| o["metadata"]["managedFields"] = json!([{}]));
    assert_eq!(reset["metadata"].get("managedFields"), None, "asked to forget");
    let garbage = updated(&live, "a", 2, |o| o["metadata"]["managedFields"] = json!([{"operation": "Jump"}]));
    assert_eq!(garbage["metadata"]["managedFields"], live["metadata"]["managedFields"]);
    let untracked = json!({"apiVersion": "apps/v1", "kind": "App", "metadata": {"uid": "u"}, "spec": {}});
    assert_eq!(updated(&untracked, "a", 2, |o| o["spec"]["replicas"] = json!(1))["metadata"].get("managedFields"), None);
}

#[test]
fn status_has_an_entry_of_its_own() {
    let live = created("a", 1, json!({"replicas": 1}));
    let mut new = live.clone();
    new["status"] = json!({"ready": 1, "conditions": [{"type": "Ok", "status": "True"}]});
    new["spec"]["replicas"] = json!(9);
    let time = at(2);
    track_update(app(), Some(&live), &mut new, &status_writer("a", &time));
    let entries = new["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(
        entries[1]["fieldsV1"],
        json!({"f:status": {"f:conditions": {".": {}, "k:{\"type\":\"Ok\"}": {".": {}, "f:status": {}, "f:type": {}}}, "f:ready": {}}})
    );
    assert_eq!(entries[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}), "the status subresource does not take the spec");
}

#[test]
fn the_oldest_updaters_are_folded_together() {
    let mut live = created("first", 0, json!({"replicas": 1}));
    for i in 0..15u32 {
        live = updated(&live, &format!("m{i}"), i + 1, |o| o["metadata"]["labels"][format!("l{i}")] = json!("x"));
    }
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[0]["manager"], "ancient-changes");
    let folded = entries[0]["fieldsV1"]["f:metadata"]["f:labels"].as_object().unwrap();
    assert!(folded.contains_key("f:l0") && folded.contains_key("f:l5") && !folded.contains_key("f:l6"), "{folded:?}");
    assert_eq!(entries[0]["fieldsV1"]["f:spec"], json!({"f:replicas": {}}));
}

#[test]
fn applies_that_conflict_say_with_whom() {
    let live = created("kubectl-client-side-apply", 1, json!({"replicas": 1}));
    let refused = applied(Some(&live), "me", 2, json!({"replicas": 2}), false).unwrap_err();
    assert_eq!(refused.code(), 409);
    assert_eq!(
        refused.message(),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    let cause = &refused.details().unwrap().causes[0];
    assert_eq!((cause.reason.as_str(), cause.field.as_str()), ("FieldManagerConflict", ".spec.replicas"));
    assert_eq!(cause.message, "conflict with \"kubectl-client-side-apply\" using apps/v1");

    let shared = applied(Some(&live), "me", 2, json!({"replicas": 1}), false).unwrap();
    assert_eq!(fields(&shared, "me", "Apply"), fields(&shared, "kubectl-client-side-apply", "Update"), "the same value is no conflict");

    let forced = applied(Some(&live), "me", 2, json!({"replicas": 2}), true).unwrap();
    assert_eq!((fields(&forced, "kubectl-client-side-apply", "Update"), &forced["spec"]["replicas"]), (Value::Null, &json!(2)));

    let other = applied(None, "one", 1, json!({"replicas": 1, "containers": [{"name": "c", "image": "i"}]}), false).unwrap();
    let refused = applied(Some(&other), "two", 2, json!({"replicas": 2, "containers": [{"name": "c", "image": "j"}]}), false).unwrap_err();
    assert_eq!(
        refused.message(),
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.replicas\n- .spec.containers[name=\"c\"].image"
    );
}

#[test]
fn what_is_no_longer_applied_goes_if_nobody_else_wants_it() {
    let first = applied(
        None,
        "me",
        1,
        json!({"replicas": 1, "paused": true, "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]}),
        false,
    )
    .unwrap();
    // Another applier holds one container too; the server has defaulted something in the other.
    let mut live =
        applied(Some(&first), "other", 2, json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}]}), false).unwrap();
    live["spec"]["containers"][1]["ports"] = json!([{"port": 1, "protocol": "TCP"}]);
    let second = applied(Some(&live), "me", 3, json!({"replicas": 1}), false).unwrap();
    assert_eq!(second["spec"], json!({"replicas": 1, "containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}]}));
    assert_eq!(fields(&second, "me", "Apply"), json!({"f:spec": {"f:replicas": {}}}));

    // A field in a container does not hold the container itself.
    let live = updated(&first, "other", 2, |o| o["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}}));
    let second = applied(Some(&live), "me", 3, json!({"replicas": 1}), false).unwrap();
    assert_eq!((&second["spec"], fields(&second, "other", "Update")), (&json!({"replicas": 1}), Value::Null));

    let shared = applied(Some(&first), "two", 2, json!({"paused": true}), false).unwrap();
    let kept = applied(Some(&shared), "me", 3, json!({"replicas": 1}), false).unwrap();
    assert_eq!(kept["spec"], json!({"replicas": 1, "paused": true}), "another applier holds it");
    let gone = applied(Some(&kept), "two", 4, json!({}), false).unwrap();
    assert_eq!(gone["spec"], json!({"replicas": 1}));
}

#[test]
fn lists_merge_by_their_type() {
    let one = applied(None, "one", 1, json!({"args": ["a"], "containers": [{"name": "a"}, {"name": "b"}]}), false).unwrap();
    let two =
        applied(Some(&one), "two", 2, json!({"containers": [{"name": "x"}, {"name": "b", "image": "i"}, {"name": "y"}]}), false).unwrap();
    let names: Vec<&Value> = two["spec"]["containers"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["a", "x", "b", "y"]);
    assert!(
        applied(Some(&two), "two", 3, json!({"args": ["b"]}), false).unwrap_err().message().ends_with("conflict with \"one\": .spec.args")
    );

    let mut config = object(json!({}));
    config.as_object_mut().unwrap().remove("spec");
    config["metadata"]["finalizers"] = json!(["x"]);
    let time = at(4);
    let three = apply(app(), Some(&two), &config, &writer("three", &time), false).unwrap();
    assert_eq!(fields(&three, "three", "Apply"), json!({"f:metadata": {"f:finalizers": {"v:\"x\"": {}}}}));
    config["metadata"]["finalizers"] = json!(["y"]);
    let four = apply(app(), Some(&three), &config, &writer("four", &time), false).unwrap();
    assert_eq!(four["metadata"]["finalizers"], json!(["x", "y"]));
}

#[test]
fn key_fields_may_be_left_to_their_defaults() {
    let live = created("m", 1, json!({"containers": [{"name": "c", "ports": [{"port": 80, "protocol": "TCP"}]}]}));
    let new =
        applied(Some(&live), "me", 2, json!({"containers": [{"name": "c", "ports": [{"port": 80, "name": "http"}]}]}), false).unwrap();
    assert_eq!(new["spec"]["containers"][0]["ports"], json!([{"port": 80, "protocol": "TCP", "name": "http"}]));
}

#[test]
fn configurations_that_cannot_be_applied() {
    let cases = [
        (json!({"replicas": "1"}), ".spec.replicas: expected numeric (int or float), got string"),
        (json!({"nope": 1}), ".spec.nope: field not declared in schema"),
        (json!({"containers": [{"name": "a"}, {"name": "a"}]}), ".spec.containers: duplicate entries for key [name=\"a\"]"),
        (
            json!({"containers": [{"image": "a"}]}),
            ".spec.containers: element 0: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)",
        ),
    ];
    for (spec, want) in cases {
        let refused = applied(None, "me", 1, spec, false).unwrap_err();
        assert_eq!(refused.message(), format!("failed to create typed patch object (n/a; apps/v1, Kind=App): {want}"));
    }
    let mut with_fields = object(json!({}));
    with_fields["metadata"]["managedFields"] = json!([]);
    let time = at(1);
    assert_eq!(apply(app(), None, &with_fields, &writer("me", &time), false).unwrap_err().message(), "metadata.managedFields must be nil");
    let mut other = object(json!({}));
    other["apiVersion"] = json!("apps/v2");
    assert!(
        apply(app(), None, &other, &writer("me", &time), false)
            .unwrap_err()
            .message()
            .contains("Specified patch version: apps/v2, expected: apps/v1")
    );
}

#[test]
fn null_takes_a_field_out() {
    let live = applied(None, "me", 1, json!({"replicas": 1, "paused": true}), false).unwrap();
    let new = applied(Some(&live), "me", 2, json!({"replicas": 1, "paused": null}), false).unwrap();
    assert_eq!(new["spec"], json!({"replicas": 1}));
}

#[test]
fn objects_from_before_tracking_have_an_owner_then() {
    let mut live = object(json!({"replicas": 1}));
    live["metadata"]["uid"] = json!("u");
    let refused = applied(Some(&live), "me", 2, json!({"replicas": 2}), false).unwrap_err();
    assert_eq!(refused.message(), "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: .spec.replicas");
    let new = applied(Some(&live), "me", 2, json!({"paused": true}), false).unwrap();
    assert_eq!(fields(&new, "before-first-apply", "Update"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn kubectl_takes_over_what_client_side_apply_set() {
    let last = object(json!({"replicas": 1})).to_string();
    let mut live = object(json!({"replicas": 1, "paused": true}));
    live["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    let time = at(1);
    track_update(app(), None, &mut live, &writer("kubectl-client-side-apply", &time));
    live["metadata"]["uid"] = json!("u");
    assert!(applied(Some(&live), "me", 2, json!({"replicas": 3}), false).is_err());
    let new = applied(Some(&live), "kubectl", 2, json!({"replicas": 3}), false).unwrap();
    assert_eq!(new["spec"]["replicas"], 3);
    let annotation = new["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap();
    let annotation: Value = serde_json::from_str(annotation).unwrap();
    assert_eq!(annotation["spec"], json!({"replicas": 3}), "the annotation keeps up");
    let refused = applied(Some(&live), "kubectl", 2, json!({"paused": false}), false).unwrap_err();
    assert!(refused.message().ends_with(".spec.paused"), "not set by client-side apply");
}

#[test]
fn times_move_only_with_changes() {
    let first = applied(None, "me", 1, json!({"replicas": 1}), false).unwrap();
    let same = applied(Some(&first), "me", 9, json!({"replicas": 1}), false).unwrap();
    assert_eq!(same, first);
    let more = applied(Some(&first), "me", 9, json!({"replicas": 1, "paused": true}), false).unwrap();
    assert_eq!(more["metadata"]["managedFields"][0]["time"], at(9));
    assert_eq!(first["metadata"]["managedFields"][0]["time"], at(1));
}
