//! What clients are told beside the answer, and kinds whose definitions change under their objects.

use serde_json::{Value, json};

use super::{core, create, home, pod};
use crate::api::{Answer, Api, MERGE};
use crate::case::Case;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GROUP: &str = "spoken.example.com";

fn told(case: &Case, what: &str, answer: &Answer, words: &str) {
    let warnings = answer.warnings().join("\n").replace('\\', "");
    let fits = if words.is_empty() { warnings.is_empty() } else { warnings.contains(words) };
    case.check(what, fits, warnings);
}

pub async fn warnings(api: &Api, case: &Case) {
    let namespace = home(api, case, "life-warnings").await;
    let pods = core(&namespace, "pods");
    let plain = create(api, case, &pods, &pod("plain", json!({}))).await;
    told(case, "a plain pod", &plain, "");
    let mut twice = pod("twice", json!({}));
    twice["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    twice["spec"]["nodeSelector"] = json!({"beta.kubernetes.io/os": "linux"});
    let made = create(api, case, &pods, &twice).await;
    told(
        case,
        "a variable twice",
        &made,
        "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
    );
    told(case, "an old label", &made, "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead");
    let words = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
    told(case, "a list of a kind that is going", &api.get(&core(&namespace, "endpoints")).await, words);
}

fn vessels(spec: &Value) -> Value {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    let version = |name: &str, deprecated: bool| json!({"name": name, "served": true, "storage": !deprecated, "deprecated": deprecated, "schema": {"openAPIV3Schema": schema}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("vessels.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Cluster", "names": {"plural": "vessels", "singular": "vessel", "kind": "Vessel"},
            "versions": [version("v1", false), version("v1beta1", true)],
        },
    })
}

fn vessel(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Vessel", "metadata": {"name": name}, "spec": spec})
}

pub async fn custom(api: &Api, case: &Case) {
    let spec = json!({"type": "object", "properties": {
        "cargo": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"data": {"type": "object", "additionalProperties": {"type": "string"}}}},
        "empty": {"type": "object"},
        "masts": {"type": "integer"},
    }});
    let (one, all) = (format!("{DEFINITIONS}/vessels.{GROUP}"), format!("/apis/{GROUP}/v1/vessels"));
    create(api, case, DEFINITIONS, &vessels(&spec)).await;
    case.soon("vessels are served", async || if api.get(&all).await.code == 200 { Ok(()) } else { Err(()) }).await;
    told(
        case,
        "an old version",
        &api.get(&format!("/apis/{GROUP}/v1beta1/vessels")).await,
        &format!("{GROUP}/v1beta1 Vessel is deprecated; use {GROUP}/v1 Vessel"),
    );
    told(case, "the new version", &api.get(&all).await, "");

    let cargo = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "unheardOf": 1}, "data": {"a": "b"}, "other": 1});
    let made = create(api, case, &all, &vessel("a", &json!({"cargo": cargo, "empty": {"x": 1}, "masts": 9}))).await;
    let kept = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}});
    case.equal("an object inside of another", &made.body["spec"]["cargo"], &kept);
    case.equal("an object without fields", &made.body["spec"]["empty"], &json!({}));
    let bare = api.post(&all, &vessel("b", &json!({"cargo": {"kind": "ConfigMap"}}))).await;
    case.refused(
        "an object that does not say what it is",
        &bare,
        422,
        "Invalid",
        "spec.cargo.apiVersion: Required value: must not be empty",
    );

    // A definition that asks for more, of objects that were there before it did.
    let mut stricter = spec.clone();
    stricter["properties"]["masts"]["maximum"] = json!(5);
    stricter["properties"]["flag"] = json!({"type": "string", "default": "white"});
    let patch = json!({"spec": {"versions": vessels(&stricter)["spec"]["versions"]}});
    case.code("the definition changes", &api.patch(&one, MERGE, &patch).await, 200);
    case.soon("what was stored is shown with new defaults", async || match api.get(&format!("{all}/a")).await {
        answer if answer.body["spec"]["flag"] == "white" => Ok(()),
        answer => Err(answer.body),
    })
    .await;
    case.equal("in lists too", &api.get(&all).await.body["items"][0]["spec"]["flag"], &json!("white"));
    let path = format!("{all}/a");
    let other = api.patch(&path, MERGE, &json!({"spec": {"flag": "red"}})).await;
    case.code("what is not changed is let through", &other, 200);
    let changed = api.patch(&path, MERGE, &json!({"spec": {"masts": 8}})).await;
    case.refused("what is changed is not", &changed, 422, "Invalid", "spec.masts in body should be less than or equal to 5");
    api.delete(&one).await;
}
