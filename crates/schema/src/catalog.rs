//! The built-in resources, and the types that their objects have.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::node::{Definitions, Node};
use tricorn_meta::{GroupVersionKind, gvk};

/// All verbs, as `*` in the table stands for.
const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Something below an object that has verbs of its own: `pods/log`, `deployments/scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Its name, such as `status`.
    pub name: String,
    /// The kind that it takes and gives.
    pub kind: GroupVersionKind,
    /// Its verbs.
    pub verbs: Vec<String>,
}

/// A collection of objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version, such as `v1`.
    pub version: String,
    /// Its name in paths, such as `pods`.
    pub plural: String,
    /// Its name for one object, such as `pod`.
    pub singular: String,
    /// The kind of its objects, such as `Pod`.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Its verbs.
    pub verbs: Vec<String>,
    /// Its short names, such as `po`.
    pub short_names: Vec<String>,
    /// The categories it is listed under, such as `all`.
    pub categories: Vec<String>,
    /// What is below its objects.
    pub subresources: Vec<Subresource>,
    /// The version in which its objects are stored.
    pub storage_version: String,
    /// The name of its objects' type in OpenAPI.
    pub definition: String,
}

impl Resource {
    /// `group/version`, or `version` alone for the core group.
    pub fn api_version(&self) -> String {
        gvk::join_api_version(&self.group, &self.version)
    }

    /// Group, version and kind of its objects.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(&*self.group, &*self.version, &*self.kind)
    }

    /// What is below its objects under this name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether it has a verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// The type of its objects, when it is built in.
    pub fn schema(&self) -> Option<Node<'static>> {
        definitions().node(&self.definition)
    }
}

/// The resources of the built-in API.
#[derive(Debug)]
pub struct Catalog {
    resources: Vec<Resource>,
    by_path: HashMap<(String, String, String), usize>,
    by_kind: HashMap<GroupVersionKind, usize>,
}

impl Catalog {
    /// The resource that a path names.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.by_path.get(&key).map(|at| &self.resources[*at])
    }

    /// The resource whose objects have this kind.
    pub fn kind(&self, kind: &GroupVersionKind) -> Option<&Resource> {
        self.by_kind.get(kind).map(|at| &self.resources[*at])
    }

    /// All resources, groups and versions together and in the order of the table.
    pub fn resources(&self) -> std::slice::Iter<'_, Resource> {
        self.resources.iter()
    }

    /// The groups and their versions, each once, preferred version first, the core group included as `""`.
    pub fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for resource in &self.resources {
            match groups.iter_mut().find(|(group, _)| *group == resource.group) {
                Some((_, versions)) if versions.contains(&resource.version.as_str()) => {}
                Some((_, versions)) => versions.push(&resource.version),
                None => groups.push((&resource.group, vec![&resource.version])),
            }
        }
        groups
    }

    fn read(table: &str) -> Self {
        let mut resources: Vec<Resource> = Vec::new();
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (line.starts_with(' '), words.as_slice(), resources.last_mut()) {
                (true, [name, version, kind, verbs], Some(parent)) => {
                    let kind = match *version {
                        "=" => GroupVersionKind::new(&*parent.group, &*parent.version, *kind),
                        other => {
                            let (group, version) = gvk::split_api_version(other);
                            GroupVersionKind::new(group, version, *kind)
                        }
                    };
                    parent.subresources.push(Subresource { name: (*name).to_owned(), kind, verbs: read_verbs(verbs) });
                }
                (false, [group, version, plural, singular, kind, scope, verbs, short, categories], _) => {
                    let group = if *group == "core" { "" } else { group };
                    resources.push(Resource {
                        group: group.to_owned(),
                        version: (*version).to_owned(),
                        plural: (*plural).to_owned(),
                        singular: (*singular).to_owned(),
                        kind: (*kind).to_owned(),
                        namespaced: *scope == "namespaced",
                        verbs: read_verbs(verbs),
                        short_names: read_words(short),
                        categories: read_words(categories),
                        subresources: Vec::new(),
                        storage_version: storage_version(group, version).to_owned(),
                        definition: definition_name(group, version, kind),
                    });
                }
                _ => {}
            }
        }
        let by_path = resources.iter().enumerate().map(|(at, r)| ((r.group.clone(), r.version.clone(), r.plural.clone()), at)).collect();
        let by_kind = resources.iter().enumerate().map(|(at, r)| (r.gvk(), at)).collect();
        Self { resources, by_path, by_kind }
    }
}

/// Objects of a group with several versions are stored in one of them.
fn storage_version<'a>(group: &str, version: &'a str) -> &'a str {
    if group == "autoscaling" { "v2" } else { version }
}

fn read_verbs(text: &str) -> Vec<String> {
    if text == "*" { ALL_VERBS.iter().map(|v| (*v).to_owned()).collect() } else { read_words(text) }
}

fn read_words(text: &str) -> Vec<String> {
    if text == "-" { Vec::new() } else { text.split(',').map(str::to_owned).collect() }
}

/// The name that OpenAPI gives to a built-in kind.
pub fn definition_name(group: &str, version: &str, kind: &str) -> String {
    match group {
        "apiextensions.k8s.io" => format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{kind}"),
        "apiregistration.k8s.io" => format!("io.k8s.kube-aggregator.pkg.apis.apiregistration.{version}.{kind}"),
        "" => format!("io.k8s.api.core.{version}.{kind}"),
        group => format!("io.k8s.api.{}.{version}.{kind}", group.split('.').next().unwrap_or(group)),
    }
}

/// The built-in resources.
pub fn catalog() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::read(include_str!("../tables/resources")));
    &CATALOG
}

/// The types of the built-in kinds and all that they are made of.
pub fn definitions() -> &'static Definitions {
    static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(|| {
        let stripped = include_bytes!(concat!(env!("OUT_DIR"), "/definitions.json"));
        // The build wrote it; what cannot be read is an empty set, which the tests below would not pass.
        let document = serde_json::from_slice(stripped).unwrap_or_default();
        let mut definitions = Definitions::from_openapi(&document);
        for line in include_str!("../tables/merge").lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [type_name, field, rest @ ..] = words.as_slice() {
                definitions.set_merging(type_name, field, rest);
            }
        }
        definitions
    });
    &DEFINITIONS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Kind, ListType};

    #[test]
    fn every_resource_has_a_type() {
        for resource in catalog().resources() {
            let schema = resource.schema();
            assert!(schema.is_some(), "{} has no definition {}", resource.plural, resource.definition);
            assert_eq!(schema.map(Node::kind), Some(Kind::Object), "{}", resource.plural);
            assert!(
                schema.is_some_and(|s| s.field("metadata").is_some_and(|m| m.field("ownerReferences").is_some())),
                "{}",
                resource.plural
            );
        }
        assert_eq!(catalog().resources().count(), 68);
    }

    #[test]
    fn merge_keys_are_in_place() {
        let pod = catalog().resource("", "v1", "pods").and_then(Resource::schema);
        let containers = pod.and_then(|p| p.field("spec")).and_then(|s| s.field("containers"));
        assert_eq!(containers.and_then(Node::patch_merge_key), Some("name"));
        assert_eq!(containers.map(Node::list_type), Some(ListType::Map(&["name".to_owned()])));
        let ports = containers.and_then(Node::items).and_then(|c| c.field("ports"));
        assert_eq!(ports.map(Node::list_type), Some(ListType::Map(&["containerPort".to_owned(), "protocol".to_owned()])));
        let limits = containers.and_then(Node::items).and_then(|c| c.field("resources")).and_then(|r| r.field("limits"));
        assert_eq!(limits.and_then(Node::additional).map(Node::kind), Some(Kind::Quantity));
    }

    #[test]
    fn subresources_name_their_kinds() {
        let scale = catalog().resource("apps", "v1", "deployments").and_then(|d| d.subresource("scale"));
        assert_eq!(scale.map(|s| s.kind.clone()), Some(GroupVersionKind::new("autoscaling", "v1", "Scale")));
        assert_eq!(catalog().groups().first(), Some(&("", vec!["v1"])));
    }
}
