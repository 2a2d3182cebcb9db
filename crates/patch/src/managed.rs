//! `metadata.managedFields`: reading it, writing it in the order that clients are used to, and keeping it short.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tricorn_meta::Status;

use crate::fields::FieldSet;

/// Entries of Update operations that an object keeps; beyond that the oldest are folded into one bucket a version.
pub const MAX_UPDATE_MANAGERS: usize = 10;

/// Name of the bucket for folded entries.
const BUCKET: &str = "ancient-changes";

/// Who writes, in which version, when, and through which subresource.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager's name; an empty one is recorded as `unknown`.
    pub manager: &'a str,
    /// Version of the object as written, such as `apps/v1`.
    pub api_version: &'a str,
    /// RFC 3339 with seconds, in UTC.
    pub time: &'a str,
    /// Subresource such as `status`; empty for the object itself.
    pub subresource: &'a str,
    /// Whether the kind is built in. Built-in kinds always carry their `spec`, `status` and a few more structs, so nobody
    /// owns those as such; in a custom resource they are fields like others.
    pub builtin: bool,
    /// Fields that a write of this kind resets and thus never owns; see [`crate::reset_fields`].
    pub reset: &'a FieldSet,
}

impl Writer<'_> {
    pub(crate) fn name(&self) -> &str {
        if self.manager.is_empty() { "unknown" } else { self.manager }
    }
}

/// One decoded entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) manager: String,
    /// Operation Apply (else Update).
    pub(crate) applied: bool,
    pub(crate) api_version: String,
    pub(crate) time: Option<String>,
    pub(crate) subresource: String,
    pub(crate) fields: FieldSet,
}

impl Entry {
    /// An appliers' entry keeps its identity over versions, an updater's does not.
    pub(crate) fn is_of(&self, writer: &Writer<'_>, applied: bool) -> bool {
        self.applied == applied
            && self.manager == writer.name()
            && self.subresource == writer.subresource
            && (applied || self.api_version == writer.api_version)
    }
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Reads all entries.
pub(crate) fn decode(managed: Option<&Value>) -> Result<Vec<Entry>, Status> {
    let entries = match managed {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(Status::bad_request("failed to decode managed fields: metadata.managedFields must be a list")),
    };
    let failed = |why: String| Status::bad_request(format!("failed to decode managed fields: {why}"));
    let mut out: Vec<Entry> = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        check(entry, i).map_err(failed)?;
        let fields = entry.get("fieldsV1").unwrap_or(&Value::Null);
        let decoded = Entry {
            manager: text(entry, "manager").to_owned(),
            applied: text(entry, "operation") == "Apply",
            api_version: text(entry, "apiVersion").to_owned(),
            time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
            subresource: text(entry, "subresource").to_owned(),
            fields: FieldSet::from_fields_v1(fields).map_err(|e| failed(format!("error decoding set: {e}")))?,
        };
        out.push(decoded);
    }
    Ok(out)
}

/// Whether an entry has the form that every entry must have.
pub(crate) fn check(entry: &Value, index: usize) -> Result<(), String> {
    if !matches!(text(entry, "operation"), "Apply" | "Update") {
        return Err("operation must be `Apply` or `Update`".into());
    }
    if text(entry, "apiVersion").is_empty() {
        return Err("apiVersion must not be empty".into());
    }
    match text(entry, "fieldsType") {
        "FieldsV1" => Ok(()),
        "" => Err(format!("missing fieldsType in managed fields entry {index}")),
        other => Err(format!("invalid fieldsType {other:?} in managed fields entry {index}")),
    }
}

/// Writes the entries, sorted.
pub(crate) fn encode(entries: Vec<Entry>) -> Vec<Value> {
    let mut out: Vec<Value> = entries.into_iter().filter(|e| !e.fields.is_empty()).map(encode_entry).collect();
    sort(&mut out);
    out
}

fn encode_entry(entry: Entry) -> Value {
    let fields = entry.fields.to_fields_v1();
    new_entry(
        &entry.manager,
        if entry.applied { "Apply" } else { "Update" },
        &entry.api_version,
        entry.time.as_deref(),
        &entry.subresource,
        fields,
    )
}

/// An entry in its JSON form.
pub(crate) fn new_entry(manager: &str, operation: &str, api_version: &str, time: Option<&str>, subresource: &str, fields: Value) -> Value {
    let mut out = Map::with_capacity(7);
    out.insert("manager".into(), manager.into());
    out.insert("operation".into(), operation.into());
    out.insert("apiVersion".into(), api_version.into());
    if let Some(time) = time {
        out.insert("time".into(), time.into());
    }
    out.insert("fieldsType".into(), "FieldsV1".into());
    out.insert("fieldsV1".into(), fields);
    if !subresource.is_empty() {
        out.insert("subresource".into(), subresource.into());
    }
    Value::Object(out)
}

/// Appliers first, then by time, manager, version and subresource.
pub(crate) fn sort(entries: &mut [Value]) {
    fn key(entry: &Value) -> (&str, &str, &str, &str, &str) {
        (text(entry, "operation"), text(entry, "time"), text(entry, "manager"), text(entry, "apiVersion"), text(entry, "subresource"))
    }
    entries.sort_by(|a, b| key(a).cmp(&key(b)));
}

/// Folds the oldest Update entries of a version together until no more than [`MAX_UPDATE_MANAGERS`] are left (or one a version).
pub(crate) fn cap(entries: &mut Vec<Value>) {
    let mut updates: Vec<usize> = (0..entries.len()).filter(|i| text(&entries[*i], "operation") == "Update").collect();
    if updates.len() <= MAX_UPDATE_MANAGERS {
        return;
    }
    updates.sort_by(|a, b| {
        let key = |i: &usize| (text(&entries[*i], "time"), text(&entries[*i], "manager"));
        key(a).cmp(&key(b))
    });
    let mut left = updates.len();
    let mut buckets: HashMap<String, usize> = HashMap::new();
    let mut gone = Vec::new();
    for at in updates {
        if left <= MAX_UPDATE_MANAGERS {
            break;
        }
        let version = text(&entries[at], "apiVersion").to_owned();
        let Some(bucket) = buckets.get(&version).copied() else {
            buckets.insert(version, at);
            continue;
        };
        let merged = FieldSet::from_fields_v1(&entries[at]["fieldsV1"]).and_then(|newer| {
            let mut all = FieldSet::from_fields_v1(&entries[bucket]["fieldsV1"])?;
            all.union(newer);
            Ok(all)
        });
        let Ok(merged) = merged else { continue };
        let time = entries[at].get("time").and_then(Value::as_str).map(str::to_owned);
        entries[bucket] = new_entry(BUCKET, "Update", &version, time.as_deref(), "", merged.to_fields_v1());
        gone.push(at);
        left -= 1;
    }
    gone.sort_unstable();
    for at in gone.into_iter().rev() {
        entries.remove(at);
    }
}

/// Puts the entries into the object; none at all leaves no `managedFields`.
pub(crate) fn store(object: &mut Value, entries: Vec<Value>) {
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else { return };
    if entries.is_empty() {
        metadata.shift_remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), Value::Array(entries));
    }
}
