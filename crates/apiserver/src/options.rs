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
        let field_validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => return Err(invalid("fieldValidation", other, "supported values: \"Ignore\", \"Strict\", \"Warn\"")),
        };
        let named = query.get("fieldManager");
        if let Some(name) = named
            && (name.len() > MAX_MANAGER_BYTES || name.chars().any(char::is_control))
        {
            return Err(invalid("fieldManager", name, "must be printable and at most 128 characters"));
        }
        let agent = context.header(http::header::USER_AGENT);
        let default = agent.split('/').next().unwrap_or_default();
        Ok(Self {
            dry_run: dry_run(query)?,
            field_validation,
            field_manager: named.unwrap_or(if default.is_empty() { "unknown" } else { default }).chars().take(MAX_MANAGER_BYTES).collect(),
            named_manager: named.is_some(),
            force: query.get("force").is_some_and(|force| matches!(force, "true" | "1")),
        })
    }
}

pub(crate) fn dry_run(query: &Query) -> Result<bool, Status> {
    match query.get("dryRun") {
        None => Ok(false),
        Some("All") => Ok(true),
        Some(other) => Err(invalid("dryRun", other, "supported values: \"All\"")),
    }
}

fn invalid(field: &str, value: &str, detail: &str) -> Status {
    Status::invalid("meta.k8s.io", "Options", "", vec![FieldError::invalid(&FieldPath::new(field), value, detail)])
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
        let revision = match query.get("resourceVersion") {
            None => None,
            Some(text) => Some(text.parse::<i64>().ok().filter(|revision| *revision >= 0).ok_or_else(|| {
                Status::bad_request(format!("Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"))
            })?),
        };
        let matching = query.get("resourceVersionMatch");
        let continuation = query.get("continue").map(Continuation::decode).transpose()?;
        let initial_events = query.get("sendInitialEvents").map(|value| matches!(value, "true" | "1"));
        let limit = match query.get("limit") {
            None => 0,
            Some(text) => text.parse::<i64>().map_err(|_| Status::bad_request(format!("invalid limit {text:?}")))?.max(0),
        };
        if watch {
            check_watch(matching, initial_events, limit)?;
        } else {
            check_list(revision, matching, continuation.is_some(), initial_events)?;
        }
        let version = match (revision, matching) {
            (None, _) => Version::Latest,
            (Some(revision), Some("Exact")) => Version::Exact(revision),
            (Some(0), _) => Version::Any,
            // A paged list without a match is exact, as it has been since pages exist.
            (Some(revision), None) if limit > 0 && !watch => Version::Exact(revision),
            (Some(revision), _) => Version::NotOlderThan(revision),
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

fn list_options(field: &str, detail: &str) -> Status {
    Status::invalid("meta.k8s.io", "ListOptions", "", vec![FieldError::forbidden(&FieldPath::new(field), detail)])
}

fn check_list(revision: Option<i64>, matching: Option<&str>, continued: bool, initial_events: Option<bool>) -> Result<(), Status> {
    if initial_events.is_some() {
        return Err(list_options("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    match matching {
        None => {}
        Some(_) if revision.is_none() => {
            return Err(list_options("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"));
        }
        Some(_) if continued => {
            return Err(list_options("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
        }
        Some("Exact") if revision == Some(0) => {
            return Err(list_options("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
        }
        Some("Exact" | "NotOlderThan") => {}
        Some(other) => {
            return Err(list_options(
                "resourceVersionMatch",
                &format!("unsupported value {other:?}: supported are \"Exact\" and \"NotOlderThan\""),
            ));
        }
    }
    if continued && revision.is_some_and(|revision| revision > 0) {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    Ok(())
}

fn check_watch(matching: Option<&str>, initial_events: Option<bool>, limit: i64) -> Result<(), Status> {
    match (initial_events, matching) {
        (Some(_), Some("NotOlderThan")) | (None, None) => {}
        (Some(_), None) => {
            return Err(list_options("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
        }
        (Some(_), Some(_)) => {
            return Err(list_options("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
        }
        (None, Some(_)) => {
            return Err(list_options(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
    }
    let _ = limit;
    Ok(())
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
        let text = |name: &str| body.get(name).and_then(Value::as_str).or_else(|| query.get(name));
        let grace_seconds = match (body.get("gracePeriodSeconds").and_then(Value::as_i64), query.get("gracePeriodSeconds")) {
            (Some(seconds), _) => Some(seconds),
            (None, Some(text)) => Some(text.parse().map_err(|_| Status::bad_request(format!("invalid gracePeriodSeconds {text:?}")))?),
            (None, None) => None,
        };
        let orphan =
            body.get("orphanDependents").and_then(Value::as_bool).or_else(|| query.get("orphanDependents").map(|text| text == "true"));
        let propagation = match (text("propagationPolicy"), orphan) {
            (Some(_), Some(_)) => {
                return Err(invalid("propagationPolicy", "", "orphanDependents and deletionPropagation cannot be both set"));
            }
            (Some("Orphan"), None) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some("Background"), None) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), None) => Some(Propagation::Foreground),
            (Some(other), None) => {
                return Err(invalid("propagationPolicy", other, "supported values: \"Background\", \"Foreground\", \"Orphan\""));
            }
            (None, None) => None,
        };
        let in_body = match body.get("dryRun").and_then(Value::as_array).map(Vec::as_slice) {
            None | Some([]) => false,
            Some(values) if values.iter().all(|value| value == "All") => true,
            Some(_) => return Err(invalid("dryRun", "", "supported values: \"All\"")),
        };
        let precondition = |name: &str| body.get("preconditions").and_then(|all| all.get(name)).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            grace_seconds,
            propagation,
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
            dry_run: in_body || dry_run(query)?,
        })
    }
}
