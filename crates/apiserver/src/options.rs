//! The options of each verb, read from the query or, for deletions, the body.

use crate::context::Context;
use crate::info::Query;
use serde_json::Value;
use tricorn_meta::{FieldError, FieldPath, Status};
use tricorn_registry::{Continuation, Version};

/// How unknown fields are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// Options that create, update and patch share.
pub(crate) struct WriteParameters {
    pub dry_run: bool,
    pub field_validation: FieldValidation,
    pub field_manager: String,
    /// Whether the client named its field manager.
    pub named_manager: bool,
    pub force: bool,
}

/// A field manager's name is at most this long.
const MAX_MANAGER_BYTES: usize = 128;

impl WriteParameters {
    pub(crate) fn parse(context: &Context) -> Result<Self, Status> {
        let query = &context.query;
        let kind = match context.info.verb.as_str() {
            "update" => "UpdateOptions",
            "patch" => "PatchOptions",
            _ => "CreateOptions",
        };
        let field_validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => return Err(unsupported(kind, "fieldValidation", other, &["", "Ignore", "Strict", "Warn"])),
        };
        let named = query.get("fieldManager");
        let path = FieldPath::new("fieldManager");
        if named.is_some_and(|name| name.len() > MAX_MANAGER_BYTES) {
            return Err(refused(kind, vec![FieldError::too_long(&path, MAX_MANAGER_BYTES)]));
        }
        if let Some(name) = named.filter(|name| name.chars().any(char::is_control)) {
            return Err(refused(kind, vec![FieldError::invalid(&path, name, "should only contain printable characters")]));
        }
        let agent = context.header(http::header::USER_AGENT);
        let default = agent.split('/').next().unwrap_or_default();
        Ok(Self {
            dry_run: dry_run(query, kind)?,
            field_validation,
            field_manager: named.unwrap_or(if default.is_empty() { "unknown" } else { default }).chars().take(MAX_MANAGER_BYTES).collect(),
            named_manager: named.is_some(),
            force: query.get("force").is_some_and(|force| matches!(force, "true" | "1")),
        })
    }
}

fn dry_run(query: &Query, kind: &str) -> Result<bool, Status> {
    match query.get("dryRun") {
        None => Ok(false),
        Some("All") => Ok(true),
        Some(other) => Err(unsupported(kind, "dryRun", other, &["All"])),
    }
}

/// The refusal of options of this kind.
fn refused(kind: &str, errors: Vec<FieldError>) -> Status {
    Status::invalid("meta.k8s.io", kind, "", errors)
}

fn unsupported(kind: &str, field: &str, value: &str, supported: &[&str]) -> Status {
    refused(kind, vec![FieldError::not_supported(&FieldPath::new(field), value, supported)])
}

/// Options of list and watch.
pub(crate) struct ListParameters {
    pub version: Version,
    /// The revision that a watch begins after; `None`: where the server is.
    pub watch_from: Option<i64>,
    pub limit: usize,
    pub continuation: Option<Continuation>,
    pub bookmarks: bool,
    /// `Some(true)`: begin the watch with the objects as they are.
    pub initial_events: Option<bool>,
    pub timeout_seconds: Option<u64>,
}

impl ListParameters {
    pub(crate) fn parse(query: &Query, watch: bool) -> Result<Self, Status> {
        let wrong = list_errors(query, watch);
        if !wrong.is_empty() {
            return Err(refused("ListOptions", wrong));
        }
        let revision = revision(query)?;
        let matching = query.get("resourceVersionMatch");
        let continuation = query.get("continue").map(Continuation::decode).transpose()?;
        let initial_events = query.get("sendInitialEvents").map(|value| matches!(value, "true" | "1"));
        let limit = match query.get("limit") {
            None => 0,
            Some(text) => text.parse::<i64>().map_err(|_| Status::bad_request(format!("invalid limit {text:?}")))?.max(0),
        };
        if !watch && continuation.is_some() && revision.is_some_and(|revision| revision > 0) {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let version = match (revision, matching) {
            (Some(revision), Some("Exact")) => Version::Exact(revision),
            // A paged list without a match is exact, as it has been since pages exist.
            (Some(revision), None) if limit > 0 && !watch && revision > 0 => Version::Exact(revision),
            _ => at_least(revision),
        };
        let timeout_seconds = query.get("timeoutSeconds").and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
        Ok(Self {
            version,
            watch_from: revision.filter(|revision| *revision > 0),
            limit: usize::try_from(limit).unwrap_or(0),
            continuation,
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events,
            timeout_seconds,
        })
    }
}

/// How old the answer to the reading of one object may be. Other options of lists are not looked at, as upstream has it.
pub(crate) fn of_one(query: &Query) -> Result<Version, Status> {
    revision(query).map(at_least)
}

/// An answer that is no older than this.
fn at_least(revision: Option<i64>) -> Version {
    match revision {
        None => Version::Latest,
        Some(0) => Version::Any,
        Some(revision) => Version::NotOlderThan(revision),
    }
}

fn revision(query: &Query) -> Result<Option<i64>, Status> {
    let Some(text) = query.get("resourceVersion") else { return Ok(None) };
    let revision = text.parse::<i64>().ok().filter(|revision| *revision >= 0);
    let wrong = || Status::bad_request(format!("Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"));
    revision.map(Some).ok_or_else(wrong)
}

/// What of the options of a list or a watch does not go together.
fn list_errors(query: &Query, watch: bool) -> Vec<FieldError> {
    const EXACT: &str = "Exact";
    const NOT_OLDER: &str = "NotOlderThan";
    let mut errors = Vec::new();
    let path = FieldPath::new("resourceVersionMatch");
    let [version, continuation, initial] = ["resourceVersion", "continue", "sendInitialEvents"].map(|name| query.get(name));
    let matching = query.get("resourceVersionMatch");
    let mut forbid = |when: bool, path: &FieldPath, why: &str| errors.extend(when.then(|| FieldError::forbidden(path, why)));
    if watch {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        forbid(initial.is_some() && matching != Some(NOT_OLDER), &path, why);
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        forbid(matching.is_some() && initial.is_none(), &path, why);
    } else {
        let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        forbid(matching.is_some() && version.is_none(), &path, why);
    }
    forbid(matching.is_some() && continuation.is_some(), &path, "resourceVersionMatch is forbidden when continue is provided");
    let exact_any = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
    forbid(!watch && matching == Some(EXACT) && version == Some("0"), &path, exact_any);
    let initial_path = FieldPath::new("sendInitialEvents");
    forbid(!watch && initial.is_some(), &initial_path, "sendInitialEvents is forbidden for list");
    let supported: &[&str] = if watch { &[NOT_OLDER] } else { &[EXACT, NOT_OLDER, ""] };
    if let Some(other) = matching.filter(|matching| !supported.contains(matching)) {
        errors.push(FieldError::not_supported(&path, other, supported));
    }
    errors
}

/// What happens to the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// Options of a deletion.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteParameters {
    pub grace_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

impl DeleteParameters {
    /// From the body if there is one, else from the query.
    pub(crate) fn parse(query: &Query, body: &Value) -> Result<Self, Status> {
        const KIND: &str = "DeleteOptions";
        let text = |name: &str| body.get(name).and_then(Value::as_str).or_else(|| query.get(name));
        let grace_seconds = match (body.get("gracePeriodSeconds").and_then(Value::as_i64), query.get("gracePeriodSeconds")) {
            (Some(seconds), _) => Some(seconds),
            (None, Some(text)) => Some(text.parse().map_err(|_| Status::bad_request(format!("invalid gracePeriodSeconds {text:?}")))?),
            (None, None) => None,
        };
        let orphan =
            body.get("orphanDependents").and_then(Value::as_bool).or_else(|| query.get("orphanDependents").map(|text| text == "true"));
        let propagation = match (text("propagationPolicy"), orphan) {
            (Some(policy), Some(_)) => {
                let words = "orphanDependents and deletionPropagation cannot be both set";
                return Err(refused(KIND, vec![FieldError::invalid(&FieldPath::new("propagationPolicy"), policy, words)]));
            }
            (Some("Orphan"), None) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some("Background"), None) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), None) => Some(Propagation::Foreground),
            (Some(other), None) => {
                return Err(unsupported(KIND, "propagationPolicy", other, &["Foreground", "Background", "Orphan", "nil"]));
            }
            (None, None) => None,
        };
        let in_body = match body.get("dryRun").and_then(Value::as_array).map(Vec::as_slice) {
            None | Some([]) => false,
            Some(values) if values.iter().all(|value| value == "All") => true,
            Some(values) => {
                let other = values.iter().find(|value| **value != "All").and_then(Value::as_str).unwrap_or_default();
                return Err(unsupported(KIND, "dryRun", other, &["All"]));
            }
        };
        let precondition = |name: &str| body.get("preconditions").and_then(|all| all.get(name)).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            grace_seconds,
            propagation,
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
            dry_run: in_body || dry_run(query, KIND)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn who_reads_one_object_only_says_how_old_it_may_be() {
        for (query, expected) in [
            ("", Version::Latest),
            ("resourceVersion=0&resourceVersionMatch=Exact", Version::Any),
            ("resourceVersionMatch=Newest&limit=-1&resourceVersion=7", Version::NotOlderThan(7)),
        ] {
            assert_eq!(of_one(&Query::parse(query)).unwrap(), expected, "{query}");
        }
        assert_eq!(of_one(&Query::parse("resourceVersion=x")).unwrap_err().code(), 400);
    }

    #[test]
    fn options_of_lists_go_together_or_not() {
        let needs = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        for (watch, query, expected) in [
            (false, "resourceVersion=5&resourceVersionMatch=Exact", ""),
            (false, "resourceVersion=0&resourceVersionMatch=NotOlderThan&limit=5", ""),
            (
                false,
                "resourceVersionMatch=Exact",
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ),
            (
                false,
                "resourceVersion=0&resourceVersionMatch=Exact",
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ),
            (
                false,
                "resourceVersion=5&resourceVersionMatch=Newest",
                "resourceVersionMatch: Unsupported value: \"Newest\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
            ),
            (
                false,
                "resourceVersion=5&resourceVersionMatch=Exact&continue=x",
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            ),
            (false, "sendInitialEvents=false", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
            (true, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan", ""),
            (true, "sendInitialEvents=true", needs),
            (
                true,
                "resourceVersionMatch=NotOlderThan",
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
            (
                true,
                "sendInitialEvents=true&resourceVersionMatch=Exact",
                &format!("{needs}|resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\""),
            ),
        ] {
            let found = list_errors(&Query::parse(query), watch);
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("|"), expected, "{query}");
        }
    }

    #[test]
    fn options_of_deletions_are_refused_in_upstreams_words() {
        for (body, expected) in [
            (
                json!({"propagationPolicy": "Never"}),
                "propagationPolicy: Unsupported value: \"Never\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
            ),
            (
                json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
                "propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set",
            ),
            (json!({"dryRun": ["Some"]}), "dryRun: Unsupported value: \"Some\": supported values: \"All\""),
        ] {
            let refusal = DeleteParameters::parse(&Query::default(), &body).unwrap_err();
            assert_eq!(refusal.message(), format!("DeleteOptions.meta.k8s.io \"\" is invalid: {expected}"));
        }
    }
}
