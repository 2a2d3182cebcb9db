//! Jobs and CronJobs.

use serde_json::{Value, json};
use tricorn_meta::json::{ensure_object, flag, get, int, set, text};
use tricorn_meta::{FieldError, LabelSelector};

use super::check::{At, Errors, same};
use super::{metadata, pod};

const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Jobs select their pods by a label that carries their own UID, unless the writer took that on.
pub(super) fn prepare_job(job: &mut Value) {
    if flag(job, "spec.manualSelector") {
        return;
    }
    let (uid, name) = (text(job, "metadata.uid").to_owned(), text(job, "metadata.name").to_owned());
    if uid.is_empty() || int(job, "spec.completions") == Some(-1) {
        return;
    }
    if let Some(labels) = ensure_object(job, "spec.template.metadata.labels") {
        UID_LABELS.iter().for_each(|l| drop(labels.insert((*l).to_owned(), json!(uid))));
        NAME_LABELS.iter().for_each(|l| drop(labels.insert((*l).to_owned(), json!(name))));
    }
    if get(job, "spec.selector").is_none_or(Value::is_null) {
        set(job, "spec.selector", json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
    }
}

/// The rules for a Job's spec.
pub(super) fn job(spec: &At<'_>, errors: &mut Errors) {
    numbers(spec, errors);
    let selector = spec.get("selector");
    if !selector.is_set() {
        selector.required("", errors);
    } else {
        metadata::selector(&selector, errors);
        if LabelSelector::from_json(selector.value).is_ok_and(|s| !s.matches_object(spec.get("template").value)) {
            let labels = spec.at("template.metadata.labels");
            errors.push(FieldError::invalid(&labels.path, labels.value.clone(), "`selector` does not match template `labels`"));
        }
    }
    template(spec, errors);
}

fn numbers(spec: &At<'_>, errors: &mut Errors) {
    for key in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        spec.get(key).not_negative(errors);
    }
    let mode = spec.get("completionMode");
    mode.one_of(&["Indexed", "NonIndexed"], errors);
    let completions = spec.get("completions");
    if mode.text() == "Indexed" && completions.int().is_none() {
        completions.required("when completion mode is Indexed", errors);
    }
    if spec.get("backoffLimitPerIndex").is_set() && mode.text() != "Indexed" {
        spec.get("backoffLimitPerIndex").invalid("requires indexed completion mode", errors);
    }
    spec.get("podReplacementPolicy").one_of(&["Failed", "TerminatingOrFailed"], errors);
    let rules = spec.at("podFailurePolicy.rules");
    for rule in rules.items() {
        rule.get("action").required_one_of(&["Count", "FailIndex", "FailJob", "Ignore"], errors);
    }
}

fn template(spec: &At<'_>, errors: &mut Errors) {
    pod::template(&spec.get("template"), errors);
    let policy = spec.at("template.spec.restartPolicy");
    if policy.text() == "Always" || policy.is_empty() {
        errors.push(FieldError::required(&policy.path, "valid values: \"OnFailure\", \"Never\""));
    }
    if spec.get("podFailurePolicy").is_set() && policy.text() != "Never" {
        errors.push(FieldError::invalid(&policy.path, policy.text(), "only \"Never\" is supported when podFailurePolicy is specified"));
    }
}

/// What of a Job may not change.
pub(super) fn job_change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (spec, then) = (at.get("spec"), before.get("spec"));
    for key in ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        spec.get(key).unchanged(&then.get(key), errors);
    }
    let completions = spec.get("completions");
    let indexed = spec.get("completionMode").text() == "Indexed";
    let elastic = indexed && spec.get("parallelism").value == completions.value;
    if completions.value != then.get("completions").value && !elastic {
        completions.invalid("field is immutable", errors);
    }
    // A suspended Job that never ran may still be told where to run.
    let waiting = then.get("suspend").flag() && !before.at("status.startTime").is_set();
    if waiting {
        let fixed = |v: &Value| {
            let mut v = v.clone();
            let nowhere = ["nodeSelector", "tolerations", "affinity", "schedulingGates", "containers", "initContainers"];
            if let Some(spec) = v.get_mut("spec").and_then(Value::as_object_mut) {
                nowhere.iter().for_each(|k| drop(spec.remove(*k)));
            }
            if let Some(meta) = v.as_object_mut() {
                meta.remove("metadata");
            }
            v
        };
        if !same(&fixed(spec.get("template").value), &fixed(then.get("template").value)) {
            spec.get("template").invalid("field is immutable", errors);
        }
    } else {
        spec.get("template").unchanged(&then.get("template"), errors);
    }
}

/// The rules for a CronJob.
pub(super) fn cron_job(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let schedule = spec.get("schedule");
    if schedule.need(errors) {
        if schedule.text().contains("TZ") {
            schedule.invalid("cannot use TZ or CRON_TZ in schedule, use timeZone field instead", errors);
        } else if let Some(wrong) = cron_error(schedule.text()) {
            schedule.invalid(wrong, errors);
        }
    }
    spec.get("startingDeadlineSeconds").not_negative(errors);
    spec.get("concurrencyPolicy").required_one_of(&["Allow", "Forbid", "Replace"], errors);
    let zone = spec.get("timeZone");
    if zone.is_set() && zone.text().is_empty() {
        zone.invalid("timeZone must be nil or non-empty string", errors);
    }
    spec.get("successfulJobsHistoryLimit").not_negative(errors);
    spec.get("failedJobsHistoryLimit").not_negative(errors);
    let job = spec.at("jobTemplate.spec");
    numbers(&job, errors);
    template(&job, errors);
    if job.get("manualSelector").flag() {
        errors.push(FieldError::not_supported(&job.get("manualSelector").path, true, &["nil", "false"]));
    }
}

/// What is wrong with a schedule: five fields, or a shorthand.
fn cron_error(schedule: &str) -> Option<String> {
    if let Some(word) = schedule.strip_prefix('@') {
        let known =
            ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"].contains(&word) || word.starts_with("every ");
        return (!known).then(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
    fields.iter().zip(bounds).find_map(|(field, bounds)| field.split(',').find_map(|part| cron_part(part, bounds)))
}

fn cron_part(part: &str, (low, high): (u32, u32)) -> Option<String> {
    const WORDS: [&str; 19] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "sun", "mon", "tue", "wed", "thu", "fri", "sat",
    ];
    let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
    if step.is_some_and(|s| s.parse::<u32>().is_ok_and(|n| n == 0)) {
        return Some(format!("step of range should be a positive number: {part}"));
    }
    if step.is_some_and(|s| s.parse::<u32>().is_err()) {
        return Some(format!("failed to parse int from {part}"));
    }
    if matches!(range, "*" | "?") {
        return None;
    }
    let mut bounds = range.splitn(2, '-').filter(|word| !WORDS.contains(&word.to_lowercase().as_str()));
    bounds.find_map(|word| match word.parse::<u32>() {
        Err(_) => Some(format!("failed to parse int from {word}: strconv.Atoi: parsing {word:?}: invalid syntax")),
        Ok(n) if n < low => Some(format!("beginning of range ({n}) below minimum ({low}): {part}")),
        Ok(n) if n > high => Some(format!("end of range ({n}) above maximum ({high}): {part}")),
        Ok(_) => None,
    })
}
