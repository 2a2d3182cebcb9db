//! The two patches that know nothing of kinds.

use serde_json::{Map, Value};
use tricorn_meta::{Reason, Status};

/// Operations that one JSON patch may have; a longer one is refused with 413.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

/// Applies a JSON patch (RFC 6902). On an error `target` is as it was.
///
/// A patch that is not well-formed is a 400; one that does not fit the object (a failed test, a missing path) a 422.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<(), Status> {
    let operations =
        patch.as_array().ok_or_else(|| Status::bad_request("error decoding patch: a JSON patch must be an array of operations"))?;
    if operations.len() > MAX_JSON_PATCH_OPERATIONS {
        let message = format!("The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {}", operations.len());
        return Err(Status::too_large(message));
    }
    let patch: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    let mut changed = target.clone();
    for (number, operation) in patch.0.iter().enumerate() {
        if finds_nothing(&changed, operation) {
            continue;
        }
        json_patch::patch_unsafe(&mut changed, std::slice::from_ref(operation)).map_err(|mut error| {
            error.operation = number;
            rejected(&error.to_string())
        })?;
    }
    *target = changed;
    Ok(())
}

/// Whether this tests that a member is null which is not there. The RFC has it fail; upstream's library takes it for true, and clients
/// (kube-rs before it adds the first finalizer) count on that.
fn finds_nothing(document: &Value, operation: &json_patch::PatchOperation) -> bool {
    let json_patch::PatchOperation::Test(test) = operation else { return false };
    let object = test.path.parent().and_then(|parent| document.pointer(parent.as_str()));
    test.value.is_null() && object.is_some_and(Value::is_object) && document.pointer(test.path.as_str()).is_none()
}

/// What the server says of a patch that is well-formed but does not fit; clients match on the text, the cause is ours.
fn rejected(why: &str) -> Status {
    let cause = tricorn_meta::StatusCause { reason: "UnexpectedServerResponse".into(), message: why.into(), field: String::new() };
    let details = tricorn_meta::StatusDetails { causes: vec![cause], ..Default::default() };
    Status::custom(422, Reason::Invalid, "the server rejected our request due to an error in our request", Some(details))
}

/// Applies a JSON merge patch (RFC 7396) to an object.
pub fn merge_patch(target: &mut Value, patch: &Value) -> Result<(), Status> {
    let patch = patch.as_object().ok_or_else(|| Status::bad_request("error decoding patch: a merge patch must be an object"))?;
    merge_object(target, patch);
    Ok(())
}

fn merge_object(target: &mut Value, patch: &Map<String, Value>) {
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (name, value) in patch {
        match value {
            Value::Null => {
                object.shift_remove(name);
            }
            Value::Object(below) => merge_object(object.entry(name.as_str()).or_insert(Value::Null), below),
            other => {
                object.insert(name.clone(), other.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn merge_patch_as_in_the_rfc() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": [1]}), json!({"a": [2, 3]}), json!({"a": [2, 3]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": null, "d": {"e": null, "f": 1}}}), json!({"a": {"d": {"f": 1}}})),
            (json!({"a": 1}), json!({"a": {"b": 2}}), json!({"a": {"b": 2}})),
        ];
        for (mut target, patch, want) in cases {
            merge_patch(&mut target, &patch).unwrap();
            assert_eq!(target, want);
        }
        assert_eq!(merge_patch(&mut json!({}), &json!([])).unwrap_err().code(), 400);
    }

    #[test]
    fn json_patch_refusals() {
        let original = json!({"a": 1});
        let cases = [
            (json!({"op": "add"}), 400),
            (json!([{"op": "jump", "path": "/a"}]), 400),
            (json!([{"op": "test", "path": "/a", "value": 2}]), 422),
            (json!([{"op": "add", "path": "/b", "value": 2}, {"op": "remove", "path": "/nope"}]), 422),
            (json!([{"op": "test", "path": "/b", "value": 2}]), 422),
            (json!([{"op": "test", "path": "/b/c", "value": null}]), 422),
            (json!([{"op": "test", "path": "/a/b", "value": null}]), 422),
            (Value::Array(vec![json!({"op": "test", "path": "/a", "value": 1}); MAX_JSON_PATCH_OPERATIONS + 1]), 413),
        ];
        for (patch, code) in cases {
            let mut target = original.clone();
            assert_eq!(json_patch(&mut target, &patch).unwrap_err().code(), code);
            assert_eq!(target, original);
        }
        let mut target = original;
        json_patch(&mut target, &json!([{"op": "add", "path": "/l", "value": []}, {"op": "add", "path": "/l/-", "value": "x"}])).unwrap();
        assert_eq!(target, json!({"a": 1, "l": ["x"]}));
    }

    #[test]
    fn what_is_not_there_tests_as_null() {
        let mut target = json!({"metadata": {}});
        let first = json!([{"op": "test", "path": "/metadata/finalizers", "value": null}, {"op": "add", "path": "/metadata/finalizers", "value": ["f"]}]);
        json_patch(&mut target, &first).unwrap();
        assert_eq!(target, json!({"metadata": {"finalizers": ["f"]}}));
        assert!(rejected_with(&mut target, &first).contains("operation '/0'"));
        let second = json!([{"op": "test", "path": "/metadata", "value": {"finalizers": ["f"]}}, {"op": "test", "path": "/metadata/finalizers/0", "value": "g"}]);
        assert!(rejected_with(&mut target, &second).contains("operation '/1'"));
    }

    fn rejected_with(target: &mut Value, patch: &Value) -> String {
        json_patch(target, patch).unwrap_err().details().unwrap().causes[0].message.clone()
    }

    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|kv| Value::Object(kv.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_merge_patch_changes_nothing_the_second_time(mut target in any_json(), patch in any_json()) {
            if merge_patch(&mut target, &patch).is_ok() {
                let once = target.clone();
                merge_patch(&mut target, &patch).unwrap();
                prop_assert_eq!(target, once);
            }
        }

        #[test]
        fn json_patch_never_panics_and_is_all_or_nothing(mut target in any_json(), patch in any_json(), path in "(/[a-c0-9-]){0,3}", op in "add|remove|replace|test") {
            let before = target.clone();
            let patch = json!([{"op": op, "path": path, "value": patch}, {"op": "test", "path": "/never", "value": 1}]);
            prop_assert!(json_patch(&mut target, &patch).is_err());
            prop_assert_eq!(target, before);
        }
    }
}
