//! Events, in the form of either group.

use serde_json::Value;
use tricorn_meta::Timestamp;
use tricorn_meta::json::text;

use super::cell::{Cell, Column, col, shown, since, wide};

pub(super) const EVENT: &[Column] = &[
    col("Last Seen", Cell::Make(last)),
    col("Type", Cell::Plain("type")),
    col("Reason", Cell::Plain("reason")),
    col("Object", Cell::Make(|o, _| target(o))),
    wide("Subobject", Cell::Make(|o, _| either(o, "involvedObject.fieldPath", "regarding.fieldPath"))),
    wide("Source", Cell::Make(|o, _| source(o))),
    col("Message", Cell::Make(|o, _| either(o, "message", "note").trim().to_owned())),
    wide("First Seen", Cell::Make(first)),
    wide("Count", Cell::Make(|o, _| count(o))),
    wide("Name", Cell::Name),
];

fn either(event: &Value, core: &str, new: &str) -> String {
    shown(event, core).or_else(|| shown(event, new)).unwrap_or_default()
}

fn first(event: &Value, now: Timestamp) -> String {
    let path = ["firstTimestamp", "deprecatedFirstTimestamp"].into_iter().find(|p| !text(event, p).is_empty());
    since(event, path.unwrap_or("eventTime"), now)
}

fn last(event: &Value, now: Timestamp) -> String {
    let paths = ["series.lastObservedTime", "lastTimestamp", "deprecatedLastTimestamp"];
    match paths.into_iter().find(|p| !text(event, p).is_empty()) {
        Some(path) => since(event, path, now),
        None => first(event, now),
    }
}

fn target(event: &Value) -> String {
    let kind = either(event, "involvedObject.kind", "regarding.kind").to_lowercase();
    let name = either(event, "involvedObject.name", "regarding.name");
    if name.is_empty() { kind } else { format!("{kind}/{name}") }
}

fn source(event: &Value) -> String {
    let part = |key: &str| shown(event, &format!("source.{key}")).or_else(|| shown(event, &format!("deprecatedSource.{key}")));
    let component = part("component").or_else(|| either_reporting(event, "Component", "Controller"));
    let host = part("host").or_else(|| either_reporting(event, "Instance", "Instance"));
    [component, host].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn either_reporting(event: &Value, core: &str, new: &str) -> Option<String> {
    shown(event, &format!("reporting{core}")).or_else(|| shown(event, &format!("reporting{new}")))
}

fn count(event: &Value) -> String {
    let paths = ["series.count", "count", "deprecatedCount"];
    paths.into_iter().find_map(|p| shown(event, p).filter(|c| c != "0")).unwrap_or_else(|| "1".to_owned())
}
