//! Somebody who has gardens.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tricorn_e2e::until;

use super::gardener::{FINALIZER, Garden, LABEL, VERSION, child};
use super::{MANAGER, SOON};

/// An answer that takes longer is none.
const ANSWER: Duration = Duration::from_secs(2);

/// The user's side of the test.
pub struct User {
    pub client: Client,
    pub gardens: Api<Garden>,
    pub maps: Api<ConfigMap>,
}

impl User {
    /// Says what the garden is to hold, and waits until the operator has done it.
    pub async fn wants(&self, plants: &[(&str, &str)]) {
        let plants: BTreeMap<_, _> = plants.iter().copied().collect();
        let wanted = json!({"apiVersion": VERSION, "kind": "Garden", "metadata": {"name": "g"}, "spec": {"plants": plants}});
        let params = PatchParams::apply("user");
        // A server may have gone just now.
        let applied = until("the garden is applied", SOON, async || {
            let applied = tokio::time::timeout(ANSWER, self.gardens.patch("g", &params, &Patch::Apply(&wanted))).await;
            applied.map_err(|late| late.to_string())?.map_err(|error| error.to_string())
        })
        .await;
        let found = until("the operator has seen it", SOON, async || match self.gardens.get_status("g").await {
            Ok(now) if Some(now.status.observed_generation) == applied.metadata.generation => Ok(now),
            other => Err(format!("{other:?}")),
        })
        .await;
        assert_eq!((found.status.planted, found.finalizers()), (plants.len(), &[FINALIZER.to_owned()][..]));
        let params = ListParams::default().labels(&format!("{LABEL}=g"));
        let children = until("the children are listed", SOON, async || self.maps.list(&params).await).await;
        let children: BTreeMap<_, _> = children.into_iter().map(|child| (child.name_any(), child.data.unwrap()["about"].clone())).collect();
        let expected: BTreeMap<_, _> = plants.iter().map(|(plant, about)| (format!("g-{plant}"), (*about).to_owned())).collect();
        assert_eq!(children, expected);
    }

    pub async fn lease(&self) -> LeaseSpec {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "default");
        leases.get(MANAGER).await.map(|lease| lease.spec.unwrap()).unwrap_or_default()
    }

    pub async fn holds_the_lease(&self, name: &str) {
        until(&format!("{name} holds the lease"), SOON, async || {
            let lease = self.lease().await;
            if lease.holder_identity.as_deref() == Some(name) { Ok(()) } else { Err(format!("{lease:?}")) }
        })
        .await;
    }

    /// What others do to children is undone.
    pub async fn meddles(&self) {
        let before = self.maps.get("g-rose").await.unwrap();
        let owner = &before.owner_references()[0];
        assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.controller), ("Garden", "g", Some(true)));
        self.maps.delete("g-rose", &DeleteParams::default()).await.unwrap();
        until("the child is made anew", SOON, async || match self.maps.get("g-rose").await {
            Ok(child) if child.uid() != before.uid() => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        self.maps.patch("g-rose", &PatchParams::default(), &Patch::Merge(json!({"data": {"about": "weed"}}))).await.unwrap();
        until("the change is undone", SOON, async || match self.maps.get("g-rose").await {
            Ok(child) if child.data.as_ref().is_some_and(|data| data["about"] == "red") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        // Applied again as it is, nothing changes, so that the operator is not called for its own writes for ever.
        let garden = self.gardens.get("g").await.unwrap();
        let now = self.maps.get("g-rose").await.unwrap();
        let params = PatchParams::apply(MANAGER).force();
        let again = self.maps.patch("g-rose", &params, &Patch::Apply(child(&garden, "rose", "red"))).await.unwrap();
        assert_eq!(again.resource_version(), now.resource_version());
    }

    /// With the garden goes all that the operator has made for it.
    pub async fn leaves(&self) {
        self.gardens.delete("g", &DeleteParams::default()).await.unwrap();
        let roles: Api<ClusterRole> = Api::all(self.client.clone());
        until("the garden and all of it are gone", SOON, async || {
            let garden = self.gardens.get_opt("g").await.map_err(|error| error.to_string())?;
            let role = roles.get_opt("garden-g").await.map_err(|error| error.to_string())?;
            let children = self.maps.list(&ListParams::default().labels(LABEL)).await.map_err(|error| error.to_string())?.items;
            if garden.is_none() && role.is_none() && children.is_empty() {
                Ok(())
            } else {
                Err(format!("{garden:?} {role:?} {children:?}"))
            }
        })
        .await;
    }
}
