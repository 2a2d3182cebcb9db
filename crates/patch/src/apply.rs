//! Server-side apply.

use serde_json::{Map, Value, json};
use tricorn_meta::{GroupVersionKind, Reason, Status};
use tricorn_schema::Node;

use crate::compare::{Changes, compare};
use crate::conflict::{Conflicts, Contested};
use crate::fields::FieldSet;
use crate::managed::{self, Entry, Writer};
use crate::merge::merge;
use crate::prune::prune;
use crate::track::all_of;
use crate::typed::{Shape, Type, to_set};
use crate::validate::validate;

/// The annotation in which client-side apply keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The manager whose client-side past is taken over without conflicts.
const KUBECTL: &str = "kubectl";

/// The manager that is recorded for what was there before anybody tracked the object.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Applies the configuration `applied` to the stored object `live` (`None`: it is created) and answers the new object with
/// its managed fields. Without `force`, fields that the configuration changes and another manager owns make a conflict (409).
/// When nothing changes the answer equals `live`.
pub fn apply(node: Node<'_>, live: Option<&Value>, applied: &Value, writer: &Writer<'_>, force: bool) -> Result<Value, Status> {
    check(node, applied, writer)?;
    let of = Type::Known(node);
    let managed = live.and_then(|l| l.get("metadata")?.get("managedFields"));
    let mut entries = managed::decode(managed)?;
    let live_object = bare(live.unwrap_or(&Value::Null), applied);
    if let (true, Some(_)) = (entries.is_empty(), live) {
        let fields = all_of(node, &live_object, writer);
        entries.push(entry(BEFORE_FIRST_APPLY, false, writer, Some(writer.time.to_owned()), fields));
    }
    let former = entries.clone();
    let mut set = to_set(of, applied);
    set.subtract_subtrees(writer.reset);
    let last = match entries.iter_mut().find(|e| e.is_of(writer, true)) {
        Some(own) => {
            own.api_version = writer.api_version.to_owned();
            std::mem::replace(&mut own.fields, set.clone())
        }
        None => {
            entries.push(entry(writer.name(), true, writer, None, set.clone()));
            FieldSet::default()
        }
    };
    let mut owned = FieldSet::default();
    entries.iter().for_each(|e| owned.union(e.fields.clone()));
    let merged = merge(of, &live_object, applied);
    let mut let_go = last.clone();
    let_go.subtract(&set);
    let mut object = if let_go.is_empty() { merged } else { prune(of, merged, &last, &owned) };
    if !let_go.is_empty() {
        // A list or map that pruning emptied and dropped comes back where the configuration asks for an empty one.
        object = merge(of, &object, applied);
    }
    if writer.builtin {
        drop_nulls(of, &mut object);
    }
    let mut changes = compare(of, &live_object, &object);
    changes.ignore(writer.reset);
    let unchanged = changes.is_empty();
    settle(node, &mut entries, changes, writer, force, live)?;
    finish(&mut entries, &former, unchanged, writer);
    managed::store(&mut object, managed::encode(entries));
    if writer.name() == KUBECTL {
        renew_last_applied(&mut object, applied);
    }
    Ok(object)
}

fn entry(manager: &str, applied: bool, writer: &Writer<'_>, time: Option<String>, fields: FieldSet) -> Entry {
    Entry {
        manager: manager.to_owned(),
        applied,
        api_version: writer.api_version.to_owned(),
        time,
        subresource: writer.subresource.to_owned(),
        fields,
    }
}

/// Refuses configurations that cannot be applied at all.
fn check(node: Node<'_>, applied: &Value, writer: &Writer<'_>) -> Result<(), Status> {
    let gvk = GroupVersionKind::of(applied);
    if gvk.api_version() != writer.api_version {
        let message = format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
            gvk.api_version(),
            writer.api_version
        );
        return Err(Status::bad_request(message));
    }
    let metadata = applied.get("metadata");
    if metadata.and_then(|m| m.get("managedFields")).is_some_and(|m| !m.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let errors = validate(Type::Known(node), applied);
    if errors.is_empty() {
        return Ok(());
    }
    let name = |key: &str| metadata.and_then(|m| m.get(key)).and_then(Value::as_str).unwrap_or_default();
    let what = format!("{}/{}; {gvk}", name("namespace"), name("name"));
    let errors = if let [only] = errors.as_slice() { only.clone() } else { format!("errors:\n  {}", errors.join("\n  ")) };
    Err(Status::custom(500, Reason::Unknown, format!("failed to create typed patch object ({what}): {errors}"), None))
}

/// The live object without managed fields; on create an empty one of the applied kind.
fn bare(live: &Value, applied: &Value) -> Value {
    let Some(object) = live.as_object() else {
        return json!({"apiVersion": applied.get("apiVersion"), "kind": applied.get("kind")});
    };
    let mut out = Map::with_capacity(object.len());
    for (name, value) in object {
        match value.as_object().filter(|_| name == "metadata") {
            Some(metadata) => {
                let kept = metadata.iter().filter(|(key, _)| *key != "managedFields").map(|(k, v)| (k.clone(), v.clone()));
                out.insert(name.clone(), Value::Object(kept.collect()));
            }
            None => {
                out.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(out)
}

/// Answers conflicts, or takes the changed and removed fields from all other managers.
fn settle(
    node: Node<'_>,
    entries: &mut [Entry],
    mut changes: Changes,
    writer: &Writer<'_>,
    force: bool,
    live: Option<&Value>,
) -> Result<(), Status> {
    let taken = changes.taken();
    if !force {
        let allowed = live.filter(|_| writer.name() == KUBECTL).and_then(|live| applied_by_client(node, live, writer));
        refuse_contested(entries, &taken, &allowed.unwrap_or_default(), writer)?;
    }
    for other in entries.iter_mut().filter(|e| !e.is_of(writer, true)) {
        other.fields.subtract(&taken);
        other.fields.subtract(&changes.removed);
    }
    Ok(())
}

/// The conflicts, if other managers own any of the `taken` fields that are not `allowed`.
fn refuse_contested(entries: &[Entry], taken: &FieldSet, allowed: &FieldSet, writer: &Writer<'_>) -> Result<(), Status> {
    let mut contested = Vec::new();
    for owner in entries.iter().filter(|e| !e.is_of(writer, true)) {
        let mut fields = owner.fields.intersection(taken);
        fields.subtract(allowed);
        if !fields.is_empty() {
            contested.push(Contested { owner, fields });
        }
    }
    if contested.is_empty() { Ok(()) } else { Err(Conflicts::tell(&contested).to_status()) }
}

/// What client-side apply set and nobody has changed since: an apply by kubectl may take it over.
fn applied_by_client(node: Node<'_>, live: &Value, writer: &Writer<'_>) -> Option<FieldSet> {
    let annotation = live.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
    let last: Value = serde_json::from_str(annotation).ok()?;
    if last.get("apiVersion").and_then(Value::as_str) != Some(writer.api_version) {
        return None;
    }
    let of = Type::Known(node);
    let mut set = to_set(of, &last);
    let changes = compare(of, &last, live);
    set.subtract(&changes.modified);
    set.subtract(&changes.added);
    set.subtract(&changes.removed);
    Some(set)
}

/// Strips what is never owned from the writer's entry, and sets its time if anything happened.
fn finish(entries: &mut Vec<Entry>, former: &[Entry], unchanged: bool, writer: &Writer<'_>) {
    if let Some(own) = entries.iter_mut().find(|e| e.is_of(writer, true)) {
        own.fields.subtract(&never_owned());
    }
    entries.retain(|e| !e.fields.is_empty());
    let same = entries.as_slice() == former;
    if (!unchanged || !same)
        && let Some(own) = entries.iter_mut().find(|e| e.is_of(writer, true))
    {
        own.time = Some(writer.time.to_owned());
    }
}

/// What identifies an object or is kept by the server.
fn never_owned() -> FieldSet {
    let mut set = FieldSet::default();
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert_fields(&[name]);
    }
    for name in
        ["name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion"]
    {
        set.insert_fields(&["metadata", name]);
    }
    set
}

/// A built-in kind has no nulls: a field set to null is a field that is not there.
fn drop_nulls(of: Type<'_>, value: &mut Value) {
    match (of.shape(value), value) {
        (Shape::Map, Value::Object(object)) => {
            object.retain(|name, value| {
                drop_nulls(of.field(name).0, value);
                !value.is_null()
            });
        }
        (Shape::Keyed(..), Value::Array(list)) => list.iter_mut().for_each(|element| drop_nulls(of.element(), element)),
        _ => {}
    }
}

/// Keeps the annotation of client-side apply in step, where there is one, so that the user can go back.
fn renew_last_applied(object: &mut Value, applied: &Value) {
    let annotations = object.get_mut("metadata").and_then(|m| m.get_mut("annotations")).and_then(Value::as_object_mut);
    let Some(annotation) = annotations.and_then(|a| a.get_mut(LAST_APPLIED)).filter(|a| a.as_str().is_some_and(|a| !a.is_empty())) else {
        return;
    };
    let mut applied = applied.clone();
    if let Some(own) = applied.get_mut("metadata").and_then(|m| m.get_mut("annotations")).and_then(Value::as_object_mut) {
        own.shift_remove(LAST_APPLIED);
    }
    *annotation = Value::String(format!("{applied}\n"));
}
