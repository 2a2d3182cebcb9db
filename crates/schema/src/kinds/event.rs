//! Events: what happened to what. Both of their APIs write the same stored object, which has the core group's fields; what comes through the newer
//! one is held to more, and complaints name the fields as they are stored.

use tricorn_meta::{FieldPath, names};

use super::check::{At, Errors, same};

/// The most bytes of an instance, an action or a reason.
const WORD_MAX_BYTES: usize = 128;
/// The most bytes of a message.
const NOTE_MAX_BYTES: usize = 1024;

/// Upstream complains about the controller under the name that the newer API has for it.
fn controller<'a>(at: &At<'a>) -> At<'a> {
    at.get("reportingComponent").told_at(FieldPath::new("reportingController"))
}

/// The rules for an event, whichever API it came through. Only one that has an `eventTime` has the newer fields.
pub(super) fn rules(at: &At<'_>, errors: &mut Errors) {
    let (about, namespace) = (at.at("involvedObject.namespace"), at.at("metadata.namespace").text());
    let dated = at.get("eventTime").is_set();
    let fits = match (about.text(), dated) {
        ("", false) => matches!(namespace, "" | "default"),
        ("", true) => matches!(namespace, "default" | "kube-system"),
        (other, false) => other == namespace,
        (_, true) => true,
    };
    if !fits {
        about.invalid_as(about.text(), "does not match event.namespace", errors);
    }
    if dated {
        controller(at).need(errors);
        controller(at).named(names::qualified_name, errors);
        for (key, required, max) in [
            ("reportingInstance", true, WORD_MAX_BYTES),
            ("action", true, WORD_MAX_BYTES),
            ("reason", true, WORD_MAX_BYTES),
            ("message", false, NOTE_MAX_BYTES),
        ] {
            let text = at.get(key);
            if required {
                text.need(errors);
            }
            if text.text().len() > max {
                text.invalid_as("", format!("can have at most {max} characters"), errors);
            }
        }
    }
    at.at("metadata.namespace").told_at(FieldPath::new("namespace")).named(names::dns1123_subdomain, errors);
}

/// What a new event of the newer API must say, and what it leaves to the older one.
pub(super) fn create(at: &At<'_>, errors: &mut Errors) {
    series(at, errors);
    at.get("eventTime").need(errors);
    let kind = at.get("type");
    if !["Normal", "Warning"].contains(&kind.text()) {
        kind.invalid_as("", format!("has invalid value: {}", kind.text()), errors);
    }
    for key in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        let old = at.get(key);
        let says_something = match key {
            "count" => old.int().unwrap_or(0) != 0,
            "source" => ["component", "host"].iter().any(|part| !old.get(part).is_empty()),
            _ => !old.is_empty(),
        };
        if says_something {
            old.invalid_as("", "needs to be unset", errors);
        }
    }
}

fn series(at: &At<'_>, errors: &mut Errors) {
    let series = at.get("series");
    if !series.is_set() {
        return;
    }
    let count = series.get("count");
    if count.int().unwrap_or(0) < 2 {
        count.invalid_as("", "should be at least 2", errors);
    }
    series.get("lastObservedTime").need(errors);
}

/// The newer API lets nothing of an event change but how often it happened: what happened stays.
pub(super) fn change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    if !same(at.get("series").value, before.get("series").value) {
        series(at, errors);
    }
    for key in [
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingInstance",
    ] {
        at.get(key).unchanged(&before.get(key), errors);
    }
    controller(at).unchanged(&before.get("reportingComponent"), errors);
}
