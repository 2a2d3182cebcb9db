//! The operator: a ConfigMap for every plant of a garden.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Error as FinalizerError, Event, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tricorn_e2e::within;

use super::lease::Candidate;
use super::{MANAGER, SOON};

const GROUP: &str = "operator.tricorn.test";
pub const VERSION: &str = "operator.tricorn.test/v1";
pub const FINALIZER: &str = "operator.tricorn.test/clear";
/// Every child has it, with the garden's name.
pub const LABEL: &str = "operator.tricorn.test/garden";
/// What went wrong is tried again after this long.
const AGAIN: Duration = Duration::from_millis(500);

/// Plants, by name, each with what is known of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Garden {
    pub metadata: ObjectMeta,
    pub spec: GardenSpec,
    #[serde(default)]
    pub status: GardenStatus,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct GardenSpec {
    pub plants: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GardenStatus {
    pub planted: usize,
    pub observed_generation: i64,
}

impl Resource for Garden {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Garden".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "gardens".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Has the kind served.
pub async fn define(client: &Client) {
    let text = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["plants"], "properties": {"plants": {"type": "object", "additionalProperties": text}}},
        "status": {"type": "object", "properties": {"planted": {"type": "integer"}, "observedGeneration": {"type": "integer"}}},
    }});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gardens.{GROUP}")},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": {"plural": "gardens", "singular": "garden", "kind": "Garden"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}]},
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = format!("gardens.{GROUP}");
    definitions.patch(&name, &PatchParams::apply(MANAGER), &Patch::Apply(definition)).await.unwrap();
    let established = await_condition(definitions, &name, conditions::is_crd_established());
    within("the kind is served", SOON, established).await.unwrap();
}

/// One instance of the operator.
pub struct Operator {
    pub client: Client,
    pub name: &'static str,
    /// Who has worked, in turn, of all instances.
    pub worked: Arc<Mutex<Vec<&'static str>>>,
}

impl Operator {
    async fn reconcile(garden: Arc<Garden>, operator: Arc<Self>) -> Result<Action, FinalizerError<kube::Error>> {
        operator.worked.lock().push(operator.name);
        let gardens = Api::namespaced(operator.client.clone(), &garden.namespace().unwrap_or_default());
        finalizer(&gardens, FINALIZER, garden, |event| async {
            match event {
                Event::Apply(garden) => operator.plant(&gardens, &garden).await?,
                Event::Cleanup(garden) => operator.clear(&garden).await?,
            }
            Ok(Action::await_change())
        })
        .await
    }

    /// Has every plant there, nothing else, and says so.
    async fn plant(&self, gardens: &Api<Garden>, garden: &Garden) -> kube::Result<()> {
        let name = garden.name_any();
        let params = PatchParams::apply(MANAGER).force();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &garden.namespace().unwrap_or_default());
        for (plant, about) in &garden.spec.plants {
            let child = child(garden, plant, about);
            maps.patch(&format!("{name}-{plant}"), &params, &Patch::Apply(child)).await?;
        }
        for planted in maps.list(&ListParams::default().labels(&format!("{LABEL}={name}"))).await? {
            let plant = planted.name_any().trim_start_matches(&format!("{name}-")).to_owned();
            if !garden.spec.plants.contains_key(&plant) {
                maps.delete(&planted.name_any(), &DeleteParams::default()).await?;
            }
        }
        // What has no namespace cannot belong to what has one: that is what the finalizer is for.
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": role_name(garden)}});
        Api::<ClusterRole>::all(self.client.clone()).patch(&role_name(garden), &params, &Patch::Apply(role)).await?;
        let status = json!({"planted": garden.spec.plants.len(), "observedGeneration": garden.metadata.generation});
        let status = json!({"apiVersion": VERSION, "kind": "Garden", "status": status});
        gardens.patch_status(&name, &params, &Patch::Apply(status)).await?;
        Ok(())
    }

    async fn clear(&self, garden: &Garden) -> kube::Result<()> {
        match Api::<ClusterRole>::all(self.client.clone()).delete(&role_name(garden), &DeleteParams::default()).await {
            Err(error) if !not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Works while it holds the lease, and waits for it otherwise.
    async fn run(self: Arc<Self>) {
        let mut candidate = Candidate::new(&self.client, self.name);
        let gardens: Api<Garden> = Api::all(self.client.clone());
        let children: Api<ConfigMap> = Api::all(self.client.clone());
        let name = self.name;
        loop {
            candidate.elected().await;
            let work = Controller::new(gardens.clone(), watcher::Config::default())
                .owns(children.clone(), watcher::Config::default().labels(LABEL))
                .run(Self::reconcile, |_, _, _| Action::requeue(AGAIN), self.clone())
                .for_each(|done| async move {
                    // Shown of a test that fails.
                    if let Err(error) = done {
                        eprintln!("{name}: {error}");
                    }
                });
            tokio::select! {
                () = work => return,
                () = candidate.deposed() => {}
            }
        }
    }

    pub fn start(self) -> JoinHandle<()> {
        tokio::spawn(Arc::new(self).run())
    }
}

/// A plant as the operator wants it.
pub fn child(garden: &Garden, plant: &str, about: &str) -> Value {
    let name = garden.name_any();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"about": about},
        "metadata": {"name": format!("{name}-{plant}"), "labels": {LABEL: name}, "ownerReferences": [garden.controller_owner_ref(&())]},
    })
}

fn role_name(garden: &Garden) -> String {
    format!("garden-{}", garden.name_any())
}

fn not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
