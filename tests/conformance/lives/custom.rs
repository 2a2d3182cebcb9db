//! Kinds that users define.

use serde_json::{Value, json};

use super::{create, home};
use crate::api::{Api, MERGE, TABLE, is};
use crate::case::{Case, SOON, contains};
use crate::discovery;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GROUP: &str = "conformance.example.com";

fn version(name: &str, storage: bool, schema: &Value) -> Value {
    json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": schema}})
}

fn definition(plural: &str, kind: &str, scope: &str, versions: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {"group": GROUP, "scope": scope, "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind}, "versions": versions},
    })
}

/// The type of a widget.
fn widget() -> Value {
    json!({"type": "object", "description": "A thing to try things with.", "properties": {
        "spec": {"type": "object", "required": ["color"], "properties": {
            "color": {"type": "string", "enum": ["red", "green", "blue"], "default": "blue", "description": "What it looks like."},
            "replicas": {"type": "integer", "minimum": 0, "maximum": 100},
            "port": {"x-kubernetes-int-or-string": true},
            "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "nested": {"type": "object", "properties": {"known": {"type": "string"}}},
            "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
                "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "size": {"type": "integer", "default": 7}}}},
        }},
        "status": {"type": "object", "properties": {
            "replicas": {"type": "integer"}, "phase": {"type": "string"}, "selector": {"type": "string"}}},
    }})
}

fn widgets() -> Value {
    let mut versions = json!([version("v1", true, &widget()), version("v2", false, &widget())]);
    for version in versions.as_array_mut().into_iter().flatten() {
        version["subresources"] = json!({"status": {}, "scale": {
            "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}});
        version["selectableFields"] = json!([{"jsonPath": ".spec.color"}]);
        version["additionalPrinterColumns"] = json!([
            {"name": "Color", "type": "string", "jsonPath": ".spec.color", "description": "What it looks like."},
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "description": "How many.", "priority": 1},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "How old."},
        ]);
    }
    definition("widgets", "Widget", "Namespaced", &versions)
}

fn condition(definition: &Value, kind: &str) -> Value {
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|one| one["type"] == kind).map(|one| one["status"].clone()).next().unwrap_or_default()
}

/// Creates a definition and waits until its objects are served.
async fn established(api: &Api, case: &Case, definition: &Value) -> bool {
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let (plural, _) = name.split_once('.').unwrap_or_default();
    create(api, case, DEFINITIONS, definition).await;
    case.soon(&format!("{name} is established"), async || {
        let now = api.get(&format!("{DEFINITIONS}/{name}")).await.body;
        let served = api.get(&format!("/apis/{GROUP}/v1/{plural}")).await;
        let ready = condition(&now, "Established") == "True" && condition(&now, "NamesAccepted") == "True" && served.code == 200;
        if ready { Ok(()) } else { Err(now["status"].clone()) }
    })
    .await
}

/// The kinds that go on the walk with the built-in ones.
pub async fn define(api: &Api) {
    let case = Case::new("custom kinds");
    let gadget = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"color": {"type": "string"}}}}});
    established(api, &case, &widgets()).await;
    established(api, &case, &definition("gadgets", "Gadget", "Cluster", &json!([version("v1", true, &gadget)]))).await;
    assert!(case.failures().is_empty(), "{:?}", case.failures());
    tricorn_e2e::until("discovery lists custom kinds", SOON, async || {
        let found = discovery::kinds(api).await.iter().filter(|kind| kind.is_custom()).count();
        if found == 3 { Ok(()) } else { Err(found) }
    })
    .await;
}

pub async fn definitions(api: &Api, case: &Case) {
    let plain = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let one = format!("{DEFINITIONS}/passers.{GROUP}");
    if !established(api, case, &definition("passers", "Passer", "Cluster", &json!([version("v1", true, &plain)]))).await {
        return;
    }
    let made = api.get(&one).await.body;
    case.equal("accepted names", &made["status"]["acceptedNames"]["kind"], &json!("Passer"));
    case.equal("a list kind is made up", &made["spec"]["names"]["listKind"], &json!("PasserList"));
    case.equal("stored versions", &made["status"]["storedVersions"], &json!(["v1"]));
    case.equal("conversion", &made["spec"]["conversion"]["strategy"], &json!("None"));
    let all = format!("/apis/{GROUP}/v1/passers");
    create(api, case, &all, &json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Passer", "metadata": {"name": "p"}, "a": "1"})).await;

    // A second definition of the same names is not served.
    let mut rival = definition("rivals", "Passer", "Cluster", &json!([version("v1", true, &plain)]));
    rival["spec"]["names"]["singular"] = json!("passer");
    create(api, case, DEFINITIONS, &rival).await;
    let rival = format!("{DEFINITIONS}/rivals.{GROUP}");
    case.soon("names that are taken are not accepted", async || {
        let now = api.get(&rival).await.body;
        if condition(&now, "NamesAccepted") == "False" { Ok(()) } else { Err(now["status"].clone()) }
    })
    .await;
    case.code("and its objects are not served", &api.get(&format!("/apis/{GROUP}/v1/rivals")).await, 404);
    api.delete(&rival).await;

    // A field more.
    let wider = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string", "description": "Second."}}});
    let patch = json!({"spec": {"versions": [version("v1", true, &wider)], "names": {"shortNames": ["ps"], "categories": ["all"]}}});
    case.code("a definition changes", &api.patch(&one, MERGE, &patch).await, 200);
    case.soon("the field is known", async || {
        let answer = api.patch(&format!("{all}/p?fieldValidation=Strict"), MERGE, &json!({"b": "2"})).await;
        if answer.code == 200 { Ok(()) } else { Err(answer.body) }
    })
    .await;
    case.soon("OpenAPI has it", async || {
        let index = api.get("/openapi/v3").await.body;
        let url = index["paths"][format!("apis/{GROUP}/v1")]["serverRelativeURL"].as_str().unwrap_or_default().to_owned();
        let schema = api.get(&url).await.body["components"]["schemas"]["com.example.conformance.v1.Passer"].clone();
        let v2 = api.get("/openapi/v2").await.body["definitions"]["com.example.conformance.v1.Passer"].clone();
        let known = [&schema, &v2].iter().all(|schema| schema["properties"]["b"]["description"] == "Second.");
        if known { Ok(()) } else { Err((schema, v2)) }
    })
    .await;
    case.soon("discovery has the short name", async || {
        let legacy = api.get(&format!("/apis/{GROUP}/v1")).await.body;
        let found = legacy["resources"].as_array().into_iter().flatten().find(|one| one["name"] == "passers").cloned().unwrap_or_default();
        if found["shortNames"] == json!(["ps"]) && found["categories"] == json!(["all"]) { Ok(()) } else { Err(found) }
    })
    .await;

    for (what, wrong) in [
        ("no schema", json!({"spec": {"versions": [{"name": "v1", "served": true, "storage": true}]}})),
        ("two stored versions", json!({"spec": {"versions": [version("v1", true, &plain), version("v2", true, &plain)]}})),
        ("no stored version", json!({"spec": {"versions": [version("v1", false, &plain)]}})),
        (
            "a schema without types",
            json!({"spec": {"versions": [version("v1", true, &json!({"type": "object", "properties": {"a": {}}}))]}}),
        ),
        ("another scope", json!({"spec": {"scope": "Namespaced"}})),
        ("another group", json!({"spec": {"group": "other.example.com"}})),
    ] {
        case.code(what, &api.patch(&format!("{one}?dryRun=All"), MERGE, &wrong).await, 422);
    }
    let mut misnamed = definition("misnamed", "Misnamed", "Cluster", &json!([version("v1", true, &plain)]));
    misnamed["metadata"]["name"] = json!("other.example.com");
    case.refused("a name that is not plural.group", &api.post(DEFINITIONS, &misnamed).await, 422, "Invalid", "metadata.name");

    // With the definition go the objects.
    let begun = api.get(&all).await.version();
    case.code("a definition is deleted", &api.delete(&one).await, 200);
    super::gone(api, case, &one).await;
    case.soon("its objects are served no more", async || match api.get(&all).await.code {
        404 => Ok(()),
        code => Err((code, begun.clone())),
    })
    .await;
    case.soon("discovery has forgotten it", async || {
        let legacy = api.get(&format!("/apis/{GROUP}/v1")).await.body;
        let found = legacy["resources"].as_array().into_iter().flatten().any(|one| one["name"] == "passers");
        if found { Err(legacy) } else { Ok(()) }
    })
    .await;
    if established(api, case, &definition("passers", "Passer", "Cluster", &json!([version("v1", true, &plain)]))).await {
        case.equal("a new definition begins empty", api.get(&all).await.names().len(), 0);
    }
}

pub async fn objects(api: &Api, case: &Case) {
    let namespace = home(api, case, "life-custom").await;
    let all = format!("/apis/{GROUP}/v1/namespaces/{namespace}/widgets");
    let widget =
        |name: &str, spec: Value| json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Widget", "metadata": {"name": name}, "spec": spec});
    let given = json!({"replicas": 2, "strange": 1, "nested": {"known": "k", "strange": 1}, "anything": {"goes": {"here": [1]}}, "port": "http",
        "parts": [{"name": "a"}]});
    let made = create(api, case, &all, &widget("w", given)).await;
    case.equal(
        "defaults are filled in and what is not known is dropped",
        &made.body["spec"],
        &json!({"replicas": 2, "nested": {"known": "k"}, "anything": {"goes": {"here": [1]}}, "port": "http", "parts": [{"name": "a", "size": 7}], "color": "blue"}),
    );
    case.equal("it begins with the first generation", made.body["metadata"]["generation"].as_i64(), Some(1));
    let generation = async |path: &str, patch: Value| api.patch(path, MERGE, &patch).await.body["metadata"]["generation"].as_i64();
    let one = format!("{all}/w");
    case.equal("a label makes no generation", generation(&one, json!({"metadata": {"labels": {"a": "b"}}})).await, Some(1));
    case.equal(
        "a status makes none",
        generation(&format!("{one}/status"), json!({"status": {"phase": "x", "selector": "a=b", "replicas": 2}})).await,
        Some(1),
    );
    case.equal("a change makes one", generation(&one, json!({"spec": {"replicas": 3}})).await, Some(2));
    let scale = api.get(&format!("{one}/scale")).await;
    case.equal("the scale", &scale.body["status"], &json!({"replicas": 2, "selector": "a=b"}));
    case.equal("what is wanted", scale.body["spec"]["replicas"].as_i64(), Some(3));

    for (what, spec, word) in [
        ("a wrong type", json!({"replicas": "two"}), "spec.replicas"),
        ("too many", json!({"replicas": 101}), "spec.replicas"),
        ("none of the choices", json!({"color": "mauve"}), "spec.color"),
        ("the same twice in a set", json!({"tags": ["a", "a"]}), "spec.tags"),
        ("the same key twice", json!({"parts": [{"name": "a"}, {"name": "a"}]}), "spec.parts"),
        ("a part without its key", json!({"parts": [{"size": 1}]}), "name"),
        ("neither number nor text", json!({"port": true}), "spec.port"),
    ] {
        let refused = api.post(&format!("{all}?dryRun=All"), &widget("x", spec)).await;
        case.check(
            &format!("{what} is refused"),
            matches!(refused.code, 400 | 422) && refused.text("/message").contains(word),
            &refused.body,
        );
    }
    create(api, case, &all, &widget("g", json!({"color": "green"}))).await;
    let green = api.get(&format!("{all}?fieldSelector=spec.color%3Dgreen")).await;
    case.equal("a field that can be selected by", green.names(), vec!["g".to_owned()]);
    case.code("one that cannot", &api.get(&format!("{all}?fieldSelector=spec.port%3Dx")).await, 400);

    let table = api.get_as(&all, TABLE).await;
    let columns = table.body["columnDefinitions"].as_array().into_iter().flatten();
    let columns: Vec<Value> = columns.map(|one| json!([one["name"], one["type"], one["priority"], one["description"]])).collect();
    let expected =
        json!([["Color", "string", 0, "What it looks like."], ["Replicas", "integer", 1, "How many."], ["Age", "date", 0, "How old."]]);
    case.equal("its columns", json!(columns[1..]), expected);
    case.equal("the first column", (&columns[0][0], &columns[0][1]), (&json!("Name"), &json!("string")));
    let row = table.body["rows"].as_array().into_iter().flatten().find(|row| row["cells"][0] == "g").cloned().unwrap_or_default();
    case.equal("its cells", (&row["cells"][1], &row["cells"][2]), (&json!("green"), &Value::Null));

    let apply = |manager: &str, parts: Value| {
        let object = widget("applied", json!({"color": "red", "parts": parts, "tags": [manager]}));
        let path = format!("{all}/applied?fieldManager={manager}");
        async move { api.patch(&path, crate::api::APPLY, &object).await }
    };
    apply("m", json!([{"name": "a", "size": 1}])).await;
    let both = apply("n", json!([{"name": "b", "size": 2}])).await;
    let expected = json!({"parts": [{"name": "a", "size": 1}, {"name": "b", "size": 2}], "tags": ["m", "n"]});
    case.check("two appliers of one list", contains(&both.body["spec"], &expected), &both.body);
}

pub async fn versions(api: &Api, case: &Case) {
    let namespace = home(api, case, "life-custom-versions").await;
    let all = |version: &str| format!("/apis/{GROUP}/{version}/namespaces/{namespace}/widgets");
    let object = json!({"apiVersion": format!("{GROUP}/v2"), "kind": "Widget", "metadata": {"name": "w"}, "spec": {"color": "red"}});
    create(api, case, &all("v2"), &object).await;
    for version in ["v1", "v2"] {
        let read = api.get(&format!("{}/w", all(version))).await;
        case.equal(version, read.text("/apiVersion"), &format!("{GROUP}/{version}"));
        let list = api.get(&all(version)).await;
        let item = &list.body["items"][0]["apiVersion"];
        case.equal(
            &format!("a list in {version}"),
            (list.text("/apiVersion"), item),
            (&*format!("{GROUP}/{version}"), &json!(format!("{GROUP}/{version}"))),
        );
        let mut watch = api.watch(&format!("{}?watch=true&timeoutSeconds=30&resourceVersion=0", all(version))).await;
        let event = watch.until(|event| is(event, "ADDED")).await.pop().unwrap_or_default();
        case.equal(&format!("a watch in {version}"), &event["object"]["apiVersion"], &json!(format!("{GROUP}/{version}")));
    }
    let changed = api.patch(&format!("{}/w", all("v1")), MERGE, &json!({"spec": {"color": "green"}})).await;
    case.code("a change in the other version", &changed, 200);
    case.equal("is seen in both", api.get(&format!("{}/w", all("v2"))).await.text("/spec/color"), "green");
    let legacy = api.get(&format!("/apis/{GROUP}")).await;
    case.equal("the preferred version", legacy.text("/preferredVersion/version"), "v2");
}
