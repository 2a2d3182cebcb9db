//! One version of one custom kind.

use super::columns;
use crate::endpoint::{Endpoint, ScalePaths, preference};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};
use tricorn_meta::{FieldError, GroupVersionKind, Timestamp};
use tricorn_schema::custom::{self, Rules};
use tricorn_schema::{Definitions, Node, Resource, Subresource, kinds, openapi};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The types that metadata is made of; every custom kind refers to them.
static METADATA_TYPES: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let wanted = |name: &String| name.starts_with("io.k8s.apimachinery.pkg.apis.meta.v1.");
    openapi::described_definitions().into_iter().filter(|(name, _)| wanted(name)).collect()
});

/// One version of one custom kind.
pub(crate) struct CustomKind {
    definitions: Definitions,
    name: String,
    pub list_kind: String,
    pub scale: Option<ScalePaths>,
    pub selectable: Vec<String>,
    /// What clients are told who still use this version, where it is going away.
    pub deprecation: Option<String>,
    columns: Vec<columns::Column>,
    group: String,
    kind: String,
    namespaced: bool,
    /// The schema as the definition has it.
    rules: Rules,
    /// Whether the schema has defaults at all.
    pub has_defaults: bool,
    /// The whole type, for OpenAPI.
    pub definition: Value,
}

impl CustomKind {
    pub(crate) fn node(&self) -> Node<'_> {
        match self.definitions.node(&self.name) {
            Some(node) => node,
            None => unreachable!("a custom kind is made with its definition"),
        }
    }

    pub(crate) fn default(&self, value: &mut Value) {
        custom::default(self.rules.schema(), value);
    }

    /// Whether an object lacks what the schema has defaults for by now.
    pub(crate) fn lacks_defaults(&self, value: &Value) -> bool {
        self.has_defaults && !custom::is_defaulted(self.rules.schema(), value)
    }

    /// What is wrong with an object that was `old` before, if it was anything.
    pub(crate) fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = match old {
            None => kinds::validate_create(&self.group, &self.kind, self.namespaced, new),
            Some(old) => kinds::validate_update(&self.group, &self.kind, new, old, None),
        };
        self.rules.check_object(new, old, &mut errors);
        errors
    }

    pub(crate) fn table(&self, objects: &[&Value], now: Timestamp) -> Value {
        columns::table(&self.columns, objects, now)
    }
}

/// The endpoints of a CustomResourceDefinition: one a served version, the stored version's first.
pub(crate) fn endpoints(crd: &Value) -> Vec<Arc<Endpoint>> {
    let spec = &crd["spec"];
    let stored = stored_version(spec).and_then(|version| version["name"].as_str()).unwrap_or_default();
    let served = spec["versions"].as_array().into_iter().flatten().filter(|version| version["served"] == true);
    served.filter_map(|version| endpoint(spec, version, stored)).map(Arc::new).collect()
}

/// The version that objects are stored in, whether it is served or not.
pub(super) fn stored_endpoint(crd: &Value) -> Option<Endpoint> {
    let spec = &crd["spec"];
    let version = stored_version(spec)?;
    endpoint(spec, version, version["name"].as_str()?)
}

fn stored_version(spec: &Value) -> Option<&Value> {
    spec["versions"].as_array()?.iter().find(|version| version["storage"] == true)
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

fn endpoint(spec: &Value, version: &Value, stored: &str) -> Option<Endpoint> {
    let (group, names) = (spec["group"].as_str()?, &spec["names"]);
    let (plural, kind_name, version_name) = (names["plural"].as_str()?, names["kind"].as_str()?, version["name"].as_str()?);
    let reversed: Vec<&str> = group.split('.').rev().collect();
    let definition_name = format!("{}.{version_name}.{kind_name}", reversed.join("."));
    let namespaced = spec["scope"] == "Namespaced";
    let resource = Resource {
        group: group.to_owned(),
        version: version_name.to_owned(),
        plural: plural.to_owned(),
        singular: names["singular"].as_str().map_or_else(|| kind_name.to_lowercase(), str::to_owned),
        kind: kind_name.to_owned(),
        namespaced,
        verbs: ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"].map(str::to_owned).to_vec(),
        short_names: words(&names["shortNames"]),
        categories: words(&names["categories"]),
        subresources: subresources(version, GroupVersionKind::new(group, version_name, kind_name)),
        storage_version: stored.to_owned(),
        definition: definition_name.clone(),
    };
    let kind = custom_kind(spec, version, &resource, definition_name);
    Some(Endpoint::custom(resource, Arc::new(kind)))
}

fn subresources(version: &Value, kind: GroupVersionKind) -> Vec<Subresource> {
    let verbs = || ["get", "patch", "update"].map(str::to_owned).to_vec();
    let mut all = Vec::new();
    if version["subresources"].get("status").is_some() {
        all.push(Subresource { name: "status".to_owned(), kind, verbs: verbs() });
    }
    if version["subresources"].get("scale").is_some() {
        all.push(Subresource { name: "scale".to_owned(), kind: GroupVersionKind::new("autoscaling", "v1", "Scale"), verbs: verbs() });
    }
    all
}

/// The definition's own words on a version that is going away, or those that name a better one.
fn deprecation(spec: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if version["deprecationWarning"].is_string() {
        return Some(text(&version["deprecationWarning"]));
    }
    let (group, kind, old) = (text(&spec["group"]), text(&spec["names"]["kind"]), text(&version["name"]));
    let others = spec["versions"].as_array().into_iter().flatten().filter(|other| other["served"] == true && other["deprecated"] != true);
    let newer = others.filter_map(|other| other["name"].as_str()).filter(|name| preference(name) < preference(&old));
    let instead = newer.min_by_key(|name| preference(name)).map(|name| format!("; use {group}/{name} {kind}"));
    Some(format!("{group}/{old} {kind} is deprecated{}", instead.unwrap_or_default()))
}

fn custom_kind(spec: &Value, version: &Value, resource: &Resource, name: String) -> CustomKind {
    let names = &spec["names"];
    let schema = version["schema"]["openAPIV3Schema"].clone();
    let mut definition =
        if schema.is_object() { schema.clone() } else { json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}) };
    custom::with_own_fields(&mut definition, &json!({"$ref": format!("#/definitions/{OBJECT_META}")}));
    definition["x-kubernetes-group-version-kind"] = json!([{"group": resource.group, "version": resource.version, "kind": resource.kind}]);
    let mut all = METADATA_TYPES.clone();
    all.insert(name.clone(), custom::closed(definition.clone()));
    let path = |text: &str| text.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let scale = version["subresources"].get("scale").map(|scale| ScalePaths {
        spec_replicas: path(scale["specReplicasPath"].as_str().unwrap_or_default()),
        status_replicas: path(scale["statusReplicasPath"].as_str().unwrap_or_default()),
        selector: scale["labelSelectorPath"].as_str().map(path),
    });
    let selectable = version["selectableFields"].as_array().into_iter().flatten();
    CustomKind {
        definitions: Definitions::from_openapi(&json!({"definitions": all})),
        name,
        list_kind: names["listKind"].as_str().map_or_else(|| format!("{}List", resource.kind), str::to_owned),
        scale,
        selectable: selectable.filter_map(|one| Some(one["jsonPath"].as_str()?.trim_start_matches('.').to_owned())).collect(),
        deprecation: deprecation(spec, version),
        columns: columns::read(&version["additionalPrinterColumns"]),
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        namespaced: resource.namespaced,
        has_defaults: custom::has_defaults(&schema),
        rules: Rules::new(schema),
        definition,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tricorn_registry::Object;

    #[test]
    fn a_custom_kind_is_printed_as_its_definition_says() {
        let crd = json!({"spec": {
            "group": "sea.example", "scope": "Namespaced", "names": {"plural": "crowns", "kind": "Crown"},
            "versions": [
                {"name": "v1", "served": true, "storage": true, "additionalPrinterColumns": [
                    {"name": "Pearls", "type": "integer", "jsonPath": ".spec.pearls"},
                    {"name": "Owner", "type": "string", "jsonPath": ".spec.owner", "priority": 1},
                ]},
                {"name": "v2", "served": true, "storage": false},
            ],
        }});
        let crown = json!({"metadata": {"name": "a"}, "spec": {"pearls": 3, "owner": "x"}});
        let expected = [
            (json!([["Name", 0], ["Pearls", 0], ["Owner", 1]]), json!(["a", 3, "x"])),
            (json!([["Name", 0], ["Age", 0]]), json!(["a", null])),
        ];
        for (endpoint, (columns, cells)) in endpoints(&crd).iter().zip(expected) {
            let table = endpoint.table(&[&crown], Timestamp::from_seconds(0));
            let found: Vec<_> =
                table["columnDefinitions"].as_array().unwrap().iter().map(|column| json!([column["name"], column["priority"]])).collect();
            assert_eq!((json!(found), &table["rows"][0]["cells"]), (columns, &cells), "{}", endpoint.version);
        }
    }

    #[test]
    fn versions_that_are_going_away_say_so() {
        let version = |name: &str, more: Value| {
            let mut version = json!({"name": name, "served": true, "storage": name == "v1"});
            version.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            version
        };
        let crd = json!({"spec": {"group": "sea.example", "names": {"plural": "crowns", "kind": "Crown"}, "versions": [
            version("v1", json!({})),
            version("v1beta1", json!({"deprecated": true})),
            version("v2", json!({"deprecated": true})),
            version("v1alpha1", json!({"deprecated": true, "deprecationWarning": "use pearls"})),
        ]}});
        let said: Vec<_> = endpoints(&crd).iter().map(|endpoint| endpoint.deprecation().unwrap_or_default()).collect();
        let expected =
            ["", "sea.example/v1beta1 Crown is deprecated; use sea.example/v1 Crown", "sea.example/v2 Crown is deprecated", "use pearls"];
        assert_eq!(said, expected);
    }

    /// The endpoint of a kind with this schema of its spec.
    fn of_spec(spec: &Value) -> Arc<Endpoint> {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
        let names = json!({"plural": "crowns", "kind": "Crown"});
        let crd = json!({"spec": {"group": "sea.example", "scope": "Namespaced", "names": names, "versions": [version]}});
        endpoints(&crd).remove(0)
    }

    fn crown(spec: &Value) -> Value {
        let metadata = json!({"name": "a", "namespace": "n", "uid": "u", "generation": 1});
        json!({"apiVersion": "sea.example/v1", "kind": "Crown", "metadata": metadata, "spec": spec})
    }

    #[test]
    fn what_was_stored_without_defaults_is_shown_with_them() {
        let endpoint =
            of_spec(&json!({"type": "object", "properties": {"pearls": {"type": "integer", "default": 3}, "name": {"type": "string"}}}));
        let (old, whole) = (crown(&json!({"name": "x"})), crown(&json!({"name": "x", "pearls": 3})));
        let served = |value: &Value| endpoint.serves_as_stored(&Object::unstored(value.clone()).unwrap());
        assert!(!served(&old) && served(&whole));
        assert_eq!(endpoint.shown(&old), whole);
        // To write down what was shown is no change of what is wanted.
        let mut new = whole.clone();
        endpoint.prepare_for_update(&mut new, &old, "");
        assert_eq!(new["metadata"]["generation"], 1);
    }

    #[test]
    fn an_update_is_held_to_what_it_changes() {
        let endpoint =
            of_spec(&json!({"type": "object", "properties": {"pearls": {"type": "integer", "maximum": 5}, "name": {"type": "string"}}}));
        let said = |new: &Value, old: &Value| {
            let errors = endpoint.validate_update(new, old, "");
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("|")
        };
        let old = crown(&json!({"pearls": 9}));
        assert_eq!(said(&crown(&json!({"pearls": 9, "name": "x"})), &old), "");
        assert_eq!(
            said(&crown(&json!({"pearls": 8})), &old),
            "spec.pearls: Invalid value: 8: spec.pearls in body should be less than or equal to 5"
        );
        let mut other = old.clone();
        other["metadata"]["uid"] = json!("v");
        assert_eq!(said(&other, &old), "metadata.uid: Invalid value: \"v\": field is immutable");
        // What a schema wants is for the schema to say; what metadata is, is known.
        assert_eq!(endpoint.mismatch(&crown(&json!({"pearls": "many"}))), None);
        let text = endpoint.mismatch(&json!({"metadata": {"labels": {"a": 1}}})).unwrap();
        assert!(text.contains("json: cannot unmarshal number into Go struct field"), "{text}");
    }
}
