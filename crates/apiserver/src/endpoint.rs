//! A resource in one served version: what the handlers know of a kind. Everything here is data; built-in and custom resources differ in where it came from.

use crate::custom::CustomKind;
use crate::stamp;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use tricorn_meta::{FieldError, GroupVersionKind, GroupVersionResource, Timestamp, gvk};
use tricorn_registry::{Object, StoredResource};
use tricorn_schema::{Node, Resource, catalog};

/// Where the replicas of a kind are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScalePaths {
    pub spec_replicas: Vec<String>,
    pub status_replicas: Vec<String>,
    pub selector: Option<Vec<String>>,
}

/// Where the kind's schema is.
enum Source {
    Builtin(Node<'static>),
    Custom(Arc<CustomKind>),
}

/// A resource in one served version.
pub(crate) struct Endpoint {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub namespaced: bool,
    pub resource: Resource,
    pub stored: StoredResource,
    source: Source,
}

impl Endpoint {
    fn builtin(resource: &Resource) -> Option<Self> {
        let stored = StoredResource::builtin(&resource.group, &resource.plural, resource.namespaced);
        Some(Self::new(resource.clone(), stored, Source::Builtin(resource.schema()?)))
    }

    /// A version of a custom resource.
    pub(crate) fn custom(resource: Resource, kind: Arc<CustomKind>) -> Self {
        let stored = StoredResource::custom(&resource.group, &resource.plural, resource.namespaced);
        Self::new(resource, stored, Source::Custom(kind))
    }

    fn new(resource: Resource, stored: StoredResource, source: Source) -> Self {
        Self {
            group: resource.group.clone(),
            version: resource.version.clone(),
            kind: resource.kind.clone(),
            plural: resource.plural.clone(),
            namespaced: resource.namespaced,
            resource,
            stored,
            source,
        }
    }

    pub(crate) fn api_version(&self) -> String {
        gvk::join_api_version(&self.group, &self.version)
    }

    pub(crate) fn gvk(&self) -> GroupVersionKind {
        self.resource.gvk()
    }

    pub(crate) fn gvr(&self) -> GroupVersionResource {
        GroupVersionResource::new(&*self.group, &*self.version, &*self.plural)
    }

    /// The group of the stored form: Events are stored as the core group's, whatever group they came through.
    fn stored_group(&self) -> &str {
        if self.group == "events.k8s.io" { "" } else { &self.group }
    }

    pub(crate) fn list_kind(&self) -> String {
        match &self.source {
            Source::Builtin(_) => format!("{}List", self.kind),
            Source::Custom(kind) => kind.list_kind.clone(),
        }
    }

    pub(crate) fn is_builtin(&self) -> bool {
        matches!(self.source, Source::Builtin(_))
    }

    /// The custom kind that it is a version of.
    pub(crate) fn custom_kind(&self) -> Option<&CustomKind> {
        match &self.source {
            Source::Builtin(_) => None,
            Source::Custom(kind) => Some(kind),
        }
    }

    pub(crate) fn has_verb(&self, verb: &str) -> bool {
        self.resource.has_verb(verb)
    }

    pub(crate) fn has_subresource(&self, name: &str) -> bool {
        self.resource.subresource(name).is_some()
    }

    pub(crate) fn has_status(&self) -> bool {
        self.has_subresource("status")
    }

    /// The schema of the objects.
    pub(crate) fn node(&self) -> Node<'_> {
        match &self.source {
            Source::Builtin(node) => *node,
            Source::Custom(kind) => kind.node(),
        }
    }

    /// Takes out what the kind does not know; answers the paths.
    pub(crate) fn prune(&self, value: &mut Value) -> Vec<String> {
        tricorn_schema::prune(self.node(), value)
    }

    /// Why the object cannot be read: what has the wrong JSON type. Of custom kinds only metadata is read; the rest is for the schema to refuse.
    pub(crate) fn mismatch(&self, value: &Value) -> Option<String> {
        let found = tricorn_schema::mismatches(self.node(), value);
        let read = |path: &str| self.is_builtin() || path.split('.').next() == Some("metadata");
        found.into_iter().find(|one| one.too_deep || read(&one.path)).map(|one| one.reason)
    }

    pub(crate) fn default(&self, value: &mut Value) {
        match &self.source {
            Source::Builtin(_) => tricorn_schema::defaults::default(self.stored_group(), &self.kind, value),
            Source::Custom(kind) => kind.default(value),
        }
    }

    pub(crate) fn prepare_for_create(&self, value: &mut Value) {
        match &self.source {
            Source::Builtin(_) => tricorn_schema::kinds::prepare_for_create(self.stored_group(), &self.kind, value),
            Source::Custom(_) => {
                if self.has_status()
                    && let Some(object) = value.as_object_mut()
                {
                    object.shift_remove("status");
                }
                value["metadata"]["generation"] = json!(1);
            }
        }
    }

    /// Keeps what this way of updating may not change.
    pub(crate) fn prepare_for_update(&self, new: &mut Value, old: &Value, subresource: &str) {
        if let Some(confined) = crate::subresources::confined(subresource, new, old) {
            *new = confined;
            return;
        }
        match &self.source {
            Source::Builtin(_) => {
                let subresource = Some(subresource).filter(|name| !name.is_empty());
                tricorn_schema::kinds::prepare_for_update(self.stored_group(), &self.kind, new, old, subresource);
            }
            Source::Custom(kind) => {
                let mut old = old.clone();
                kind.default(&mut old);
                self.prepare_custom(new, &old, subresource);
            }
        }
    }

    fn prepare_custom(&self, new: &mut Value, old: &Value, subresource: &str) {
        let take = |into: &mut Value, from: &Value, field: &str| {
            if let Some(object) = into.as_object_mut() {
                match from.get(field) {
                    Some(value) => object.insert(field.to_owned(), value.clone()),
                    None => object.shift_remove(field),
                };
            }
        };
        if subresource == "status" {
            let mut result = old.clone();
            take(&mut result, new, "status");
            if let Some(managed) = new["metadata"].get("managedFields") {
                result["metadata"]["managedFields"] = managed.clone();
            }
            *new = result;
            return;
        }
        if self.has_status() {
            take(new, old, "status");
        }
        let body = |value: &Value| {
            let mut value = value.clone();
            if let Some(object) = value.as_object_mut() {
                object.shift_remove("metadata");
                if self.has_status() {
                    object.shift_remove("status");
                }
            }
            value
        };
        if body(new) != body(old) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            new["metadata"]["generation"] = json!(generation + 1);
        }
    }

    pub(crate) fn validate_create(&self, value: &Value) -> Vec<FieldError> {
        match &self.source {
            Source::Builtin(_) => tricorn_schema::kinds::validate_create(&self.group, &self.kind, self.namespaced, value),
            Source::Custom(kind) => kind.validate(value, None),
        }
    }

    pub(crate) fn validate_update(&self, new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        match &self.source {
            Source::Builtin(_) => {
                let subresource = Some(subresource).filter(|name| !name.is_empty());
                tricorn_schema::kinds::validate_update(&self.group, &self.kind, new, old, subresource)
            }
            Source::Custom(kind) => kind.validate(new, Some(old)),
        }
    }

    /// Whether objects may be selected by this field.
    pub(crate) fn selects_by(&self, field: &str) -> bool {
        match &self.source {
            Source::Builtin(_) => {
                tricorn_schema::fields::supported(&self.group, &self.kind).contains(&field)
                    || matches!(field, "metadata.name" | "metadata.namespace")
            }
            Source::Custom(kind) => {
                matches!(field, "metadata.name" | "metadata.namespace") || kind.selectable.iter().any(|one| one == field)
            }
        }
    }

    /// What an object has in a field that it may be selected by.
    pub(crate) fn field(&self, object: &Object, field: &str) -> Option<String> {
        match (&self.source, field) {
            (_, "metadata.name") => Some(object.name().to_owned()),
            (_, "metadata.namespace") => Some(object.namespace().to_owned()),
            (Source::Builtin(_), _) if self.is_version(object.api_version()) => {
                tricorn_schema::fields::value(&self.group, &self.kind, object.value(), field)
            }
            (Source::Builtin(_), _) => tricorn_schema::fields::value(&self.group, &self.kind, &self.shown(object.value()), field),
            (Source::Custom(_), _) => Some(match field.split('.').try_fold(object.value(), |at, name| at.get(name)) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            }),
        }
    }

    /// The objects as a meta.k8s.io/v1 Table, without the objects in its rows.
    pub(crate) fn table(&self, objects: &[&Value], now: Timestamp) -> Value {
        match &self.source {
            Source::Builtin(_) => tricorn_schema::columns::table(&self.group, &self.kind, objects, now),
            Source::Custom(kind) => kind.table(objects, now),
        }
    }

    fn is_version(&self, api_version: &str) -> bool {
        gvk::split_api_version(api_version) == (self.group.as_str(), self.version.as_str())
    }

    /// Whether a stored object is in this version already, and says all that it would say if it were written now, so that its bytes can be served as
    /// they are.
    pub(crate) fn serves_as_stored(&self, object: &Object) -> bool {
        self.is_version(object.api_version())
            && self.custom_kind().is_none_or(|kind| !kind.has_defaults || !kind.lacks_defaults(object.value()))
    }

    /// A stored object in this version.
    pub(crate) fn shown(&self, value: &Value) -> Value {
        let mut value = value.clone();
        if !self.is_version(stamp::api_version(&value)) {
            crate::convert::convert(&mut value, &self.group, &self.version);
        }
        if let Source::Custom(kind) = &self.source
            && kind.lacks_defaults(&value)
        {
            kind.default(&mut value);
        }
        value
    }

    /// An object of this version in the version that is stored.
    pub(crate) fn to_stored(&self, mut value: Value) -> Value {
        let (group, version) = match (self.group.as_str(), self.plural.as_str()) {
            ("events.k8s.io", "events") => ("", "v1"),
            _ => (self.group.as_str(), self.resource.storage_version.as_str()),
        };
        if (group, version) != (self.group.as_str(), self.version.as_str()) {
            crate::convert::convert(&mut value, group, version);
        }
        value
    }

    /// Whether an update may leave out the version that it was made for.
    pub(crate) fn allows_unconditional_update(&self) -> bool {
        self.is_builtin() && !matches!(self.plural.as_str(), "customresourcedefinitions" | "apiservices" | "resourceclaims")
    }

    /// Whether an update of what is not there creates it.
    pub(crate) fn allows_create_on_update(&self) -> bool {
        matches!(
            (self.group.as_str(), self.plural.as_str()),
            ("", "limitranges" | "events" | "endpoints" | "serviceaccounts" | "services")
                | ("coordination.k8s.io", "leases")
                | ("rbac.authorization.k8s.io", _)
                | ("node.k8s.io", "runtimeclasses")
        )
    }

    pub(crate) fn scale_paths(&self) -> Option<ScalePaths> {
        match &self.source {
            Source::Custom(kind) => kind.scale.clone(),
            Source::Builtin(_) if self.has_subresource("scale") => {
                let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
                Some(ScalePaths {
                    spec_replicas: path("spec.replicas"),
                    status_replicas: path("status.replicas"),
                    selector: Some(path("spec.selector")),
                })
            }
            Source::Builtin(_) => None,
        }
    }
}

/// Everything that is served, by path.
pub(crate) struct Endpoints {
    by_path: HashMap<(String, String, String), Arc<Endpoint>>,
    /// In the order of discovery.
    in_order: Vec<Arc<Endpoint>>,
}

impl Endpoints {
    /// The built-in resources.
    pub(crate) fn builtin() -> Self {
        let in_order = catalog().resources().filter_map(Endpoint::builtin).map(Arc::new).collect();
        Self::of(in_order)
    }

    fn of(in_order: Vec<Arc<Endpoint>>) -> Self {
        let by_path = in_order.iter().map(|one| ((one.group.clone(), one.version.clone(), one.plural.clone()), one.clone())).collect();
        Self { by_path, in_order }
    }

    /// The built-in ones with these custom ones.
    pub(crate) fn with_custom(&self, custom: Vec<Arc<Endpoint>>) -> Self {
        let mut all: Vec<_> = self.in_order.iter().filter(|one| one.is_builtin()).cloned().collect();
        all.extend(custom.into_iter().filter(|one| !all_has(&self.in_order, one)));
        Self::of(all)
    }

    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Endpoint>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned())).cloned()
    }

    pub(crate) fn any_version(&self, group: &str, plural: &str) -> Option<Arc<Endpoint>> {
        self.in_order.iter().find(|one| one.group == group && one.plural == plural).cloned()
    }

    pub(crate) fn all(&self) -> &[Arc<Endpoint>] {
        &self.in_order
    }

    /// Groups with their versions, preferred first.
    pub(crate) fn groups(&self) -> Vec<(&str, Vec<&str>)> {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for endpoint in &self.in_order {
            match groups.iter_mut().find(|(group, _)| *group == endpoint.group) {
                Some((_, versions)) if versions.contains(&endpoint.version.as_str()) => {}
                Some((_, versions)) => versions.push(&endpoint.version),
                None => groups.push((&endpoint.group, vec![&endpoint.version])),
            }
        }
        groups.iter_mut().for_each(|(_, versions)| versions.sort_by_key(|version| preference(version)));
        groups
    }

    pub(crate) fn resources(&self) -> impl Iterator<Item = &Resource> + Clone {
        self.in_order.iter().map(|endpoint| &endpoint.resource)
    }
}

/// Puts versions in the order of preference: stable, beta, alpha, newer before older; names of another form come last.
pub(crate) fn preference(version: &str) -> (u8, Reverse<u64>, Reverse<u64>, &str) {
    let other = (3, Reverse(0), Reverse(0), version);
    let number = |text: &str| text.parse::<u64>().ok();
    let Some(rest) = version.strip_prefix('v') else { return other };
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let Some(major) = number(&rest[..end]) else { return other };
    let (stage, minor) = match &rest[end..] {
        "" => (0, Some(0)),
        rest if rest.starts_with("beta") => (1, number(&rest[4..])),
        rest if rest.starts_with("alpha") => (2, number(&rest[5..])),
        _ => return other,
    };
    minor.map_or(other, |minor| (stage, Reverse(major), Reverse(minor), ""))
}

/// Whether a built-in resource has this path already.
fn all_has(endpoints: &[Arc<Endpoint>], one: &Endpoint) -> bool {
    endpoints.iter().any(|other| other.is_builtin() && other.group == one.group && other.plural == one.plural)
}

impl Endpoint {
    /// The type of a custom kind, with its name in OpenAPI.
    pub(crate) fn custom_definition(&self) -> Option<(String, Value)> {
        match &self.source {
            Source::Builtin(_) => None,
            Source::Custom(kind) => Some((self.resource.definition.clone(), kind.definition.clone())),
        }
    }

    /// Changes when the type of a custom kind does.
    pub(crate) fn node_hash(&self) -> String {
        self.custom_definition()
            .map(|(name, definition)| crate::discovery::hash(format!("{name}{definition}").as_bytes()))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_preferred_as_upstream_prefers_them() {
        let mut versions = vec!["foo10", "v1beta1", "v10", "v2", "v3beta1", "v11alpha2", "v11beta2", "foo1", "v12alpha1"];
        versions.sort_by_key(|version| preference(version));
        assert_eq!(versions, ["v10", "v2", "v11beta2", "v3beta1", "v1beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]);
    }
}
