//! The schema graph: what type each field has and how it merges, for built-in kinds and custom resources alike.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A JSON object: a structure with named fields, a map, or both.
    Object,
    /// A list.
    Array,
    /// A string.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A whole number or a string.
    IntOrString,
    /// An amount of a resource: a string or a number.
    Quantity,
    /// Anything.
    Any,
}

/// How a list merges on server-side apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType<'a> {
    /// As a whole.
    Atomic,
    /// By its values, each of which is there once.
    Set,
    /// By these fields of its items.
    Map(&'a [String]),
}

/// How an object merges on server-side apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapType {
    /// Field by field.
    Granular,
    /// As a whole.
    Atomic,
}

/// How a field merges on a strategic merge patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategies {
    /// A list merges by its merge key, or by value.
    pub merge: bool,
    /// The field is replaced as a whole.
    pub replace: bool,
    /// Fields of the object that the patch does not retain go.
    pub retain_keys: bool,
}

/// How one place of the graph merges; what is `None` is left to the type it refers to.
#[derive(Clone, Debug, Default)]
struct Merging {
    list: Option<List>,
    map: Option<MapType>,
    merge_key: Option<String>,
    strategies: PatchStrategies,
}

#[derive(Clone, Debug)]
enum List {
    Atomic,
    Set,
    Map(Vec<String>),
}

/// One place of the graph.
#[derive(Clone, Debug)]
struct Place {
    /// The definition that it refers to; then all but `merging`, `default` and `nullable` are that one's.
    target: Option<usize>,
    kind: Kind,
    format: Option<Box<str>>,
    fields: HashMap<Box<str>, usize>,
    required: Vec<Box<str>>,
    additional: Option<usize>,
    items: Option<usize>,
    preserve_unknown: bool,
    nullable: bool,
    merging: Merging,
    default: Option<Value>,
    /// The definition's name, where this is one.
    name: Option<Box<str>>,
}

impl Place {
    fn of(kind: Kind) -> Self {
        Self {
            target: None,
            kind,
            format: None,
            fields: HashMap::new(),
            required: Vec::new(),
            additional: None,
            items: None,
            preserve_unknown: false,
            nullable: false,
            merging: Merging::default(),
            default: None,
            name: None,
        }
    }
}

/// A set of types that refer to each other by name.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    places: Vec<Place>,
    names: HashMap<String, usize>,
}

impl Definitions {
    /// Reads the `definitions` of OpenAPI v2, the `components.schemas` of v3, the `$defs` of JSON Schema, or a bare map of them.
    pub fn from_openapi(document: &Value) -> Self {
        let schemas = document
            .get("definitions")
            .or_else(|| document.get("$defs"))
            .or_else(|| document.get("components").and_then(|components| components.get("schemas")))
            .unwrap_or(document);
        let mut definitions = Self::default();
        let Some(schemas) = schemas.as_object() else { return definitions };
        // Names first, so that types may refer to each other whatever their order.
        for name in schemas.keys() {
            let id = definitions.push(Place::of(Kind::Any));
            definitions.names.insert(name.clone(), id);
        }
        for (name, schema) in schemas {
            let mut place = definitions.read(schema, name);
            place.name = Some(name.as_str().into());
            if let Some(id) = definitions.names.get(name) {
                definitions.places[*id] = place;
            }
        }
        definitions
    }

    /// Reads one schema, such as a custom resource's `openAPIV3Schema`, as the only definition, called `name`.
    pub fn from_schema(name: &str, schema: &Value) -> Self {
        let mut definitions = Self::default();
        let mut place = definitions.read(schema, name);
        place.name = Some(name.into());
        let id = definitions.push(place);
        definitions.names.insert(name.to_owned(), id);
        definitions
    }

    /// The root of a type.
    pub fn node(&self, name: &str) -> Option<Node<'_>> {
        self.names.get(name).map(|id| Node { definitions: self, id: *id })
    }

    /// The names of all types, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Sets how a field (or with `.`, the type itself) merges, from words such as `list=map:name patch=merge key=name`.
    /// Types and fields that are not there are passed over.
    pub(crate) fn set_merging(&mut self, type_name: &str, field: &str, words: &[&str]) {
        let Some(mut id) = self.names.get(type_name).copied() else { return };
        if field != "." {
            let Some(at) = self.places[id].fields.get(field) else { return };
            id = *at;
        }
        let place = &mut self.places[id];
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "list" => place.merging.list = read_list(value),
                "map" => place.merging.map = Some(read_map_type(value)),
                "key" => place.merging.merge_key = Some(value.to_owned()),
                "patch" => place.merging.strategies = read_strategies(value),
                "default" => place.default = Some(Value::from(value)),
                _ => {}
            }
        }
    }

    fn push(&mut self, place: Place) -> usize {
        self.places.push(place);
        self.places.len() - 1
    }

    /// Reads one schema; what it contains is added to the graph. `name` tells the few types apart that JSON Schema does not.
    fn read(&mut self, schema: &Value, name: &str) -> Place {
        let mut place = Place::of(read_kind(schema, name));
        place.merging = read_merging(schema);
        place.default = schema.get("default").cloned();
        let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
        place.nullable = flag("nullable");
        if let Some(target) = reference(schema) {
            place.target = self.names.get(target).copied();
            return place;
        }
        place.format = schema.get("format").and_then(Value::as_str).map(Into::into);
        place.preserve_unknown = flag("x-kubernetes-preserve-unknown-fields");
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            place.fields = self.read_fields(properties);
        }
        if let Some(required) = schema.get("required").and_then(Value::as_array) {
            place.required = required.iter().filter_map(Value::as_str).map(Into::into).collect();
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => place.preserve_unknown = true,
            Some(inner @ Value::Object(_)) => {
                let inner = self.read(inner, "");
                place.additional = Some(self.push(inner));
            }
            _ => {}
        }
        if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
            let items = self.read(items, "");
            place.items = Some(self.push(items));
        }
        // An object of which nothing is said takes anything: RawExtension and the like.
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        if place.kind == Kind::Object && place.fields.is_empty() && place.additional.is_none() && !closed {
            place.preserve_unknown = true;
        }
        if place.kind == Kind::Any {
            place.preserve_unknown = true;
        }
        place
    }

    fn read_fields(&mut self, properties: &Map<String, Value>) -> HashMap<Box<str>, usize> {
        let mut fields = HashMap::with_capacity(properties.len());
        for (name, schema) in properties {
            let place = self.read(schema, "");
            let id = self.push(place);
            fields.insert(name.as_str().into(), id);
        }
        fields
    }
}

/// The definition that a schema refers to, if it does: `$ref`, alone or wrapped in `allOf`.
fn reference(schema: &Value) -> Option<&str> {
    let direct = schema.get("$ref");
    let wrapped = || schema.get("allOf").and_then(Value::as_array).filter(|all| all.len() == 1).and_then(|all| all[0].get("$ref"));
    let text = direct.or_else(wrapped)?.as_str()?;
    text.rsplit('/').next()
}

fn read_kind(schema: &Value, name: &str) -> Kind {
    if name.ends_with(".resource.Quantity") {
        return Kind::Quantity;
    }
    if schema.get("x-kubernetes-int-or-string").is_some_and(|on| *on == Value::Bool(true))
        || schema.get("format").is_some_and(|f| f == "int-or-string")
    {
        return Kind::IntOrString;
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => Kind::Object,
        Some("array") => Kind::Array,
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        _ if schema.get("properties").is_some() => Kind::Object,
        _ => Kind::Any,
    }
}

fn read_merging(schema: &Value) -> Merging {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    let keys = || schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let list = text("x-kubernetes-list-type").and_then(|list| match list {
        "map" => Some(List::Map(keys().map(str::to_owned).collect())),
        other => read_list(other),
    });
    Merging {
        list,
        map: text("x-kubernetes-map-type").map(read_map_type),
        merge_key: text("x-kubernetes-patch-merge-key").map(str::to_owned),
        strategies: text("x-kubernetes-patch-strategy").map(read_strategies).unwrap_or_default(),
    }
}

fn read_list(text: &str) -> Option<List> {
    match text.split_once(':').unwrap_or((text, "")) {
        ("atomic", _) => Some(List::Atomic),
        ("set", _) => Some(List::Set),
        ("map", keys) => Some(List::Map(keys.split(',').filter(|k| !k.is_empty()).map(str::to_owned).collect())),
        _ => None,
    }
}

fn read_map_type(text: &str) -> MapType {
    if text == "atomic" { MapType::Atomic } else { MapType::Granular }
}

fn read_strategies(text: &str) -> PatchStrategies {
    let mut strategies = PatchStrategies::default();
    for word in text.split(',') {
        match word {
            "merge" => strategies.merge = true,
            "replace" => strategies.replace = true,
            "retainKeys" => strategies.retain_keys = true,
            _ => {}
        }
    }
    strategies
}

/// A place in the schema graph. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    definitions: &'a Definitions,
    id: usize,
}

impl<'a> Node<'a> {
    fn at(self, id: usize) -> Self {
        Self { definitions: self.definitions, id }
    }

    /// The place itself: how a field merges is said here.
    fn place(self) -> &'a Place {
        &self.definitions.places[self.id]
    }

    /// The place, or the definition that it refers to: what a value looks like is said here.
    fn content(self) -> &'a Place {
        let mut place = self.place();
        // Definitions do not refer to each other in a ring; the bound is for documents from outside.
        for _ in 0..8 {
            match place.target {
                Some(target) => place = &self.definitions.places[target],
                None => break,
            }
        }
        place
    }

    /// The name of the definition that describes the value, such as `io.k8s.api.core.v1.PodSpec`.
    pub fn type_name(self) -> Option<&'a str> {
        self.content().name.as_deref()
    }

    /// The type of the value.
    pub fn kind(self) -> Kind {
        self.content().kind
    }

    /// The `format` of a string or number: `int32`, `int64`, `date-time`, `byte`.
    pub fn format(self) -> Option<&'a str> {
        self.content().format.as_deref()
    }

    /// A named field of an object.
    pub fn field(self, name: &str) -> Option<Self> {
        self.content().fields.get(name).map(|id| self.at(*id))
    }

    /// The names of the fields of an object, in no order.
    pub fn field_names(self) -> impl Iterator<Item = &'a str> {
        self.content().fields.keys().map(|name| &**name)
    }

    /// Whether an object has named fields at all.
    pub fn has_fields(self) -> bool {
        !self.content().fields.is_empty()
    }

    /// The fields of an object that must be there.
    pub fn required(self) -> &'a [Box<str>] {
        &self.content().required
    }

    /// The type of the values of a map.
    pub fn additional(self) -> Option<Self> {
        self.content().additional.map(|id| self.at(id))
    }

    /// The type of the items of a list.
    pub fn items(self) -> Option<Self> {
        self.content().items.map(|id| self.at(id))
    }

    /// Whether fields that are not declared are kept.
    pub fn preserve_unknown(self) -> bool {
        self.content().preserve_unknown
    }

    /// Whether null is a value here.
    pub fn nullable(self) -> bool {
        self.place().nullable || self.content().nullable
    }

    /// The value of a field that is not given.
    pub fn default_value(self) -> Option<&'a Value> {
        self.place().default.as_ref().or(self.content().default.as_ref())
    }

    /// How a list merges on server-side apply.
    pub fn list_type(self) -> ListType<'a> {
        match self.place().merging.list.as_ref().or(self.content().merging.list.as_ref()) {
            Some(List::Set) => ListType::Set,
            Some(List::Map(keys)) => ListType::Map(keys),
            Some(List::Atomic) | None => ListType::Atomic,
        }
    }

    /// How an object merges on server-side apply.
    pub fn map_type(self) -> MapType {
        self.place().merging.map.or(self.content().merging.map).unwrap_or(MapType::Granular)
    }

    /// The field by which items of a list are the same on a strategic merge patch.
    pub fn patch_merge_key(self) -> Option<&'a str> {
        self.place().merging.merge_key.as_deref()
    }

    /// How the field merges on a strategic merge patch.
    pub fn patch_strategies(self) -> PatchStrategies {
        self.place().merging.strategies
    }
}

#[cfg(test)]
mod tests;
