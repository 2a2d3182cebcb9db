#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{World, within};
use tokio::task::JoinHandle;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const CROWNS: &str = "/apis/sea.example/v1/namespaces/default/crowns";

fn definition(plural: &str, kind: &str) -> Value {
    json!({
        "metadata": {"name": format!("{plural}.sea.example")},
        "spec": {
            "group": "sea.example", "scope": "Namespaced", "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    })
}

/// A server that follows the definitions as one that leads, or does not.
struct Followed {
    world: World,
    leads: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Followed {
    async fn start(leads: bool) -> Self {
        let world = World::start().await;
        let (leads, mut led) = watch::channel(leads);
        let server = world.server.clone();
        let task = tokio::spawn(async move { follow(&server, &mut led, |leads| *leads).await.unwrap() });
        Self { world, leads, task }
    }

    /// Waits until the definitions, as the cache has them, are as `fine` says.
    async fn definitions(&self, fine: impl Fn(&[Arc<Object>]) -> bool) {
        let cache = self.world.server.registry.cache(&definitions());
        let mut changes = cache.changes();
        within(async {
            while !fine(&cache.all()) {
                changes.changed().await.unwrap();
            }
        })
        .await;
    }

    async fn established(&self, name: &str) {
        let holds = |crd: &Object| {
            let conditions = crd.value()["status"]["conditions"].as_array().into_iter().flatten();
            conditions.clone().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
        };
        self.definitions(|all| all.iter().any(|crd| crd.name() == name && holds(crd))).await;
    }

    /// Defines crowns, of which one is held by a finalizer, and deletes the definition.
    async fn with_a_crown_that_is_held(&self) {
        self.world.create(DEFINITIONS, &definition("crowns", "Crown")).await;
        self.established("crowns.sea.example").await;
        self.world.create(CROWNS, &json!({"metadata": {"name": "a", "finalizers": ["sea.example/held"]}})).await;
        self.world.create(CROWNS, &json!({"metadata": {"name": "b"}})).await;
        assert_eq!(self.world.delete(&format!("{DEFINITIONS}/crowns.sea.example")).await.0, 200);
    }

    async fn let_go(&self) {
        assert_eq!(self.world.patch(&format!("{CROWNS}/a"), &json!({"metadata": {"finalizers": null}})).await.0, 200);
    }

    async fn stop(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()), "following the definitions ended");
        self.world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_holds_up_nobody_else() {
    let followed = Followed::start(true).await;
    followed.with_a_crown_that_is_held().await;
    // Named to come after the one that is held.
    followed.world.create(DEFINITIONS, &definition("tridents", "Trident")).await;
    followed.established("tridents.sea.example").await;
    assert_eq!(followed.world.get("/apis/sea.example/v1/tridents", "application/json").await.0, 200);
    // No definition changes any more: letting the object go is enough.
    followed.let_go().await;
    followed.definitions(|all| all.iter().map(|crd| crd.name()).eq(["tridents.sea.example"])).await;
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_goes_on_with_a_cleanup() {
    let followed = Followed::start(false).await;
    followed.with_a_crown_that_is_held().await;
    followed.let_go().await;
    // Who does not lead leaves alone what is left; the definition that is established next shows that it has been looked at.
    followed.world.create(DEFINITIONS, &definition("tridents", "Trident")).await;
    followed.established("tridents.sea.example").await;
    assert_eq!(followed.world.get(&format!("{CROWNS}/b"), "application/json").await.0, 200);
    followed.leads.send_replace(true);
    followed.definitions(|all| all.iter().map(|crd| crd.name()).eq(["tridents.sea.example"])).await;
    followed.stop().await;
}

#[test]
fn a_cleanup_finds_objects_of_a_version_that_is_not_served() {
    let mut crd = definition("crowns", "Crown");
    crd["spec"]["versions"][0]["served"] = json!(false);
    assert!(endpoints(&crd).is_empty());
    assert_eq!(&*stored_endpoint(&crd).unwrap().stored.prefix, "/registry/sea.example/crowns/");
}
