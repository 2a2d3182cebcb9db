//! Objects as a meta.k8s.io/v1 Table: what `kubectl get` prints.

use crate::endpoint::Endpoint;
use crate::info::Query;
use crate::respond::partial;
use serde_json::Value;
use tricorn_meta::{FieldError, FieldPath, GroupVersionKind, Status, Timestamp};

/// What a row holds of its object, beside the cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    /// What the client asks for; the metadata if it does not say.
    pub(crate) fn of(query: &Query) -> Result<Self, Status> {
        match query.get("includeObject") {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => {
                let error = FieldError::not_supported(&FieldPath::new("includeObject"), other, &["Metadata", "None", "Object"]);
                Err(Status::bad_request(format!("Unable to convert to Table as requested: {error}")))
            }
        }
    }
}

/// Objects of one kind as a Table. `metadata` is the list's, or has the version of the one object.
pub(crate) fn of(endpoint: &Endpoint, objects: &[&Value], include: Include, metadata: Value, now: Timestamp) -> Value {
    filled(endpoint.table(objects, now), objects, include, metadata, |object| endpoint.shown(object))
}

/// A document of a built-in kind that no endpoint stores as a Table.
pub(crate) fn unstored(document: &Value, include: Include, metadata: Value, now: Timestamp) -> Value {
    let kind = GroupVersionKind::of(document);
    let table = tricorn_schema::columns::table(&kind.group, &kind.kind, &[document], now);
    filled(table, &[document], include, metadata, Value::clone)
}

fn filled(mut table: Value, objects: &[&Value], include: Include, metadata: Value, show: impl Fn(&Value) -> Value) -> Value {
    table["metadata"] = metadata;
    for (row, object) in table["rows"].as_array_mut().into_iter().flatten().zip(objects) {
        row["object"] = match include {
            // Upstream writes null, it does not leave the field out.
            Include::None => Value::Null,
            Include::Metadata => partial(object),
            Include::Object => show(object),
        };
    }
    table
}

#[cfg(test)]
mod tests;
