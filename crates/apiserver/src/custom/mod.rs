//! Custom resources: CustomResourceDefinitions become endpoints, and say so in their status.

mod check;
mod columns;
mod kind;
mod lifecycle;

pub(crate) use kind::CustomKind;
pub(crate) use lifecycle::run;

/// Name and age: how a kind without columns of its own is printed.
pub(crate) fn plain_table(objects: &[&serde_json::Value], now: tricorn_meta::Timestamp) -> serde_json::Value {
    columns::table(&columns::read(&serde_json::Value::Null), objects, now)
}
