//! What the server says of itself.

use serde_json::Value;

use crate::api::Api;
use crate::case::Case;
use crate::discovery;

pub async fn discovery(api: &Api, case: &Case) {
    let groups = api.get("/apis").await;
    case.equal("the groups' kind", groups.text("/kind"), "APIGroupList");
    for group in groups.body["groups"].as_array().into_iter().flatten() {
        let name = group["name"].as_str().unwrap_or_default();
        let versions: Vec<&Value> = group["versions"].as_array().into_iter().flatten().map(|one| &one["groupVersion"]).collect();
        case.check(
            &format!("{name}: the preferred version is one of its versions"),
            versions.contains(&&group["preferredVersion"]["groupVersion"]),
            group,
        );
        let one = api.get(&format!("/apis/{name}")).await;
        case.equal(&format!("{name} alone"), (one.text("/kind"), &one.body["preferredVersion"]), ("APIGroup", &group["preferredVersion"]));
    }
    // The kind of another life comes and goes while this one looks.
    for kind in discovery::kinds(api).await.into_iter().filter(|kind| kind.plural != "passers") {
        let path = kind.everywhere();
        let (path, _) = path.rsplit_once('/').unwrap_or_default();
        let legacy = api.get(path).await;
        case.equal(path, (legacy.text("/kind"), legacy.text("/groupVersion")), ("APIResourceList", &*kind.api_version()));
        let found = legacy.body["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|one| one["name"] == kind.plural.as_str())
            .cloned()
            .unwrap_or_default();
        let verbs: Vec<&str> = found["verbs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        case.equal(
            &kind.id(),
            (found["kind"].as_str(), found["namespaced"].as_bool(), verbs),
            (Some(&*kind.kind), Some(kind.namespaced), kind.verbs.iter().map(String::as_str).collect()),
        );
        for below in &kind.subresources {
            let name = format!("{}/{}", kind.plural, below.name);
            let listed = legacy.body["resources"].as_array().into_iter().flatten().any(|one| one["name"] == name.as_str());
            case.check(&format!("{name} is listed in the old form too"), listed, ());
        }
    }
    let core = api.get("/api").await;
    case.equal("the core group", (core.text("/kind"), core.text("/versions/0")), ("APIVersions", "v1"));
    case.code("a group that is not there", &api.get("/apis/not.there").await, 404);
    case.code("a version that is not there", &api.get("/apis/apps/v9").await, 404);
    case.code("a resource that is not there", &api.get("/api/v1/nothings").await, 404);
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let first = api.get_as("/apis", aggregated).await;
    let media = first.headers.get("content-type").and_then(|media| media.to_str().ok()).unwrap_or_default();
    case.check("discovery says what it is", media.contains("as=APIGroupDiscoveryList"), media);
    // Another life may define a kind between the two requests; then they are made again.
    case.soon("discovery that is known", async || {
        let known = api.get_as("/apis", aggregated).await;
        let tag = known.headers.get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default();
        let unchanged = api.send("GET", "/apis", &[("accept", aggregated), ("if-none-match", tag)], Vec::new()).await;
        if !tag.is_empty() && unchanged.code == 304 { Ok(()) } else { Err((tag.to_owned(), unchanged.code)) }
    })
    .await;
    let either = api.get_as("/apis", "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,application/json").await;
    case.equal("discovery in an unknown form or JSON", either.text("/kind"), "APIGroupList");
}

pub async fn openapi(api: &Api, case: &Case) {
    let v2 = api.get("/openapi/v2").await;
    case.equal("OpenAPI v2", v2.text("/swagger"), "2.0");
    // Custom kinds come and go while other cases run.
    let builtin = |kind: &&discovery::Kind| kind.has("get") && !kind.group.ends_with("example.com");
    for kind in discovery::kinds(api).await.iter().filter(builtin) {
        let is_it = |one: &Value| {
            one["group"] == kind.group.as_str() && one["version"] == kind.version.as_str() && one["kind"] == kind.kind.as_str()
        };
        let known = v2.body["definitions"]
            .as_object()
            .into_iter()
            .flatten()
            .any(|(_, definition)| definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten().any(is_it));
        case.check(&format!("OpenAPI v2 has {}", kind.id()), known, ());
    }
    let v3 = api.get("/openapi/v3").await;
    let url = v3.body["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap_or_default().to_owned();
    let document = api.get(&url).await;
    case.check("OpenAPI v3", document.text("/openapi").starts_with("3.0"), document.text("/openapi"));
    let deployment = &document.body["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    case.check("a description", deployment["description"].as_str().is_some_and(|text| !text.is_empty()), deployment);
    case.code("a group that is not there", &api.get("/openapi/v3/apis/not.there/v1").await, 404);
}

pub async fn health(api: &Api, case: &Case) {
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = api.get(path).await;
        case.equal(path, (answer.code, &*answer.bytes), (200, b"ok".as_slice()));
        let told = api.get(&format!("{path}?verbose")).await;
        let text = String::from_utf8_lossy(&told.bytes).into_owned();
        case.check(&format!("{path} in words"), text.contains("[+]ping ok") && text.contains("check passed"), text);
    }
    let told = api.get("/readyz?verbose&exclude=etcd&exclude=nothing").await;
    let text = String::from_utf8_lossy(&told.bytes).into_owned();
    case.check("an excluded check", text.contains("[+]etcd excluded: ok") && text.contains("no matches for \"nothing\""), text);
    case.equal("a check by itself", &*api.get("/livez/ping").await.bytes, b"ok".as_slice());
    case.code("a check that is not there", &api.get("/livez/nothing").await, 404);
    let version = api.get("/version").await;
    case.equal("the version", (version.text("/major"), version.text("/minor")), ("1", "36"));
    case.check("the version in words", version.text("/gitVersion").starts_with("v1.36."), &version.body);
    case.code("metrics", &api.get("/metrics").await, 200);
    case.code("a path that is not there", &api.get("/nothing").await, 404);
    let root = api.get("/").await;
    case.check(
        "the root lists paths",
        root.body["paths"].as_array().is_some_and(|paths| paths.iter().any(|path| path == "/apis")),
        &root.body,
    );
}
