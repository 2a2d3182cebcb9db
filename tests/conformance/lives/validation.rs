//! Unknown and duplicate fields, wherever they are.

use serde_json::json;

use super::{group, home};
use crate::api::{APPLY, Api, JSON_PATCH, MERGE, STRATEGIC};
use crate::case::Case;

pub async fn life(api: &Api, case: &Case) {
    let all = group("apps", &home(api, case, "life-validation").await, "deployments");
    let deployment = |name: &str, inside: &str| {
        format!(
            r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "{name}", "labels": {{"a": "b"}}}}, "spec": {{
                "replicas": 0, "selector": {{"matchLabels": {{"a": "b"}}}}, {inside}
                "template": {{"metadata": {{"labels": {{"a": "b"}}}}, "spec": {{"containers": [{{"name": "c", "image": "i", "imagee": "x"}}]}}}}}}}}"#
        )
    };
    let post = async |how: &str, body: String| {
        api.send("POST", &format!("{all}?fieldValidation={how}"), &[("content-type", "application/json")], body.into_bytes()).await
    };
    let body = deployment("a", r#""unknown1": "x", "paused": true, "paused": false,"#);
    let words = [
        r#"unknown field "spec.unknown1""#,
        r#"duplicate field "spec.paused""#,
        r#"unknown field "spec.template.spec.containers[0].imagee""#,
    ];
    let strict = post("Strict", body.clone()).await;
    for word in words {
        case.refused("strictly", &strict, 400, "BadRequest", word);
    }
    case.refused("strictly", &strict, 400, "BadRequest", r#"strict decoding error: unknown field "spec.unknown1", "#);
    let warned = post("Warn", body.clone()).await;
    if case.code("with warnings", &warned, 201) {
        let warnings = warned.warnings().join("\n").replace('\\', "");
        for word in words {
            case.check("with warnings", warnings.contains(word), &warnings);
        }
        case.check("the last of two counts", warned.body["spec"].get("paused").is_none_or(|paused| paused == false), &warned.body["spec"]);
    }
    let ignored = post("Ignore", body.replace("\"name\": \"a\"", "\"name\": \"b\"")).await;
    case.check("ignored", ignored.code == 201 && ignored.warnings().is_empty(), ignored.warnings());
    let by_default = post("", deployment("d", r#""unknown1": "x","#)).await;
    case.check("warned of by default", by_default.code == 201 && by_default.warnings().len() == 2, by_default.warnings());

    let one = format!("{all}/a?fieldValidation=Strict");
    let strange = json!({"spec": {"foo": 1}});
    for (media, patch) in
        [(MERGE, strange.clone()), (STRATEGIC, strange), (JSON_PATCH, json!([{"op": "add", "path": "/spec/foo", "value": 1}]))]
    {
        case.refused(media, &api.patch(&one, media, &patch).await, 422, "Invalid", "strict decoding error: unknown field \"spec.foo\"");
    }
    let twice = br#"{"spec": {"replicas": 1, "replicas": 0}}"#.to_vec();
    let twice = api.send("PATCH", &one, &[("content-type", MERGE)], twice).await;
    case.refused("a duplicate in a patch", &twice, 400, "BadRequest", r#"duplicate field "spec.replicas""#);
    let strange = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"foo": 1}});
    for how in ["Strict", "Warn", "Ignore"] {
        let applied = api.patch(&format!("{all}/a?fieldManager=m&fieldValidation={how}"), APPLY, &strange).await;
        case.code("an unknown field in an apply", &applied, 500);
        case.check("it is named", applied.text("/message").contains(".spec.foo: field not declared in schema"), &applied.body);
    }
    let widgets = "/apis/conformance.example.com/v1/namespaces/life-validation/widgets/w";
    let custom = "\napiVersion: conformance.example.com/v1\nkind: Widget\nmetadata:\n  name: w\nspec:\n  color: red\n  color: green\n";
    let path = format!("{widgets}?fieldManager=m&fieldValidation=Strict");
    let twice = api.send("PATCH", &path, &[("content-type", APPLY)], custom.as_bytes().to_vec()).await;
    case.refused("a duplicate in an apply", &twice, 400, "BadRequest", "line 8: key \"color\" already set in map");
    let custom =
        json!({"apiVersion": "conformance.example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "unknownField": 1, "spec": {}});
    let unknown = api.patch(&path, APPLY, &custom).await;
    case.check(
        "an unknown field in an apply of a custom kind",
        unknown.text("/message").contains(".unknownField: field not declared in schema"),
        &unknown.body,
    );

    let wrong = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}, "spec": {"replicas": "many"}});
    let words = "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32";
    case.refused("a text for a number", &api.post(&all, &wrong).await, 400, "BadRequest", words);
    let mut strange = api.get(&format!("{all}/a")).await.body;
    strange["metadata"]["unheardOf"] = json!("x");
    case.refused("in metadata", &api.put(&one, &strange).await, 400, "BadRequest", r#"unknown field "metadata.unheardOf""#);
    let yaml = b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: y}\nspec:\n  replicas: 1\n  replicas: 2\n".to_vec();
    let yaml = api.send("POST", &format!("{all}?fieldValidation=Strict"), &[("content-type", "application/yaml")], yaml).await;
    case.refused("a duplicate in YAML", &yaml, 400, "BadRequest", "line 6: key \"replicas\" already set in map");
}
