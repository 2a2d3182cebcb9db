//! Who owns what: controller references, and the question whether a controller may claim an object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use serde_json::{Value, json};

/// The owner that is marked as the controller.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_deref().unwrap_or_default().iter().find(|owner| owner.controller == Some(true))
}

/// A reference to `owner` as the controller of what it makes.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What a controller should do about an object that it may own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is ours and stays so.
    Keep,
    /// Nobody's, and it matches: take it.
    Adopt,
    /// Ours, but it no longer matches: let it go.
    Release,
    /// None of our business.
    Ignore,
}

/// Decides about one object. `owner_deleting` is whether the claiming controller object is being deleted.
pub(crate) fn claim(object: &ObjectMeta, owner_uid: &str, owner_deleting: bool, matches: bool) -> Claim {
    match controller_of(object) {
        Some(owner) if owner.uid != owner_uid => Claim::Ignore,
        Some(_) if matches => Claim::Keep,
        Some(_) if owner_deleting => Claim::Ignore,
        Some(_) => Claim::Release,
        None if matches && !owner_deleting && object.deletion_timestamp.is_none() => Claim::Adopt,
        None => Claim::Ignore,
    }
}

/// The merge patch that makes `reference` the controller of `object`, for exactly this incarnation and version.
pub(crate) fn adoption_patch(object: &ObjectMeta, reference: &OwnerReference) -> Value {
    let mut owners = object.owner_references.clone().unwrap_or_default();
    owners.push(reference.clone());
    owners_patch(object, &owners)
}

/// The merge patch that removes the owner `uid` from `object`.
pub(crate) fn release_patch(object: &ObjectMeta, uid: &str) -> Value {
    let owners: Vec<_> = object.owner_references.iter().flatten().filter(|owner| owner.uid != uid).cloned().collect();
    owners_patch(object, &owners)
}

fn owners_patch(object: &ObjectMeta, owners: &[OwnerReference]) -> Value {
    json!({"metadata": {
        "uid": object.uid,
        "resourceVersion": object.resource_version,
        "ownerReferences": owners,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    fn owned_by(uid: Option<&str>) -> ObjectMeta {
        let owners = uid.map(|uid| vec![OwnerReference { uid: uid.into(), controller: Some(true), ..Default::default() }]);
        ObjectMeta { owner_references: owners, ..Default::default() }
    }

    #[test]
    fn claims() {
        let mut deleting = owned_by(None);
        deleting.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        for (object, owner_deleting, matches, expected) in [
            (owned_by(Some("me")), false, true, Claim::Keep),
            (owned_by(Some("me")), false, false, Claim::Release),
            (owned_by(Some("me")), true, false, Claim::Ignore),
            (owned_by(Some("you")), false, true, Claim::Ignore),
            (owned_by(None), false, true, Claim::Adopt),
            (owned_by(None), true, true, Claim::Ignore),
            (owned_by(None), false, false, Claim::Ignore),
            (deleting, false, true, Claim::Ignore),
        ] {
            assert_eq!(claim(&object, "me", owner_deleting, matches), expected, "{object:?} {owner_deleting} {matches}");
        }
    }
}
