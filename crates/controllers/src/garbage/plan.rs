//! What becomes of an object, given the state of its owners.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::graph::{FOREGROUND, ORPHAN};

/// The state of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerState {
    /// It is there and stays.
    Solid,
    /// It does not exist.
    Gone,
    /// It is being deleted and waits for its dependents.
    Waiting,
}

/// How an object is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Background,
    Foreground,
    Orphan,
}

/// What to do with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Keep,
    /// It has an owner that stays: only the references to these others go.
    Disown(Vec<String>),
    /// No owner holds it.
    Delete(Policy),
}

/// Decides about the object with `meta`; `owners` are the states of its owners by uid.
pub(super) fn decide(meta: &ObjectMeta, owners: &[(String, OwnerState)], has_dependents: bool) -> Decision {
    if owners.is_empty() {
        return Decision::Keep;
    }
    let not_solid: Vec<String> = owners.iter().filter(|(_, state)| *state != OwnerState::Solid).map(|(uid, _)| uid.clone()).collect();
    if not_solid.len() < owners.len() {
        return if not_solid.is_empty() { Decision::Keep } else { Decision::Disown(not_solid) };
    }
    let waiting = owners.iter().any(|(_, state)| *state == OwnerState::Waiting);
    if waiting && has_dependents {
        return Decision::Delete(Policy::Foreground);
    }
    let finalizer = |name: &str| meta.finalizers.iter().flatten().any(|finalizer| finalizer == name);
    Decision::Delete(if finalizer(ORPHAN) {
        Policy::Orphan
    } else if finalizer(FOREGROUND) {
        Policy::Foreground
    } else {
        Policy::Background
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use OwnerState::{Gone, Solid, Waiting};

    #[test]
    fn decisions() {
        let plain = ObjectMeta::default();
        let orphan = ObjectMeta { finalizers: Some(vec![ORPHAN.into()]), ..Default::default() };
        let states = |states: &[OwnerState]| -> Vec<(String, OwnerState)> {
            states.iter().enumerate().map(|(n, state)| (n.to_string(), *state)).collect()
        };
        for (meta, owners, dependents, expected) in [
            (&plain, states(&[]), false, Decision::Keep),
            (&plain, states(&[Solid]), false, Decision::Keep),
            (&plain, states(&[Solid, Gone, Waiting]), false, Decision::Disown(vec!["1".into(), "2".into()])),
            (&plain, states(&[Gone]), true, Decision::Delete(Policy::Background)),
            (&plain, states(&[Gone, Waiting]), true, Decision::Delete(Policy::Foreground)),
            (&plain, states(&[Waiting]), false, Decision::Delete(Policy::Background)),
            (&orphan, states(&[Gone]), false, Decision::Delete(Policy::Orphan)),
        ] {
            assert_eq!(decide(meta, &owners, dependents), expected, "{owners:?}");
        }
    }
}
