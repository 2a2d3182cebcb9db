//! Ownership of plain writes: what changed comes to belong to the writer, and to nobody else.

use serde_json::{Map, Value, json};
use tricorn_schema::Node;

use crate::compare::{Changes, compare, same};
use crate::fields::{FieldSet, subtract_encoded, union_encoded};
use crate::managed::{self, Writer};
use crate::typed::Type;

/// Structs (and the few lists) that a built-in kind always has, if empty. Nobody comes to own them by filling them in.
const ALWAYS_THERE: &[&str] = &[
    "acceptedNames",
    "containers",
    "daemonEndpoints",
    "drivers",
    "involvedObject",
    "jobTemplate",
    "kubeletEndpoint",
    "loadBalancer",
    "metadata",
    "names",
    "nodeInfo",
    "regarding",
    "resources",
    "roleRef",
    "scaleTargetRef",
    "source",
    "spec",
    "status",
    "strategy",
    "template",
    "updateStrategy",
];

// Searched by halves.
const _: () = assert!(is_sorted(ALWAYS_THERE));

const fn is_sorted(names: &[&str]) -> bool {
    let mut i = 1;
    while i < names.len() {
        let (a, b) = (names[i - 1].as_bytes(), names[i].as_bytes());
        let mut at = 0;
        while at < a.len() && at < b.len() && a[at] == b[at] {
            at += 1;
        }
        let before = at < b.len() && (at == a.len() || a[at] < b[at]);
        if !before {
            return false;
        }
        i += 1;
    }
    true
}

/// Brings `new.metadata.managedFields` up to date with what the write changes. `old` is the stored object, or `None` on create;
/// `new` is the object after defaulting and before admission. A write that changes no owned field leaves the entries (and their times) as they were.
pub fn track_update(node: Node<'_>, old: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let Some(mut entries) = known_entries(old, new, writer) else {
        managed::store(new, Vec::new());
        return;
    };
    if entries.is_empty() && old.is_some() {
        // Nobody tracks this object; it starts with the first apply.
        managed::store(new, Vec::new());
        return;
    }
    let nothing = json!({});
    let mut changes = compare(Type::Known(node), old.unwrap_or(&nothing), new);
    if !changes.is_empty() {
        move_fields(&mut entries, &mut changes, writer);
    }
    managed::store(new, entries);
}

/// The entries to start from: those sent along, if any and if they may be set this way, else the stored ones.
/// `None` where the client asks to forget all of them.
fn known_entries(old: Option<&Value>, new: &mut Value, writer: &Writer<'_>) -> Option<Vec<Value>> {
    let stored = || old.and_then(|o| o.get("metadata")?.get("managedFields")).and_then(Value::as_array);
    let sent = new.get_mut("metadata").and_then(Value::as_object_mut).and_then(|m| m.shift_remove("managedFields"));
    let Some(Value::Array(sent)) = sent else { return Some(stored().cloned().unwrap_or_default()) };
    if stored().is_some_and(|stored| stored.len() == sent.len() && stored.iter().zip(&sent).all(|(stored, sent)| same(stored, sent))) {
        return Some(sent);
    }
    if !writer.subresource.is_empty() {
        return Some(stored().cloned().unwrap_or_default());
    }
    let reset = sent.is_empty() || matches!(sent.as_slice(), [Value::Object(only)] if only.is_empty());
    if reset {
        return if old.is_some() { None } else { Some(Vec::new()) };
    }
    match managed::decode(Some(&Value::Array(sent))) {
        Ok(entries) => Some(managed::encode(entries)),
        Err(_) => Some(stored().cloned().unwrap_or_default()),
    }
}

/// Takes changed fields from everybody and gives them to the writer.
fn move_fields(entries: &mut Vec<Value>, changes: &mut Changes, writer: &Writer<'_>) {
    if writer.builtin {
        forget_structs(&mut changes.added);
    }
    changes.ignore(writer.reset);
    let taken = changes.taken();
    entries.retain_mut(|entry| {
        let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) else { return false };
        subtract_encoded(fields, &taken);
        subtract_encoded(fields, &changes.removed);
        !fields.is_empty()
    });
    if taken.is_empty() {
        return;
    }
    give(entries, &taken, writer);
    managed::cap(entries);
    managed::sort(entries);
}

fn give(entries: &mut Vec<Value>, taken: &FieldSet, writer: &Writer<'_>) {
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = entries.iter_mut().find(|e| {
        text(e, "operation") == "Update"
            && text(e, "manager") == writer.name()
            && text(e, "apiVersion") == writer.api_version
            && text(e, "subresource") == writer.subresource
    });
    match own.and_then(Value::as_object_mut) {
        Some(entry) => {
            entry.insert("time".into(), writer.time.into());
            if let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) {
                union_encoded(fields, taken);
            }
        }
        None => {
            let fields = taken.to_fields_v1();
            entries.push(managed::new_entry(writer.name(), "Update", writer.api_version, Some(writer.time), writer.subresource, fields));
        }
    }
}

/// Drops the structs themselves from the set, not what is in them.
pub(crate) fn forget_structs(set: &mut FieldSet) {
    set.retain_members(&mut |step| step.strip_prefix("f:").is_none_or(|name| ALWAYS_THERE.binary_search(&name).is_err()));
}

/// The set that one gets who wrote the whole object at once.
pub(crate) fn all_of(node: Node<'_>, object: &Value, writer: &Writer<'_>) -> FieldSet {
    let mut changes = compare(Type::Known(node), &Value::Object(Map::new()), object);
    if writer.builtin {
        forget_structs(&mut changes.added);
    }
    changes.ignore(writer.reset);
    changes.added
}
