//! What changed between two objects, as field sets.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::fields::{FieldSet, field};
use crate::typed::{Shape, Type, steps};

/// The three ways in which a path can differ.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// There now, not before.
    pub(crate) added: FieldSet,
    /// There before and now, with another value.
    pub(crate) modified: FieldSet,
    /// There before, not now.
    pub(crate) removed: FieldSet,
}

impl Changes {
    /// Whether nothing differs.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Moves added and modified paths out, together.
    pub(crate) fn taken(&mut self) -> FieldSet {
        let mut taken = std::mem::take(&mut self.added);
        taken.union(std::mem::take(&mut self.modified));
        taken
    }

    /// Forgets the paths in `ignored` and all below them.
    pub(crate) fn ignore(&mut self, ignored: &FieldSet) {
        self.added.subtract_subtrees(ignored);
        self.modified.subtract_subtrees(ignored);
        self.removed.subtract_subtrees(ignored);
    }

    fn put(&mut self, step: impl FnOnce() -> String, own: Option<Difference>, below: Changes) {
        if own.is_none() && below.is_empty() {
            return;
        }
        let step = step();
        if own == Some(Difference::Modified) || !below.modified.is_empty() {
            self.modified.put(step.clone(), own == Some(Difference::Modified), below.modified);
        }
        if own == Some(Difference::Removed) || !below.removed.is_empty() {
            self.removed.put(step.clone(), own == Some(Difference::Removed), below.removed);
        }
        self.added.put(step, own == Some(Difference::Added), below.added);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Difference {
    Added,
    Modified,
    Removed,
}

/// Compares two objects of one type. Metadata that nobody ever owns is left out.
pub(crate) fn compare(of: Type<'_>, old: &Value, new: &Value) -> Changes {
    let mut changes = Changes::default();
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return changes };
    fields(of, Some(old), Some(new), &mut changes, &|name| matches!(name, "apiVersion" | "kind" | "metadata"));
    let mut metadata = Changes::default();
    let of_metadata = of.field("metadata").0;
    let skip = |name: &str| {
        matches!(
            name,
            "name"
                | "namespace"
                | "creationTimestamp"
                | "selfLink"
                | "uid"
                | "clusterName"
                | "generation"
                | "managedFields"
                | "resourceVersion"
        )
    };
    match (old.get("metadata").and_then(Value::as_object), new.get("metadata").and_then(Value::as_object)) {
        (None, None) => {}
        (old, new) => fields(of_metadata, old, new, &mut metadata, &skip),
    }
    changes.put(|| field("metadata"), None, metadata);
    changes
}

fn fields(
    of: Type<'_>,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    out: &mut Changes,
    skip: &dyn Fn(&str) -> bool,
) {
    let mut abreast = new.into_iter().flatten();
    for (name, value) in old.into_iter().flatten() {
        let other = match abreast.next() {
            Some((other, value)) if other == name => Some(value),
            _ => new.and_then(|n| n.get(name)),
        };
        // What is the same needs no schema; most of an object is.
        if !other.is_some_and(|other| same(value, other)) && !skip(name) {
            one(|| field(name), of.field(name).0, Some(value), other, out);
        }
    }
    for (name, value) in new.into_iter().flatten() {
        if !skip(name) && old.is_none_or(|o| !o.contains_key(name)) {
            one(|| field(name), of.field(name).0, None, Some(value), out);
        }
    }
}

/// Equality that expects fields in the same order, as they are where one object was made from the other; it hashes only where they are not.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((name, value), (other_name, other))| {
                    if name == other_name { same(value, other) } else { b.get(name).is_some_and(|other| same(value, other)) }
                })
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b,
    }
}

/// Compares what stands at one step on both sides; `None` is absent.
fn one(step: impl FnOnce() -> String, of: Type<'_>, old: Option<&Value>, new: Option<&Value>, out: &mut Changes) {
    let mut below = Changes::default();
    let leaf = match (old, new) {
        (Some(old), Some(new)) => both(of, old, new, &mut below),
        (Some(value), None) | (None, Some(value)) => {
            alone(of, value, old.is_some(), &mut below);
            false
        }
        (None, None) => return,
    };
    let own = match (old, new) {
        (None, Some(_)) => Some(Difference::Added),
        (Some(_), None) => Some(Difference::Removed),
        (Some(old), Some(new)) if leaf && old != new => Some(Difference::Modified),
        _ => None,
    };
    out.put(step, own, below);
}

/// Everything below a value that is there on one side only.
fn alone(of: Type<'_>, value: &Value, was: bool, out: &mut Changes) {
    let mut set = FieldSet::default();
    everything(of, value, &mut set);
    if was {
        out.removed = set;
    } else {
        out.added = set;
    }
}

/// Every path below `value`, inner nodes included.
fn everything(of: Type<'_>, value: &Value, set: &mut FieldSet) {
    match (of.shape(value), value) {
        (Shape::Map, Value::Object(object)) => {
            for (name, value) in object {
                let mut below = FieldSet::default();
                everything(of.field(name).0, value, &mut below);
                set.put(field(name), true, below);
            }
        }
        (shape @ (Shape::Set | Shape::Keyed(..)), Value::Array(list)) => {
            for (step, element) in steps(&shape, list).unwrap_or_default().into_iter().zip(list) {
                let mut below = FieldSet::default();
                if matches!(shape, Shape::Keyed(..)) {
                    everything(of.element(), element, &mut below);
                }
                set.put(step, true, below);
            }
        }
        _ => {}
    }
}

/// Compares two values; answers whether the place is a leaf for which equality decides.
fn both(of: Type<'_>, old: &Value, new: &Value, out: &mut Changes) -> bool {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            if matches!(of.shape(old), Shape::Leaf) || (a.is_empty() && b.is_empty()) {
                return true;
            }
            fields(of, Some(a), Some(b), out, &|_| false);
            false
        }
        (Value::Array(a), Value::Array(b)) => {
            let shape = of.shape(old);
            if matches!(shape, Shape::Leaf) || (a.is_empty() && b.is_empty()) {
                return true;
            }
            if !same(old, new) {
                elements(of, &shape, a, b, out);
            }
            false
        }
        // Null on one side is an empty list or map of the other's kind.
        (Value::Null, filled) | (filled, Value::Null) if is_filled_container(of, filled) => {
            alone(of, filled, new.is_null(), out);
            false
        }
        _ => {
            if old != new {
                let (mut gone, mut come) = (Changes::default(), Changes::default());
                alone(of, old, true, &mut gone);
                alone(of, new, false, &mut come);
                out.removed = gone.removed;
                out.added = come.added;
            }
            true
        }
    }
}

fn is_filled_container(of: Type<'_>, value: &Value) -> bool {
    let filled = match value {
        Value::Object(o) => !o.is_empty(),
        Value::Array(l) => !l.is_empty(),
        _ => false,
    };
    filled && !matches!(of.shape(value), Shape::Leaf)
}

fn elements(of: Type<'_>, shape: &Shape<'_>, old: &[Value], new: &[Value], out: &mut Changes) {
    let (Ok(old_steps), Ok(new_steps)) = (steps(shape, old), steps(shape, new)) else {
        return;
    };
    let kind = if matches!(shape, Shape::Set) { Type::Deduced } else { of.element() };
    let (was, is) = (by_step(&old_steps, old), by_step(&new_steps, new));
    for (step, before) in &was {
        let now = is.get(step).map(Vec::as_slice).unwrap_or_default();
        if before.len() == 1 && now.len() <= 1 {
            one(|| (*step).to_owned(), kind, before.first().copied(), now.first().copied(), out);
        } else if before != now {
            // Elements that share a key cannot be compared one by one.
            let own = if now.is_empty() { Difference::Removed } else { Difference::Modified };
            out.put(|| (*step).to_owned(), Some(own), Changes::default());
        }
    }
    for (step, now) in is.iter().filter(|(step, _)| !was.contains_key(*step)) {
        match now.as_slice() {
            [only] => one(|| (*step).to_owned(), kind, None, Some(only), out),
            _ => out.put(|| (*step).to_owned(), Some(Difference::Added), Changes::default()),
        }
    }
}

fn by_step<'v>(steps: &'v [String], list: &'v [Value]) -> HashMap<&'v str, Vec<&'v Value>> {
    let mut found: HashMap<&str, Vec<&Value>> = HashMap::with_capacity(list.len());
    for (step, value) in steps.iter().zip(list) {
        found.entry(step).or_default().push(value);
    }
    found
}
