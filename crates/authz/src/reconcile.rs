//! Bringing a bootstrap object that is there already up to date, without taking away what somebody added.

use serde_json::{Map, Value};

use crate::escalation::{compact, covers, single_rules};
use crate::rule::rules_of;

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What `existing` must become so that it grants at least what `wanted` does; `None` if it does already, or if its annotation
/// `autoupdate` says `false`. Added rules, subjects, labels and annotations of people are kept. A binding to another role is
/// answered as `wanted` itself: its `roleRef` cannot change, so the caller deletes the old one and creates this.
pub fn reconcile(existing: &Value, wanted: &Value) -> Option<Value> {
    let annotation = existing.get("metadata")?.get("annotations").and_then(|a| a.get(AUTOUPDATE)).and_then(Value::as_str);
    if annotation == Some("false") {
        return None;
    }
    if existing.get("roleRef") != wanted.get("roleRef") {
        return Some(wanted.clone());
    }
    let mut new = existing.clone();
    for part in ["labels", "annotations"] {
        add_entries(&mut new, wanted, part);
    }
    match wanted.get("aggregationRule") {
        Some(rule) => add_selectors(&mut new, rule),
        None => add_rules(&mut new, existing, wanted),
    }
    add_subjects(&mut new, wanted);
    (new != *existing).then_some(new)
}

/// Adds labels or annotations that are missing; those that are there keep their values.
fn add_entries(new: &mut Value, wanted: &Value, part: &str) {
    let Some(entries) = wanted.get("metadata").and_then(|m| m.get(part)).and_then(Value::as_object) else { return };
    let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let own = metadata.entry(part).or_insert(Value::Null);
    if own.is_null() {
        *own = Value::Object(Map::new());
    }
    let Some(own) = own.as_object_mut() else { return };
    for (key, value) in entries {
        own.entry(key.as_str()).or_insert_with(|| value.clone());
    }
}

fn list_of<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Vec<Value>> {
    let list = object.as_object_mut()?.entry(key).or_insert(Value::Null);
    if list.is_null() {
        *list = Value::Array(Vec::new());
    }
    list.as_array_mut()
}

fn add_selectors(new: &mut Value, rule: &Value) {
    let Some(own) = new.as_object_mut() else { return };
    let own = own.entry("aggregationRule").or_insert_with(|| Value::Object(Map::new()));
    let Some(own) = list_of(own, "clusterRoleSelectors") else { return };
    for selector in rule.get("clusterRoleSelectors").and_then(Value::as_array).into_iter().flatten() {
        if !own.contains(selector) {
            own.push(selector.clone());
        }
    }
}

fn add_rules(new: &mut Value, existing: &Value, wanted: &Value) {
    let held = rules_of(existing);
    let mut missing = Vec::new();
    for rule in rules_of(wanted) {
        missing.extend(single_rules(&rule).into_iter().filter(|one| !held.iter().any(|h| covers(h, one))));
    }
    if missing.is_empty() {
        return;
    }
    if let Some(rules) = list_of(new, "rules") {
        rules.extend(compact(missing).iter().filter_map(|rule| serde_json::to_value(rule).ok()));
    }
}

fn add_subjects(new: &mut Value, wanted: &Value) {
    let wanted = wanted.get("subjects").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if wanted.is_empty() {
        return;
    }
    let Some(own) = list_of(new, "subjects") else { return };
    for subject in wanted {
        let same = |other: &Value| ["kind", "name", "namespace"].iter().all(|key| other.get(key) == subject.get(key));
        if !own.iter().any(same) {
            own.push(subject.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bootstrap_objects;
    use serde_json::json;

    fn role(name: &str) -> Value {
        bootstrap_objects().into_iter().find(|o| o["kind"] == "ClusterRole" && o["metadata"]["name"] == name).unwrap()
    }

    #[test]
    fn what_is_complete_stays() {
        for object in bootstrap_objects() {
            assert_eq!(reconcile(&object, &object), None);
        }
    }

    #[test]
    fn missing_rules_are_added_and_foreign_ones_stay() {
        let wanted = role("system:node-proxier");
        let mut existing = wanted.clone();
        let mine = json!({"apiGroups": ["x"], "resources": ["y"], "verbs": ["get"]});
        existing["rules"] = json!([mine]);
        let new = reconcile(&existing, &wanted).unwrap();
        assert!(new["rules"].as_array().unwrap().contains(&mine));
        assert_eq!(reconcile(&new, &wanted), None);
    }

    #[test]
    fn a_wider_rule_is_enough() {
        let wanted = role("system:node-proxier");
        let mut existing = wanted.clone();
        existing["rules"] = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
        assert_eq!(reconcile(&existing, &wanted), None);
    }

    #[test]
    fn the_annotation_is_honoured() {
        let wanted = role("view");
        let mut existing = wanted.clone();
        existing["metadata"]["labels"] = json!({});
        assert!(reconcile(&existing, &wanted).is_some());
        existing["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        assert_eq!(reconcile(&existing, &wanted), None);
    }

    #[test]
    fn aggregated_roles_keep_the_rules_that_the_controller_filled_in() {
        let wanted = role("admin");
        let mut existing = wanted.clone();
        existing["rules"] = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
        assert_eq!(reconcile(&existing, &wanted), None);
        existing["aggregationRule"] = json!({"clusterRoleSelectors": []});
        let new = reconcile(&existing, &wanted).unwrap();
        assert_eq!(new["aggregationRule"], wanted["aggregationRule"]);
    }

    #[test]
    fn subjects_are_added() {
        let wanted = bootstrap_objects()
            .into_iter()
            .find(|o| o["kind"] == "ClusterRoleBinding" && o["metadata"]["name"] == "cluster-admin")
            .unwrap();
        let mut existing = wanted.clone();
        existing["subjects"] = json!([{"kind": "User", "name": "me", "apiGroup": "rbac.authorization.k8s.io"}]);
        let new = reconcile(&existing, &wanted).unwrap();
        assert_eq!(new["subjects"].as_array().unwrap().len(), 2);
        existing["roleRef"]["name"] = json!("view");
        assert_eq!(reconcile(&existing, &wanted), Some(wanted));
    }
}
