//! Who owns the replicas of an object, told as who owns those of its Scale, and back: a scale has no managed fields of its own.

use serde_json::Value;
use tricorn_meta::Status;

use crate::fields::FieldSet;
use crate::managed::{self, Entry};

/// The version in which a Scale is written.
const SCALE_VERSION: &str = "autoscaling/v1";
/// Where a Scale has its replicas.
const SCALE_REPLICAS: [&str; 2] = ["spec", "replicas"];

/// The entries of an object's managed fields that own its replicas (at the path `replicas`), as the entries of its Scale.
pub fn to_scale(managed: Option<&Value>, replicas: &[&str]) -> Result<Vec<Value>, Status> {
    let owners = managed::decode(managed)?.into_iter().filter(|entry| entry.fields.has_fields(replicas));
    let fields = only(&SCALE_REPLICAS);
    Ok(managed::encode(owners.map(|entry| Entry { api_version: SCALE_VERSION.to_owned(), fields: fields.clone(), ..entry }).collect()))
}

/// The managed fields of an object of version `api_version` once its Scale has been written, from what they were and from the Scale's.
/// Who no longer owns the Scale's replicas loses the object's; who owns them anew owns nothing else.
pub fn from_scale(managed: Option<&Value>, scale: Option<&Value>, replicas: &[&str], api_version: &str) -> Result<Vec<Value>, Status> {
    let mut owners = managed::decode(scale)?;
    owners.retain(|entry| entry.fields.has_fields(&SCALE_REPLICAS));
    let path = only(replicas);
    let mut entries = managed::decode(managed)?;
    for entry in entries.iter_mut().filter(|entry| entry.fields.has_fields(replicas)) {
        let same =
            |owner: &Entry| (&owner.manager, owner.applied, &owner.subresource) == (&entry.manager, entry.applied, &entry.subresource);
        match owners.iter().position(same) {
            Some(at) => entry.time = owners.remove(at).time,
            None => entry.fields.subtract(&path),
        }
    }
    entries.extend(owners.into_iter().map(|owner| Entry { api_version: api_version.to_owned(), fields: path.clone(), ..owner }));
    Ok(managed::encode(entries))
}

fn only(path: &[&str]) -> FieldSet {
    let mut set = FieldSet::default();
    set.insert_fields(path);
    set
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn entry(manager: &str, operation: &str, version: &str, subresource: &str, fields: Value) -> Value {
        managed::new_entry(manager, operation, version, Some("2026-01-01T00:00:00Z"), subresource, fields)
    }

    #[test]
    fn replicas_change_hands_through_the_scale() {
        let before = json!([
            entry("owner", "Apply", "apps/v1", "", json!({"f:spec": {"f:paused": {}, "f:replicas": {}}})),
            entry("other", "Update", "apps/v1", "", json!({"f:metadata": {"f:labels": {}}})),
            entry("scaler", "Update", "apps/v1", "scale", json!({"f:spec": {"f:replicas": {}}})),
        ]);
        let path = ["spec", "replicas"];
        let scale = to_scale(Some(&before), &path).unwrap();
        let owners: Vec<_> = scale.iter().map(|entry| (entry["manager"].clone(), entry["apiVersion"].clone())).collect();
        assert_eq!(owners, [(json!("owner"), json!("autoscaling/v1")), (json!("scaler"), json!("autoscaling/v1"))]);
        // Nothing is said anew: all stays.
        assert_eq!(json!(from_scale(Some(&before), Some(&json!(scale)), &path, "apps/v1").unwrap()), before);
        let taken = json!([entry("taker", "Apply", "autoscaling/v1", "scale", json!({"f:spec": {"f:replicas": {}}}))]);
        let after = from_scale(Some(&before), Some(&taken), &path, "apps/v1").unwrap();
        let expected = json!([
            entry("owner", "Apply", "apps/v1", "", json!({"f:spec": {"f:paused": {}}})),
            entry("taker", "Apply", "apps/v1", "scale", json!({"f:spec": {"f:replicas": {}}})),
            entry("other", "Update", "apps/v1", "", json!({"f:metadata": {"f:labels": {}}})),
        ]);
        assert_eq!(json!(after), expected);
    }

    #[test]
    fn an_object_may_have_its_replicas_anywhere() {
        let before = json!([entry("a", "Update", "x.example/v1", "", json!({"f:spec": {".": {}, "f:size": {".": {}, "f:wanted": {}}}}))]);
        let path = ["spec", "size", "wanted"];
        assert_eq!(to_scale(Some(&before), &path).unwrap()[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
        assert!(to_scale(Some(&before), &["spec", "replicas"]).unwrap().is_empty());
        let left = from_scale(Some(&before), None, &path, "x.example/v1").unwrap();
        assert_eq!(left[0]["fieldsV1"], json!({"f:spec": {".": {}, "f:size": {}}}));
    }
}
