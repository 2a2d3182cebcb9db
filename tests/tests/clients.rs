//! The official Python and JavaScript clients and kube-rs, and what bad input gets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ApiResource, AttachParams, DeleteParams, DynamicObject, GroupVersionKind, LogParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tricorn_e2e::{Lab, javascript, python, run, run_within, until, within};

const SOON: Duration = Duration::from_secs(60);
/// Scripts take a while.
const SCRIPT: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn libraries_and_bad_input() {
    let Some(lab) = Lab::start(|config| config.workers = 1).await else { return };
    let watch = lab.watch_over();
    kube_rs(&lab).await;
    refusals(&lab).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/people.py");
    let said =
        run_within(SCRIPT, python("kubernetes", &["kubernetes"]).await, &[script], &[("KUBECONFIG", &lab.cluster.kubeconfig())]).await.ok();
    assert!(said.contains("all well"), "{said}");
    let said = run_within(SCRIPT, "node", &[javascript("kubernetes").await], &[("KUBECONFIG", &lab.cluster.kubeconfig())]).await.ok();
    assert!(said.contains("all well"), "{said}");
    drop(watch);
    lab.down().await;
}

async fn kube_rs(lab: &Lab) {
    let client = lab.client().await;
    let version = client.apiserver_version().await.unwrap();
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"));

    // A watcher sees what server-side apply makes; a second owner of the same field is refused.
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let config = watcher::Config::default().fields("metadata.name=applied");
    let mut seen = watcher(maps.clone(), config).applied_objects().boxed();
    let wanted = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": value}});
    maps.patch("applied", &PatchParams::apply("one"), &Patch::Apply(wanted("1"))).await.unwrap();
    let first = within("the watcher sees the object", SOON, seen.try_next()).await.unwrap().unwrap();
    assert_eq!(first.data.unwrap()["a"], "1");
    let refused = maps.patch("applied", &PatchParams::apply("two"), &Patch::Apply(wanted("2"))).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 409), "{refused}");
    maps.patch("applied", &PatchParams::apply("two").force(), &Patch::Apply(wanted("2"))).await.unwrap();
    let second = within("the watcher sees the change", SOON, seen.try_next()).await.unwrap().unwrap();
    assert_eq!(second.data.unwrap()["a"], "2");

    // The same through a type that is only known when it runs.
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
    let dynamic: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &kind);
    assert_eq!(dynamic.get("applied").await.unwrap().data["data"]["a"], "2");
    maps.delete("applied", &DeleteParams::default()).await.unwrap();

    // A pod's log, and a command in it.
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "rust"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "tricorn.local/busybox:1", "command": ["sh", "-c", "echo ready; sleep 3600"]}],
        },
    }));
    pods.create(&PostParams::default(), &pod.unwrap()).await.unwrap();
    until("the pod writes its log", SOON, async || match pods.logs("rust", &LogParams::default()).await {
        Ok(log) if log.trim() == "ready" => Ok(()),
        Ok(log) => Err(log),
        Err(error) => Err(error.to_string()),
    })
    .await;
    let mut attached = pods.exec("rust", ["cat", "/etc/hostname"], &AttachParams::default().stderr(false)).await.unwrap();
    let mut said = String::new();
    attached.stdout().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(said.trim(), "rust");
    pods.delete("rust", &DeleteParams::default()).await.unwrap();
}

/// Manifests and credentials that are wrong, each with words of the answer.
async fn refusals(lab: &Lab) {
    let deployment = |spec: &str| format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: bad}}\nspec: {spec}\n");
    let template = "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}";
    let cases = [
        (deployment(&format!("{{selector: {{matchLabels: {{a: c}}}}, {template}}}")), vec!["spec.template.metadata.labels", "selector"]),
        (
            deployment(&format!("{{replicas: -1, selector: {{matchLabels: {{a: b}}}}, {template}}}")),
            vec!["spec.replicas", "greater than or equal to 0"],
        ),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n".to_owned(), vec!["metadata.name", "RFC 1123"]),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {containers: [{name: c, imagee: x}]}\n".to_owned(), vec!["imagee"]),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: [{port: 70000}]}\n".to_owned(), vec!["spec.ports[0].port"]),
        ("apiVersion: v1\nkind: Nonsense\nmetadata: {name: bad}\n".to_owned(), vec!["Nonsense"]),
    ];
    for (manifest, words) in cases {
        lab.apply(&manifest).await.fails(1, &words);
    }
    let stranger = lab.scratch("stranger.kubeconfig");
    let server = format!("https://{}", lab.cluster.api());
    let config = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: '{server}', certificate-authority: {}}}}}]\n\
         users: [{{name: u, user: {{token: wrong}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\ncurrent-context: c\n",
        lab.cluster.dir().join("pki/ca.crt").display()
    );
    std::fs::write(&stranger, config).unwrap();
    let refused = run("kubectl", &["get", "pods"], &[("KUBECONFIG", stranger.as_path())]).await;
    refused.fails(1, &["nauthorized"]);
}
