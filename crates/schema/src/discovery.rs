//! Discovery: what the API serves, in the old form (`/api`, `/apis`, `/apis/GROUP/VERSION`) and in the aggregated one.

use serde_json::{Value, json};

use crate::catalog::{Resource, Subresource};
use tricorn_meta::gvk;

/// `/api`: the versions of the core group. `address` is where the server is reached, `HOST:PORT`.
pub fn api_versions(address: &str) -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
}

/// One group, for `/apis/GROUP` and in `/apis`: its versions, the preferred one first.
pub fn api_group(group: &str, versions: &[&str]) -> Value {
    let version = |v: &&str| json!({"groupVersion": gvk::join_api_version(group, v), "version": v});
    json!({"name": group, "versions": versions.iter().map(version).collect::<Vec<_>>(), "preferredVersion": versions.first().map(version)})
}

/// `/apis`: all groups but the core group.
pub fn api_group_list(groups: &[(&str, Vec<&str>)]) -> Value {
    let named = groups.iter().filter(|(group, _)| !group.is_empty());
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": named.map(|(group, versions)| api_group(group, versions)).collect::<Vec<_>>()})
}

/// `/apis/GROUP/VERSION`: the resources of one version of a group.
pub fn api_resource_list<'a>(group: &str, version: &str, resources: impl Iterator<Item = &'a Resource>) -> Value {
    let mut listed = Vec::new();
    for resource in resources.filter(|r| r.group == group && r.version == version) {
        listed.push(resource_entry(resource));
        listed.extend(resource.subresources.iter().map(|s| subresource_entry(resource, s)));
    }
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gvk::join_api_version(group, version), "resources": listed})
}

fn resource_entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    if resource.has_verb("list") {
        entry["storageVersionHash"] = json!(storage_version_hash(resource));
    }
    entry
}

fn subresource_entry(resource: &Resource, sub: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", resource.plural, sub.name), "singularName": "", "namespaced": resource.namespaced,
        "kind": sub.kind.kind, "verbs": sub.verbs,
    });
    if (sub.kind.group.as_str(), sub.kind.version.as_str()) != (resource.group.as_str(), resource.version.as_str()) {
        entry["group"] = json!(sub.kind.group);
        entry["version"] = json!(sub.kind.version);
    }
    entry
}

/// A short text that changes when the stored form of a resource does.
fn storage_version_hash(resource: &Resource) -> String {
    use base64::Engine;
    // FNV-1a: any stable hash will do, since the text is only ever compared with itself.
    let name = format!("{}/{}/{}", resource.group, resource.storage_version, resource.kind);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    base64::engine::general_purpose::STANDARD.encode(hash.to_be_bytes())
}

/// The aggregated form: all groups, or the core group alone for `/api`, with all their resources.
pub fn aggregated<'a>(groups: &[(&str, Vec<&str>)], resources: impl Iterator<Item = &'a Resource> + Clone) -> Value {
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let of = resources.clone().filter(|r| r.group == *group && r.version == *version);
                    json!({"version": version, "freshness": "Current", "resources": of.map(aggregated_resource).collect::<Vec<_>>()})
                })
                .collect();
            let mut metadata = json!({"creationTimestamp": null});
            if !group.is_empty() {
                metadata["name"] = json!(group);
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|s| {
            json!({"subresource": s.name, "verbs": s.verbs,
                "responseKind": {"group": s.kind.group, "version": s.kind.version, "kind": s.kind.kind}})
        })
        .collect();
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    for (key, words) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !words.is_empty() {
            entry[key] = json!(words);
        }
    }
    if !subresources.is_empty() {
        entry["subresources"] = json!(subresources);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::catalog;

    #[test]
    fn the_two_forms_say_the_same() {
        let groups = catalog().groups();
        let all = aggregated(&groups, catalog().resources());
        let counted: usize = all["items"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|group| group["versions"].as_array().into_iter().flatten())
            .map(|version| version["resources"].as_array().map_or(0, Vec::len))
            .sum();
        assert_eq!(counted, catalog().resources().count());
        let apps = api_resource_list("apps", "v1", catalog().resources());
        let names: Vec<&str> = apps["resources"].as_array().into_iter().flatten().filter_map(|r| r["name"].as_str()).collect();
        assert!(names.contains(&"deployments/scale"), "{names:?}");
        assert_eq!(api_group_list(&groups)["groups"][0]["preferredVersion"]["version"], "v1");
    }
}
