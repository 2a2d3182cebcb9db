//! What is said of a column. The texts are in `tables/columns`, or are those of the fields that the table names: the build puts them together.

use std::sync::LazyLock;

use serde_json::{Map, Value};

/// By `group/kind`, then by column; `*` is for all kinds.
static TEXTS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    // The build wrote it; what cannot be read is an empty set, which the tests would not pass.
    serde_json::from_slice(include_bytes!(concat!(env!("OUT_DIR"), "/columns.json"))).unwrap_or_default()
});

/// The texts for the columns of a kind; empty where nobody has written one.
pub(super) fn texts(group: &str, kind: &str) -> impl Fn(&str) -> &'static str {
    let (own, all) = (TEXTS.get(&format!("{group}/{kind}")), TEXTS.get("*"));
    move |column| own.and_then(|own| own.get(column)).or_else(|| all?.get(column)).and_then(Value::as_str).unwrap_or_default()
}
