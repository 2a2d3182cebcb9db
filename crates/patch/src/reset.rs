//! Which fields a write never owns because the server puts them back: the status in a write of the object, the rest in a
//! write of the status.

use crate::fields::FieldSet;

/// The fields that a write of `subresource` of `resource` resets. `has_status` says whether the resource has a status subresource.
pub fn reset_fields(resource: &str, subresource: &str, has_status: bool) -> FieldSet {
    let mut set = FieldSet::default();
    match (resource, subresource) {
        (_, "") if has_status => set.insert_fields(&["status"]),
        ("pods", "status") => {
            set.insert_fields(&["spec"]);
            set.insert_fields(&["metadata", "deletionTimestamp"]);
            set.insert_fields(&["metadata", "ownerReferences"]);
        }
        ("deployments" | "replicasets" | "statefulsets" | "daemonsets", "status") => {
            set.insert_fields(&["spec"]);
            if resource == "deployments" {
                set.insert_fields(&["metadata", "labels"]);
            }
        }
        ("certificatesigningrequests", "status" | "approval") => set.insert_fields(&["spec"]),
        ("namespaces", "finalize") => set.insert_fields(&["status"]),
        (_, "status") => set.insert_fields(&["spec"]),
        _ => {}
    }
    set
}
