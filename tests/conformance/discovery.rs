//! What the server says that it serves: the walk takes every kind from here, so that no new one can be forgotten.

use serde_json::Value;

use crate::api::Api;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// What hangs below an object.
#[derive(Clone, Debug)]
pub struct Subresource {
    pub name: String,
    pub verbs: Vec<String>,
}

/// A resource in one version.
#[derive(Clone, Debug)]
pub struct Kind {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
    pub subresources: Vec<Subresource>,
}

impl Kind {
    /// `apps/v1/deployments`, `v1/pods`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.api_version(), self.plural)
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of all its objects.
    pub fn everywhere(&self) -> String {
        let root = if self.group.is_empty() { "api" } else { "apis" };
        format!("/{root}/{}/{}", self.api_version(), self.plural)
    }

    /// The path of its objects in a namespace.
    pub fn collection(&self, namespace: &str) -> String {
        if !self.namespaced {
            return self.everywhere();
        }
        let root = if self.group.is_empty() { "api" } else { "apis" };
        format!("/{root}/{}/namespaces/{namespace}/{}", self.api_version(), self.plural)
    }

    pub fn has(&self, verb: &str) -> bool {
        self.verbs.iter().any(|one| one == verb)
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|one| one.name == name)
    }

    pub fn is_custom(&self) -> bool {
        self.group.ends_with("example.com")
    }
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Everything, from the aggregated documents.
pub async fn kinds(api: &Api) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for path in ["/api", "/apis"] {
        let answer = api.get_as(path, AGGREGATED).await;
        for group in answer.body["items"].as_array().into_iter().flatten() {
            for version in group["versions"].as_array().into_iter().flatten() {
                kinds.extend(version["resources"].as_array().into_iter().flatten().map(|resource| kind(group, version, resource)));
            }
        }
    }
    kinds
}

fn kind(group: &Value, version: &Value, resource: &Value) -> Kind {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let below = resource["subresources"].as_array().into_iter().flatten();
    Kind {
        group: text(&group["metadata"]["name"]),
        version: text(&version["version"]),
        plural: text(&resource["resource"]),
        kind: text(&resource["responseKind"]["kind"]),
        namespaced: resource["scope"] == "Namespaced",
        verbs: words(&resource["verbs"]),
        subresources: below.map(|one| Subresource { name: text(&one["subresource"]), verbs: words(&one["verbs"]) }).collect(),
    }
}
