//! Who owns whom, over all kinds.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Finalizer: the owner goes after those dependents that block it.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer: dependents stay and lose this owner.
pub(super) const ORPHAN: &str = "orphan";

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) api_version: String,
    pub(super) kind: String,
    /// Empty for cluster-scoped objects.
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// An object in the graph.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: Identity,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) dependents: BTreeSet<String>,
    pub(super) deleting: bool,
    /// It is being deleted and waits for its dependents.
    pub(super) foreground: bool,
    orphaning: bool,
    /// Only known from the references of others so far.
    pub(super) rumoured: bool,
}

/// Objects, by uid, that have to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wake {
    pub(super) delete: Vec<String>,
    pub(super) orphan: Vec<String>,
}

/// All objects by uid.
#[derive(Debug, Default)]
pub(super) struct Graph {
    items: HashMap<String, Item>,
}

fn has_finalizer(meta: &ObjectMeta, name: &str) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == name)
}

impl Graph {
    /// One object.
    pub(super) fn get(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    /// An object is new or has changed.
    pub(super) fn upsert(&mut self, id: Identity, meta: &ObjectMeta) -> Wake {
        let mut wake = Wake::default();
        let uid = id.uid.clone();
        let owners = meta.owner_references.clone().unwrap_or_default();
        let before = self.items.get(&uid).map(|item| item.owners.clone()).unwrap_or_default();
        for gone in before.iter().filter(|old| !owners.iter().any(|new| new.uid == old.uid)) {
            if let Some(owner) = self.items.get_mut(&gone.uid) {
                owner.dependents.remove(&uid);
                if owner.foreground {
                    wake.delete.push(gone.uid.clone());
                }
            }
        }
        for kept in before.iter().filter(|old| old.block_owner_deletion == Some(true)) {
            let unblocked = owners.iter().any(|new| new.uid == kept.uid && new.block_owner_deletion != Some(true));
            if unblocked && self.items.get(&kept.uid).is_some_and(|owner| owner.foreground) {
                wake.delete.push(kept.uid.clone());
            }
        }
        for owner in owners.iter().filter(|new| !before.iter().any(|old| old.uid == new.uid)) {
            let known = self.items.entry(owner.uid.clone()).or_insert_with(|| {
                wake.delete.push(owner.uid.clone());
                rumoured(owner, &id.namespace)
            });
            known.dependents.insert(uid.clone());
        }
        let item = self.items.entry(uid.clone()).or_insert_with(|| Item {
            id: id.clone(),
            owners: Vec::new(),
            dependents: BTreeSet::new(),
            deleting: false,
            foreground: false,
            orphaning: false,
            rumoured: false,
        });
        let mistaken = item.rumoured && item.id != id;
        item.rumoured = false;
        item.id = id;
        item.owners = owners;
        item.deleting = meta.deletion_timestamp.is_some();
        if mistaken {
            // Some dependents name this uid under other coordinates; they have to find out by asking.
            wake.delete.extend(item.dependents.iter().cloned());
        }
        if item.deleting && has_finalizer(meta, FOREGROUND) && !item.foreground {
            item.foreground = true;
            wake.delete.extend(item.dependents.iter().cloned());
            wake.delete.push(uid.clone());
        }
        if item.deleting && has_finalizer(meta, ORPHAN) && !item.orphaning {
            item.orphaning = true;
            wake.orphan.push(uid);
        }
        wake
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, uid: &str) -> Wake {
        let mut wake = Wake::default();
        let Some(item) = self.items.remove(uid) else { return wake };
        for reference in &item.owners {
            let Some(owner) = self.items.get_mut(&reference.uid) else { continue };
            owner.dependents.remove(uid);
            if owner.foreground {
                wake.delete.push(reference.uid.clone());
            }
        }
        wake.delete.extend(item.dependents);
        wake
    }

    /// Dependents that keep their owner, which is being deleted, from going.
    pub(super) fn blocking(&self, uid: &str) -> Vec<&Item> {
        let Some(owner) = self.items.get(uid) else { return Vec::new() };
        let blocks = |item: &&Item| item.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true));
        owner.dependents.iter().filter_map(|dependent| self.items.get(dependent)).filter(blocks).collect()
    }

    /// All dependents.
    pub(super) fn dependents(&self, uid: &str) -> Vec<Item> {
        let Some(owner) = self.items.get(uid) else { return Vec::new() };
        owner.dependents.iter().filter_map(|dependent| self.items.get(dependent)).cloned().collect()
    }
}

fn rumoured(owner: &OwnerReference, namespace: &str) -> Item {
    Item {
        id: Identity {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            namespace: namespace.to_owned(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        },
        owners: Vec::new(),
        dependents: BTreeSet::new(),
        deleting: false,
        foreground: false,
        orphaning: false,
        rumoured: true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    fn id(name: &str) -> Identity {
        Identity { api_version: "v1".into(), kind: "ConfigMap".into(), namespace: "default".into(), name: name.into(), uid: name.into() }
    }

    fn owned_by(owners: &[(&str, bool)]) -> ObjectMeta {
        let reference = |(name, blocks): &(&str, bool)| OwnerReference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            name: (*name).into(),
            uid: (*name).into(),
            block_owner_deletion: Some(*blocks),
            ..Default::default()
        };
        ObjectMeta { owner_references: Some(owners.iter().map(reference).collect()), ..Default::default() }
    }

    fn deleting(finalizer: &str) -> ObjectMeta {
        ObjectMeta { deletion_timestamp: Some(Time(Timestamp::UNIX_EPOCH)), finalizers: Some(vec![finalizer.into()]), ..Default::default() }
    }

    #[test]
    fn dependents_of_what_is_gone_are_looked_at() {
        let mut graph = Graph::default();
        graph.upsert(id("owner"), &ObjectMeta::default());
        assert_eq!(graph.upsert(id("child"), &owned_by(&[("owner", false)])), Wake::default());
        assert_eq!(graph.remove("owner").delete, ["child"]);
    }

    #[test]
    fn an_unknown_owner_is_asked_for() {
        let mut graph = Graph::default();
        assert_eq!(graph.upsert(id("child"), &owned_by(&[("owner", false)])).delete, ["owner"]);
        assert!(graph.get("owner").unwrap().rumoured);
        graph.upsert(id("owner"), &ObjectMeta::default());
        assert!(!graph.get("owner").unwrap().rumoured);
        assert_eq!(graph.dependents("owner").len(), 1);
    }

    #[test]
    fn a_foreground_owner_waits_for_those_that_block() {
        let mut graph = Graph::default();
        graph.upsert(id("owner"), &ObjectMeta::default());
        graph.upsert(id("a"), &owned_by(&[("owner", true)]));
        graph.upsert(id("b"), &owned_by(&[("owner", false)]));
        assert_eq!(graph.upsert(id("owner"), &deleting(FOREGROUND)).delete, ["a", "b", "owner"]);
        assert_eq!(graph.blocking("owner").len(), 1);
        assert_eq!(graph.upsert(id("a"), &owned_by(&[("owner", false)])).delete, ["owner"], "it no longer blocks");
        assert!(graph.blocking("owner").is_empty());
        assert_eq!(graph.remove("a").delete, ["owner"]);
    }

    #[test]
    fn orphaning_is_asked_for_once() {
        let mut graph = Graph::default();
        assert_eq!(graph.upsert(id("owner"), &deleting(ORPHAN)).orphan, ["owner"]);
        assert!(graph.upsert(id("owner"), &deleting(ORPHAN)).orphan.is_empty());
    }
}
