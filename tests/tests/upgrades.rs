//! Large and many things through kubectl: a kind whose definition is half a megabyte, and a release of some hundred objects that is
//! upgraded, by kubectl's own three-way merge and by server-side apply with a second owner.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tricorn_e2e::{LoneServer, Ran, run_within, until, within};

const SOON: Duration = Duration::from_secs(60);
/// kubectl goes through some hundred objects one by one.
const RELEASE: Duration = Duration::from_secs(600);
/// Times the five kinds of a release.
const PARTS: usize = 60;

/// A server, and files for kubectl.
struct Site {
    server: LoneServer,
    client: Client,
}

impl Site {
    async fn start() -> Self {
        let server = LoneServer::start().await;
        let client = server.client().await;
        Self { server, client }
    }

    async fn kubectl(&self, line: &str) -> Ran {
        run_within(RELEASE, "kubectl", &line.split_whitespace().collect::<Vec<_>>(), &[("KUBECONFIG", &self.server.kubeconfig())]).await
    }

    /// Writes a manifest of one object, or of a list of them.
    fn manifest(&self, name: &str, object: &Value) -> PathBuf {
        let path = self.server.scratch(name);
        std::fs::write(&path, object.to_string()).unwrap();
        path
    }

    async fn namespace(&self, name: &str) {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await.unwrap();
    }
}

/// The definition of a kind with two thousand fields.
fn large(kind: &str, remark: &str) -> Value {
    let about = "What it is for, when it counts, what it is when nothing is said, and what else has to be said where it is. ".repeat(2);
    let sections: serde_json::Map<String, Value> = (0..80)
        .map(|section| {
            let fields: serde_json::Map<String, Value> = (0..25)
                .map(|field| {
                    let about = format!("Field {field} of section {section}. {about}");
                    (format!("field{field}"), json!({"type": "integer", "minimum": 0, "maximum": 100, "description": about}))
                })
                .collect();
            (
                format!("section{section}"),
                json!({"type": "object", "description": format!("Section {section}. {remark}"), "properties": fields}),
            )
        })
        .collect();
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": sections}}});
    let (plural, group) = (format!("{}s", kind.to_lowercase()), "large.tricorn.test");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_half_a_megabyte() {
    let site = Site::start().await;
    let definition = large("Colossus", "As it was.");
    let bytes = definition.to_string().len();
    assert!((450_000..650_000).contains(&bytes), "{bytes}");
    let definitions: Api<CustomResourceDefinition> = Api::all(site.client.clone());
    let name = definition["metadata"]["name"].as_str().unwrap();
    let apply = async |definition: &Value| {
        let params = PatchParams::apply("installer");
        within("the definition is applied", SOON, definitions.patch(name, &params, &Patch::Apply(definition))).await.unwrap()
    };
    apply(&definition).await;
    within("the kind is served", SOON, await_condition(definitions.clone(), name, conditions::is_crd_established())).await.unwrap();
    let stands = definitions.get(name).await.unwrap();
    assert_eq!(apply(&definition).await.resource_version(), stands.resource_version());

    // Its objects are held to the schema, and described by it.
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("large.tricorn.test", "v1", "Colossus"), "colossuss");
    let objects: Api<DynamicObject> = Api::default_namespaced_with(site.client.clone(), &kind);
    let object = |field: i64| {
        let mut object = DynamicObject::new("c", &kind);
        object.data = json!({"spec": {"section79": {"field24": field}}});
        object
    };
    let refused = objects.create(&PostParams::default(), &object(101)).await.unwrap_err().to_string();
    assert!(refused.contains("spec.section79.field24"), "{refused}");
    objects.create(&PostParams::default(), &object(100)).await.unwrap();
    let explained = site.kubectl("explain colossuss.spec.section79.field24").await.ok();
    assert!(explained.contains("Field 24 of section 79."), "{explained}");

    // kubectl applies another state of it over what the installer has, by force; and owns it.
    let path = site.manifest("colossus.yaml", &large("Colossus", "As it is now."));
    let line = format!("apply --server-side -f {}", path.display());
    site.kubectl(&line).await.fails(1, &["conflict with \"installer\"", ".spec.versions"]);
    site.kubectl(&format!("{line} --force-conflicts")).await.ok();
    // What is served follows a definition that has changed.
    until("kubectl explains the new state", SOON, async || {
        let explained = site.kubectl("explain colossuss.spec.section79").await.ok();
        if explained.contains("As it is now.") { Ok(()) } else { Err(explained) }
    })
    .await;
    assert_eq!(objects.get("c").await.unwrap().data["spec"]["section79"]["field24"], 100);

    // Without --server-side it does not fit into the annotation that kubectl keeps.
    let path = site.manifest("titan.yaml", &large("Titan", "Too large."));
    let applied = site.kubectl(&format!("apply -f {}", path.display())).await;
    applied.fails(1, &["metadata.annotations: Too long: may not be more than 262144 bytes"]);
}

fn list(objects: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": objects})
}

/// A release's first or second state: three hundred objects of five kinds.
fn release(namespace: &str, second: bool) -> Vec<Value> {
    let state = |first: Value, then: Value| if second { then } else { first };
    (0..PARTS).flat_map(|part| {
        let name = format!("part-{part}");
        let labels = state(json!({"release": "r", "app": name, "old": "yes"}), json!({"release": "r", "app": name, "new": "yes"}));
        let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
        let variable = |name: &str, value: &str| json!({"name": name, "value": value});
        let container = state(
            json!({"name": "main", "image": "i:1", "args": ["--old"], "env": [variable("KEPT", "1"), variable("DROPPED", "1")],
                "ports": [{"name": "http", "containerPort": 80}, {"name": "old", "containerPort": 81}], "resources": {"limits": {"cpu": "1"}}}),
            json!({"name": "main", "image": "i:2", "env": [variable("KEPT", "2"), variable("ADDED", "2")],
                "ports": [{"name": "http", "containerPort": 80}]}),
        );
        let template = json!({"metadata": {"labels": {"app": name}}, "spec": {"serviceAccountName": name, "containers": [container]}});
        let port = |number: u16| json!({"name": format!("p{number}"), "port": number});
        [
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": state(json!({"kept": "1", "dropped": "1"}), json!({"kept": "2"}))}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": state(json!({"a": "1"}), json!({"a": "2"}))}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
                "selector": {"app": name}, "ports": state(json!([port(80), port(81)]), json!([port(80), port(82)]))}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}}),
        ]
    }).collect()
}

/// Every object of a namespace that the release has.
async fn of_release<K>(site: &Site, namespace: &str) -> Vec<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let all: Api<K> = Api::namespaced(site.client.clone(), namespace);
    let found = all.list(&ListParams::default().labels("release=r")).await.unwrap().items;
    assert_eq!(found.len(), PARTS);
    found
}

/// All objects are in the second state, with nothing of the first left, and what others have added is still there.
async fn upgraded(site: &Site, namespace: &str, others: &str) {
    for map in of_release::<ConfigMap>(site, namespace).await {
        assert_eq!(json!(map.data), json!({"kept": "2"}), "{map:?}");
        assert_eq!((map.labels().get("old"), map.labels().get("new").map(String::as_str)), (None, Some("yes")), "{map:?}");
    }
    for service in of_release::<Service>(site, namespace).await {
        let ports: Vec<i32> = service.spec.as_ref().unwrap().ports.iter().flatten().map(|port| port.port).collect();
        assert_eq!(ports, [80, 82], "{service:?}");
        assert!(service.spec.as_ref().unwrap().cluster_ip.is_some(), "{service:?}");
    }
    for deployment in of_release::<Deployment>(site, namespace).await {
        let containers = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers.clone();
        let main = containers.iter().find(|container| container.name == "main").unwrap();
        let environment: Vec<_> =
            main.env.iter().flatten().map(|one| (one.name.as_str(), one.value.as_deref().unwrap_or_default())).collect();
        assert_eq!((main.image.as_deref(), main.args.as_ref()), (Some("i:2"), None), "{deployment:?}");
        assert!(environment.contains(&("KEPT", "2")) && environment.contains(&("ADDED", "2")) && environment.len() == 2, "{environment:?}");
        assert_eq!(
            (main.ports.as_ref().map(Vec::len), json!(main.resources.as_ref().and_then(|all| all.limits.as_ref()))),
            (Some(1), Value::Null)
        );
        assert!(containers.iter().any(|container| container.name == "sidecar"), "{containers:?}");
        assert_eq!(deployment.annotations().get("example.com/mark").map(String::as_str), Some(others), "{deployment:?}");
    }
}

/// The object without what its controller may write at any time: the status, its owner, and the version that this makes.
fn without_status(deployment: &Deployment) -> Value {
    let mut object = json!(deployment);
    object["status"] = Value::Null;
    object["metadata"]["resourceVersion"] = Value::Null;
    object["metadata"]["managedFields"].as_array_mut().unwrap().retain(|entry| entry["subresource"] != "status");
    object
}

/// Somebody else adds a container and a mark to every deployment.
async fn meddle(site: &Site, namespace: &str, params: &PatchParams, patch: fn(Value) -> Patch<Value>) {
    let all: Api<Deployment> = Api::namespaced(site.client.clone(), namespace);
    let (all, params) = (&all, params);
    let patched = futures::stream::iter(0..PARTS).map(|part| async move {
        let addition = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"annotations": {"example.com/mark": "other"}},
            "spec": {"template": {"spec": {"containers": [{"name": "sidecar", "image": "s:1"}]}}}});
        all.patch(&format!("part-{part}"), params, &patch(addition)).await.unwrap()
    });
    patched.buffer_unordered(8).collect::<Vec<_>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_three_hundred_objects_is_upgraded() {
    let site = Site::start().await;
    site.namespace("merged").await;
    let (first, second) =
        (site.manifest("first.yaml", &list(release("merged", false))), site.manifest("second.yaml", &list(release("merged", true))));
    let apply = async |path: &PathBuf| site.kubectl(&format!("apply -f {}", path.display())).await.ok();
    let count = |said: &str, word: &str| said.lines().filter(|line| line.ends_with(word)).count();
    assert_eq!(count(&apply(&first).await, " created"), 5 * PARTS);
    meddle(&site, "merged", &PatchParams::default(), Patch::Strategic).await;
    assert_eq!(count(&apply(&second).await, " configured"), 5 * PARTS);
    upgraded(&site, "merged", "other").await;
    // What is applied again does not change, whatever kubectl says (it sends the order of containers that others have added to).
    until("the controller has noted all Deployments' revisions", SOON, async || {
        let deployments = of_release::<Deployment>(&site, "merged").await;
        let seen = |one: &Deployment| one.status.as_ref().and_then(|status| status.observed_generation) == one.metadata.generation;
        deployments.into_iter().find(|one| !seen(one)).map_or(Ok(()), |late| Err(format!("{late:?}")))
    })
    .await;
    let deployments = async || of_release::<Deployment>(&site, "merged").await.iter().map(without_status).collect::<Vec<_>>();
    let before = deployments().await;
    assert_eq!(count(&apply(&second).await, " unchanged"), 3 * PARTS);
    assert_eq!(deployments().await, before);
    site.kubectl(&format!("delete --wait=false -f {}", second.display())).await.ok();

    // The same by server-side apply, while another applies as well.
    site.namespace("applied").await;
    let (first, second) =
        (site.manifest("first.yaml", &list(release("applied", false))), site.manifest("second.yaml", &list(release("applied", true))));
    let apply = async |path: &PathBuf, more: &str| {
        site.kubectl(&format!("apply --server-side --field-manager=helm {more} -f {}", path.display())).await
    };
    assert_eq!(count(&apply(&first, "").await.ok(), " serverside-applied"), 5 * PARTS);
    meddle(&site, "applied", &PatchParams::apply("mesh"), Patch::Apply).await;
    apply(&second, "").await.ok();
    upgraded(&site, "applied", "other").await;

    // Two want the same field: the second is refused, takes it by force, and the first is refused from then on.
    let wanted = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "part-0", "namespace": "applied"}, "spec": {"replicas": 1}});
    let scaled = site.manifest("scaled.yaml", &wanted);
    // Old releases of kubectl would want all of it.
    let scale = format!("apply --server-side --validate=false --field-manager=scaler -f {}", scaled.display());
    site.kubectl(&scale).await.fails(1, &["conflict with \"helm\"", ".spec.replicas"]);
    site.kubectl(&format!("{scale} --force-conflicts")).await.ok();
    apply(&second, "").await.fails(1, &["conflict with \"scaler\"", ".spec.replicas"]);
    let left: Vec<Value> = release("applied", true)
        .into_iter()
        .map(|mut object| {
            object.pointer_mut("/spec").and_then(Value::as_object_mut).map(|spec| spec.remove("replicas"));
            object
        })
        .collect();
    let left = site.manifest("left.yaml", &list(left));
    apply(&left, "").await.ok();
    let deployments = of_release::<Deployment>(&site, "applied").await;
    let of =
        |name: &str| deployments.iter().find(|deployment| deployment.name_any() == name).and_then(|found| found.spec.as_ref()?.replicas);
    // Nobody wants the others' replicas any more, so they are what they are by themselves.
    assert_eq!((of("part-0"), of("part-1")), (Some(1), Some(1)));
}
