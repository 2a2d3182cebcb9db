//! FieldsV1, the JSON form of a [`FieldSet`], and set operations done on that form in place, so that a write that
//! touches three fields does not decode what ten managers own.

use serde_json::{Map, Value};

use super::element::canonical;
use super::set::{Entry, FieldSet};

/// Marks, among a step's children, that the step itself is in the set.
const SELF: &str = ".";

impl FieldSet {
    /// Reads FieldsV1. Fails on a step that is none of the four kinds.
    pub fn from_fields_v1(fields: &Value) -> Result<FieldSet, String> {
        let mut set = FieldSet::default();
        let Some(fields) = fields.as_object() else {
            return if fields.is_null() { Ok(set) } else { Err("fieldsV1 must be an object".into()) };
        };
        for (step, below) in fields {
            if step == SELF {
                continue;
            }
            let step = canonical(step).ok_or_else(|| format!("unknown path element {step:?} in fieldsV1"))?;
            let member = below.as_object().is_none_or(|b| b.is_empty() || b.contains_key(SELF));
            set.put(step, member, FieldSet::from_fields_v1(below)?);
        }
        Ok(set)
    }

    /// Writes FieldsV1.
    pub fn to_fields_v1(&self) -> Value {
        Value::Object(encode(self, false))
    }
}

/// The steps of a set, behind the mark for the place itself if it is in the set.
fn encode(set: &FieldSet, member: bool) -> Map<String, Value> {
    let mark = member && !set.is_empty();
    let mut fields = Map::with_capacity(set.entries.len() + usize::from(mark));
    if mark {
        fields.insert(SELF.into(), Value::Object(Map::new()));
    }
    for (step, entry) in &set.entries {
        fields.insert(step.to_string(), encode_entry(entry));
    }
    fields
}

fn encode_entry(entry: &Entry) -> Value {
    Value::Object(encode(&entry.below, entry.member))
}

/// Takes the paths of `set` out of FieldsV1 in place. Answers whether anything was taken.
pub(crate) fn subtract_encoded(fields: &mut Map<String, Value>, set: &FieldSet) -> bool {
    let mut changed = false;
    if set.is_empty() {
        return changed;
    }
    // One pass: taking entries out one by one would move all that follow, each time.
    fields.retain(|step, below| match (set.find(step), below) {
        (Some(entry), Value::Object(below)) => subtract_entry(below, entry, &mut changed),
        _ => true,
    });
    changed
}

/// Takes an entry out of what is written for its step; answers whether anything is left of that.
fn subtract_entry(below: &mut Map<String, Value>, entry: &Entry, changed: &mut bool) -> bool {
    if below.is_empty() {
        *changed |= entry.member;
        return !entry.member;
    }
    *changed |= entry.member && below.shift_remove(SELF).is_some();
    let member = below.contains_key(SELF);
    *changed |= subtract_encoded(below, &entry.below);
    if member && below.len() == 1 {
        // Without its children a step that is in the set by itself is written as an empty object.
        below.clear();
        return true;
    }
    !below.is_empty()
}

/// Adds the paths of `set` to FieldsV1 in place, keeping steps sorted. Answers whether anything was added.
pub(crate) fn union_encoded(fields: &mut Map<String, Value>, set: &FieldSet) -> bool {
    let mut changed = false;
    let mut unsorted = false;
    for (step, entry) in &set.entries {
        match fields.get_mut(step.as_ref()) {
            Some(Value::Object(below)) => {
                let leaf = below.is_empty();
                if leaf && entry.below.is_empty() {
                    continue;
                }
                if leaf || (entry.member && !below.contains_key(SELF)) {
                    below.shift_insert(0, SELF.into(), Value::Object(Map::new()));
                    changed |= !leaf;
                }
                changed |= union_encoded(below, &entry.below);
            }
            _ => {
                fields.insert(step.to_string(), encode_entry(entry));
                changed = true;
                unsorted = true;
            }
        }
    }
    if unsorted {
        fields.sort_keys();
    }
    changed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn arbitrary_set() -> impl Strategy<Value = FieldSet> {
        let path =
            prop::collection::vec(prop_oneof![Just("f:a"), Just("f:b"), Just("k:{\"name\":\"x\"}"), Just("v:1"), Just("v:\"s\"")], 1..4);
        prop::collection::vec(path, 0..8).prop_map(|paths| {
            let mut set = FieldSet::default();
            for path in paths {
                let mut at = &mut set;
                for step in &path[..path.len() - 1] {
                    at = &mut at.entry(step).below;
                }
                at.entry(path[path.len() - 1]).member = true;
            }
            set
        })
    }

    fn object(set: &FieldSet) -> Map<String, Value> {
        set.to_fields_v1().as_object().unwrap().clone()
    }

    proptest! {
        #[test]
        fn a_set_survives_its_json_form(set in arbitrary_set()) {
            prop_assert_eq!(FieldSet::from_fields_v1(&set.to_fields_v1()).unwrap(), set);
        }

        #[test]
        fn operations_on_json_agree_with_operations_on_sets(a in arbitrary_set(), b in arbitrary_set()) {
            let mut encoded = object(&a);
            let changed = union_encoded(&mut encoded, &b);
            let mut decoded = a.clone();
            decoded.union(b.clone());
            prop_assert_eq!(&Value::Object(encoded), &decoded.to_fields_v1());
            prop_assert_eq!(changed, decoded != a);

            let mut encoded = object(&a);
            let changed = subtract_encoded(&mut encoded, &b);
            let mut decoded = a.clone();
            decoded.subtract(&b);
            prop_assert_eq!(&Value::Object(encoded), &decoded.to_fields_v1());
            prop_assert_eq!(changed, decoded != a);
        }

        #[test]
        fn set_laws(a in arbitrary_set(), b in arbitrary_set()) {
            let both = a.intersection(&b);
            let mut only = a.clone();
            only.subtract(&b);
            prop_assert!(only.intersection(&b).is_empty());
            let mut whole = only.clone();
            whole.union(both);
            prop_assert_eq!(whole, a.clone());
            prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        }
    }

    #[test]
    fn foreign_spelling_becomes_ours() {
        let set =
            FieldSet::from_fields_v1(&json!({"f:ports": {"k:{ \"protocol\": \"TCP\", \"port\": 80 }": {".": {}, "f:port": {}}}})).unwrap();
        assert_eq!(set.to_fields_v1(), json!({"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}}));
        assert_eq!(set.paths(), [r#".ports[port=80,protocol="TCP"]"#, r#".ports[port=80,protocol="TCP"].port"#]);
        assert!(FieldSet::from_fields_v1(&json!({"x:a": {}})).is_err());
    }
}
