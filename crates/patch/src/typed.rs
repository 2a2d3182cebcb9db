//! A schema node seen as structured merge sees it: what is a leaf, what is merged key by key, how list elements are named.

use serde_json::{Map, Value};
use tricorn_schema::{Kind, ListType, MapType, Node};

use crate::fields::{FieldSet, field, index_of_keys, value};

/// What is known of the type of a value.
#[derive(Clone, Copy)]
pub(crate) enum Type<'a> {
    /// The schema says.
    Known(Node<'a>),
    /// Nothing is known (fields that are preserved without a schema): objects merge by key, lists are atomic.
    Deduced,
}

/// How a value of some type takes part in a merge.
pub(crate) enum Shape<'a> {
    /// Owned and replaced as a whole: scalars, atomic lists and maps.
    Leaf,
    /// Merged by field.
    Map,
    /// A list without duplicates, merged by value.
    Set,
    /// A list merged by the named key fields; the type is that of the elements.
    Keyed(&'a [String], Type<'a>),
}

impl<'a> Type<'a> {
    /// How `value` of this type is merged. A value that does not fit its type is a leaf.
    pub(crate) fn shape(self, value: &Value) -> Shape<'a> {
        match (self, value) {
            (Type::Deduced, Value::Object(_)) => Shape::Map,
            (Type::Known(node), Value::Object(_)) => match node.kind() {
                Kind::Any if node.preserve_unknown() => Shape::Map,
                Kind::Object if node.map_type() == MapType::Granular => Shape::Map,
                _ => Shape::Leaf,
            },
            (Type::Known(node), Value::Array(_)) if node.kind() == Kind::Array => match node.list_type() {
                ListType::Atomic => Shape::Leaf,
                ListType::Set => Shape::Set,
                ListType::Map(keys) => Shape::Keyed(keys, self.element()),
            },
            _ => Shape::Leaf,
        }
    }

    /// The type of a field, and whether the schema names that field (a map's keys are not named).
    pub(crate) fn field(self, name: &str) -> (Type<'a>, bool) {
        let Type::Known(node) = self else { return (Type::Deduced, false) };
        match node.field(name) {
            Some(field) => (Type::Known(field), true),
            None => (node.additional().map_or(Type::Deduced, Type::Known), false),
        }
    }

    /// The type of a list's elements.
    pub(crate) fn element(self) -> Type<'a> {
        match self {
            Type::Known(node) => node.items().map_or(Type::Deduced, Type::Known),
            Type::Deduced => Type::Deduced,
        }
    }
}

/// The path step to a list element, or why there is none.
pub(crate) fn element_step(keys: &[String], of: Type<'_>, element: &Value) -> Result<String, String> {
    let Some(object) = element.as_object() else {
        return Err("associative list with keys may not have non-map elements".into());
    };
    let mut found: Vec<(&str, &Value)> = Vec::with_capacity(keys.len());
    let mut missing = None;
    for key in keys {
        match object.get(key).filter(|v| !v.is_null()).or_else(|| key_default(of, key)) {
            Some(value) => found.push((key, value)),
            None => missing = Some(key),
        }
    }
    if found.is_empty() {
        // Elements without any of the keys are told apart no further than that, as upstream has it.
        let key = missing.map(String::as_str).unwrap_or_default();
        return Err(format!("associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"));
    }
    Ok(index_of_keys(&mut found))
}

fn key_default<'a>(of: Type<'a>, key: &str) -> Option<&'a Value> {
    let Type::Known(node) = of else { return None };
    node.field(key)?.default_value()
}

/// The steps to all elements of a set or keyed list. Errors name the element.
pub(crate) fn steps(shape: &Shape<'_>, list: &[Value]) -> Result<Vec<String>, String> {
    list.iter()
        .enumerate()
        .map(|(i, element)| match shape {
            Shape::Keyed(keys, of) => element_step(keys, *of, element).map_err(|e| format!("element {i}: {e}")),
            _ => Ok(value(element)),
        })
        .collect()
}

/// Every path that `object` sets: what an apply of it comes to own.
pub(crate) fn to_set(of: Type<'_>, object: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(of, object, &mut set);
    set
}

/// Collects what lies below `value` into `set`; answers whether the value is itself a leaf.
fn collect(of: Type<'_>, value: &Value, set: &mut FieldSet) -> bool {
    match (of.shape(value), value) {
        (Shape::Map, Value::Object(object)) => {
            collect_fields(of, object, set);
            false
        }
        (shape @ (Shape::Set | Shape::Keyed(..)), Value::Array(list)) => {
            let Ok(steps) = steps(&shape, list) else { return false };
            for (step, element) in steps.into_iter().zip(list) {
                let mut below = FieldSet::default();
                if matches!(shape, Shape::Keyed(..)) {
                    collect(of.element(), element, &mut below);
                }
                set.put(step, true, below);
            }
            false
        }
        _ => true,
    }
}

fn collect_fields(of: Type<'_>, object: &Map<String, Value>, set: &mut FieldSet) {
    for (name, value) in object {
        let (kind, named) = of.field(name);
        let mut below = FieldSet::default();
        let leaf = collect(kind, value, &mut below);
        let empty = value.as_object().is_some_and(Map::is_empty);
        set.put(field(name), leaf || empty || !named, below);
    }
}

/// Makes every struct field that has something below it part of the set.
pub(crate) fn with_named_parents(of: Type<'_>, mut set: FieldSet) -> FieldSet {
    mark(of, &mut set);
    set
}

fn mark(of: Type<'_>, set: &mut FieldSet) {
    set.mark_parents(&mut |step, below| match step.strip_prefix("f:") {
        Some(name) => {
            let (kind, named) = of.field(name);
            mark(kind, below);
            named
        }
        None => {
            mark(of.element(), below);
            false
        }
    });
}
