//! Kinds that make pods, and those that count them.

use serde_json::Value;
use tricorn_meta::json::{get, int, list, text};
use tricorn_meta::{Timestamp, time};

use super::cell::{Cell, Column, NONE, col, containers, images, labels, selector, shown, since, wide};

fn spec(object: &Value) -> Option<&Value> {
    get(object, "spec.template.spec")
}

const CONTAINERS: Column = wide("Containers", Cell::Make(|o, _| containers(spec(o))));
const IMAGES: Column = wide("Images", Cell::Make(|o, _| images(spec(o))));
const SELECTOR: Column = wide("Selector", Cell::Make(|o, _| any_selector(o)));

/// The selector, of whichever form.
fn any_selector(object: &Value) -> String {
    let form = get(object, "spec.selector").and_then(Value::as_object);
    match form {
        Some(map) if map.contains_key("matchLabels") || map.contains_key("matchExpressions") => selector(object, "spec.selector"),
        _ => labels(object, "spec.selector"),
    }
}

pub(super) const DEPLOYMENT: &[Column] = &[
    col("Name", Cell::Name),
    col("Ready", Cell::Make(|o, _| format!("{}/{}", number(o, "status.readyReplicas"), number(o, "spec.replicas")))),
    col("Up-to-date", Cell::Int("status.updatedReplicas")).called("string"),
    col("Available", Cell::Int("status.availableReplicas")).called("string"),
    col("Age", Cell::Age),
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const REPLICAS: &[Column] = &[
    col("Name", Cell::Name),
    col("Desired", Cell::Int("spec.replicas")),
    col("Current", Cell::Int("status.replicas")),
    col("Ready", Cell::Int("status.readyReplicas")),
    col("Age", Cell::Age),
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const STATEFUL_SET: &[Column] = &[
    col("Name", Cell::Name),
    col("Ready", Cell::Make(|o, _| format!("{}/{}", number(o, "status.readyReplicas"), number(o, "spec.replicas")))),
    col("Age", Cell::Age),
    CONTAINERS,
    IMAGES,
];

pub(super) const DAEMON_SET: &[Column] = &[
    col("Name", Cell::Name),
    col("Desired", Cell::Int("status.desiredNumberScheduled")),
    col("Current", Cell::Int("status.currentNumberScheduled")),
    col("Ready", Cell::Int("status.numberReady")),
    col("Up-to-date", Cell::Int("status.updatedNumberScheduled")),
    col("Available", Cell::Int("status.numberAvailable")),
    col("Node Selector", Cell::Make(|o, _| labels(o, "spec.template.spec.nodeSelector"))),
    col("Age", Cell::Age),
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const POD_TEMPLATE: &[Column] = &[
    col("Name", Cell::Name),
    col("Containers", Cell::Make(|o, _| containers(get(o, "template.spec")))),
    col("Images", Cell::Make(|o, _| images(get(o, "template.spec")))),
    col("Pod Labels", Cell::Make(|o, _| labels(o, "template.metadata.labels"))),
];

pub(super) const CONTROLLER_REVISION: &[Column] = &[
    col("Name", Cell::Name),
    col("Controller", Cell::Make(|o, _| controller(o))),
    col("Revision", Cell::Int("revision")).called("string"),
    col("Age", Cell::Age),
];

pub(super) const JOB: &[Column] = &[
    col("Name", Cell::Name),
    col("Status", Cell::Make(|o, _| job_status(o).to_owned())),
    col("Completions", Cell::Make(|o, _| completions(o))),
    col("Duration", Cell::Make(job_duration)),
    col("Age", Cell::Age),
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const CRON_JOB: &[Column] = &[
    col("Name", Cell::Name),
    col("Schedule", Cell::Plain("spec.schedule")),
    col("Timezone", Cell::Text("spec.timeZone")),
    col("Suspend", Cell::Make(|o, _| if tricorn_meta::json::flag(o, "spec.suspend") { "True" } else { "False" }.to_owned()))
        .called("boolean"),
    col("Active", Cell::Count("status.active")),
    col(
        "Last Schedule",
        Cell::Make(
            |o, now| if text(o, "status.lastScheduleTime").is_empty() { NONE.to_owned() } else { since(o, "status.lastScheduleTime", now) },
        ),
    ),
    col("Age", Cell::Age),
    wide("Containers", Cell::Make(|o, _| containers(get(o, "spec.jobTemplate.spec.template.spec")))),
    wide("Images", Cell::Make(|o, _| images(get(o, "spec.jobTemplate.spec.template.spec")))),
    wide("Selector", Cell::Make(|o, _| selector(o, "spec.jobTemplate.spec.selector"))),
];

pub(super) const AUTOSCALER: &[Column] = &[
    col("Name", Cell::Name),
    col("Reference", Cell::Make(|o, _| format!("{}/{}", text(o, "spec.scaleTargetRef.kind"), text(o, "spec.scaleTargetRef.name")))),
    col("Targets", Cell::Make(|o, _| targets(o))),
    col("MinPods", Cell::Make(|o, _| shown(o, "spec.minReplicas").unwrap_or_else(|| "<unset>".to_owned()))),
    col("MaxPods", Cell::Int("spec.maxReplicas")).called("string"),
    col("Replicas", Cell::Int("status.currentReplicas")).called("string"),
    col("Age", Cell::Age),
];

pub(super) const SCALE: &[Column] = &[
    col("Name", Cell::Name),
    col("Desired", Cell::Int("spec.replicas")),
    col("Available", Cell::Int("status.replicas")),
    col("Age", Cell::Age),
];

pub(super) const BUDGET: &[Column] = &[
    col("Name", Cell::Name),
    col("Min Available", Cell::Make(|o, _| shown(o, "spec.minAvailable").unwrap_or_else(|| "N/A".to_owned()))),
    col("Max Unavailable", Cell::Make(|o, _| shown(o, "spec.maxUnavailable").unwrap_or_else(|| "N/A".to_owned()))),
    col("Allowed Disruptions", Cell::Int("status.disruptionsAllowed")),
    col("Age", Cell::Age),
];

fn number(object: &Value, path: &str) -> i64 {
    int(object, path).unwrap_or(0)
}

/// The owner that manages the object: `statefulset.apps/db`.
fn controller(object: &Value) -> String {
    let owner = list(object, "metadata.ownerReferences").iter().find(|o| tricorn_meta::json::flag(o, "controller"));
    let Some(owner) = owner else { return NONE.to_owned() };
    let (group, _) = tricorn_meta::gvk::split_api_version(text(owner, "apiVersion"));
    format!("{}/{}", tricorn_meta::gvk::qualify(&text(owner, "kind").to_lowercase(), group), text(owner, "name"))
}

fn job_status(job: &Value) -> &'static str {
    let has = |kind: &str| list(job, "status.conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True");
    let deleted = !text(job, "metadata.deletionTimestamp").is_empty();
    [
        (has("Complete"), "Complete"),
        (has("Failed"), "Failed"),
        (deleted, "Terminating"),
        (has("Suspended"), "Suspended"),
        (has("FailureTarget"), "FailureTarget"),
        (has("SuccessCriteriaMet"), "SuccessCriteriaMet"),
    ]
    .into_iter()
    .find_map(|(holds, name)| holds.then_some(name))
    .unwrap_or("Running")
}

fn completions(job: &Value) -> String {
    let done = number(job, "status.succeeded");
    match (int(job, "spec.completions"), int(job, "spec.parallelism").unwrap_or(0)) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    }
}

fn job_duration(job: &Value, now: Timestamp) -> String {
    let Some(start) = Timestamp::parse(text(job, "status.startTime")) else { return String::new() };
    let end = Timestamp::parse(text(job, "status.completionTime")).unwrap_or(now);
    time::human_duration(end.seconds_since(start))
}

/// What an autoscaler looks at: `cpu: 12%/80%`, the first two and how many more.
fn targets(scaler: &Value) -> String {
    if let Some(wanted) = int(scaler, "spec.targetCPUUtilizationPercentage") {
        let current = int(scaler, "status.currentCPUUtilizationPercentage").map_or("<unknown>".to_owned(), |c| format!("{c}%"));
        return format!("cpu: {current}/{wanted}%");
    }
    let metrics = list(scaler, "spec.metrics");
    let shown: Vec<String> =
        metrics.iter().enumerate().take(2).map(|(i, m)| target(m, list(scaler, "status.currentMetrics").get(i))).collect();
    match metrics.len() {
        0 => NONE.to_owned(),
        n if n > 2 => format!("{} + {} more...", shown.join(", "), n - 2),
        _ => shown.join(", "),
    }
}

fn target(metric: &Value, current: Option<&Value>) -> String {
    let (key, name) = match text(metric, "type") {
        "Resource" => ("resource", text(metric, "resource.name")),
        "ContainerResource" => ("containerResource", text(metric, "containerResource.name")),
        "Pods" => ("pods", ""),
        "Object" => ("object", ""),
        _ => ("external", ""),
    };
    let at = |value: Option<&Value>, path: &str| {
        value
            .and_then(|v| v.get(key))
            .and_then(|v| get(v, path))
            .and_then(|v| v.as_str().map(str::to_owned).or_else(|| v.as_i64().map(|n| n.to_string())))
    };
    let unknown = || "<unknown>".to_owned();
    let average = at(Some(metric), "target.averageValue");
    let text = match (at(Some(metric), "target.averageUtilization"), average) {
        (Some(wanted), _) => format!("{}/{wanted}%", at(current, "current.averageUtilization").map_or_else(unknown, |c| format!("{c}%"))),
        (None, Some(wanted)) if key == "external" || key == "object" => {
            format!("{}/{wanted} (avg)", at(current, "current.averageValue").unwrap_or_else(unknown))
        }
        (None, Some(wanted)) => format!("{}/{wanted}", at(current, "current.averageValue").unwrap_or_else(unknown)),
        (None, None) => {
            format!("{}/{}", at(current, "current.value").unwrap_or_else(unknown), at(Some(metric), "target.value").unwrap_or_default())
        }
    };
    if name.is_empty() { text } else { format!("{name}: {text}") }
}
