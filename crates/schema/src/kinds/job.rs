//! Jobs.

use serde_json::{Value, json};
use tricorn_meta::json::{ensure_object, flag, int, text};
use tricorn_meta::{FieldError, LabelSelector, names};

use super::check::{At, Errors, same};
use super::network::domain_path;
use super::{metadata, pod};

const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Jobs select their pods by a label that carries their own UID, unless the writer took that on.
pub(super) fn prepare(job: &mut Value) {
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
    if let Some(labels) = ensure_object(job, "spec.selector.matchLabels") {
        labels.entry(UID_LABELS[0]).or_insert_with(|| json!(uid));
    }
}

/// The rules for a new Job, beyond those that it keeps.
pub(super) fn create(at: &At<'_>, errors: &mut Errors) {
    let (spec, name) = (at.get("spec"), at.at("metadata.name"));
    let selector = spec.get("selector");
    if !spec.get("manualSelector").flag() && selector.is_set() && !at.at("metadata.uid").is_empty() {
        let (uid, name) = (at.at("metadata.uid").value, name.value);
        let made = json!({"metadata": {"labels": {UID_LABELS[0]: uid, UID_LABELS[1]: uid, NAME_LABELS[0]: name, NAME_LABELS[1]: name}}});
        if LabelSelector::from_json(selector.value).is_ok_and(|s| !s.matches_object(&made)) {
            selector.invalid("`selector` not auto-generated", errors);
        }
    }
    // The pods of an indexed Job have their index behind its name, and are called so on the network.
    let completions = spec.get("completions").int().unwrap_or(0);
    if spec.get("completionMode").text() == "Indexed" && completions > 0 {
        let last = format!("{}-{}", name.text(), completions - 1);
        if !names::dns1123_label(&last).is_empty() {
            name.invalid(format!("will not able to create pod with invalid DNS label: {last}"), errors);
        }
    }
}

/// The rules for a Job's spec.
pub(super) fn rules(spec: &At<'_>, errors: &mut Errors) {
    template_rules(spec, errors);
    let selector = spec.get("selector");
    if !selector.is_set() {
        return selector.required("", errors);
    }
    metadata::selector(&selector, errors);
    if LabelSelector::from_json(selector.value).is_ok_and(|s| !s.matches_object(spec.get("template").value)) {
        let labels = spec.at("template.metadata.labels");
        labels.invalid("`selector` does not match template `labels`", errors);
    }
}

/// The rules that the spec has in a CronJob's template too, which selects nothing yet.
pub(super) fn template_rules(spec: &At<'_>, errors: &mut Errors) {
    numbers(spec, errors);
    indexes(spec, errors);
    failures(spec, errors);
    successes(spec, errors);
    let manager = spec.get("managedBy");
    if manager.is_set() {
        domain_path(&manager, errors);
        manager.at_most_bytes(63, errors);
    }
    let replacement = spec.get("podReplacementPolicy");
    if spec.get("podFailurePolicy").is_set() {
        replacement.one_of(&["Failed"], errors);
    } else {
        replacement.one_of(&["Failed", "TerminatingOrFailed"], errors);
    }
    pod::template(&spec.get("template"), errors);
    let policy = spec.at("template.spec.restartPolicy");
    match policy.text() {
        "Always" | "" => policy.required("valid values: \"OnFailure\", \"Never\"", errors),
        "OnFailure" if spec.get("podFailurePolicy").is_set() => {
            policy.invalid("only \"Never\" is supported when podFailurePolicy is specified", errors);
        }
        _ => policy.one_of(&["OnFailure", "Never"], errors),
    }
}

fn numbers(spec: &At<'_>, errors: &mut Errors) {
    let none_negative = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    none_negative.iter().for_each(|key| spec.get(key).not_negative(errors));
    if spec.get("maxFailedIndexes").is_set() && !spec.get("backoffLimitPerIndex").is_set() {
        spec.get("backoffLimitPerIndex").required("when maxFailedIndexes is specified", errors);
    }
    spec.get("completionMode").one_of(&["NonIndexed", "Indexed"], errors);
}

const PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
/// Above so many completions a Job that counts failures index by index may not keep all of them in mind.
const COMPLETIONS_MANY: i64 = 100_000;
const WITH_MANY_MAX: i64 = 10_000;

fn indexes(spec: &At<'_>, errors: &mut Errors) {
    let (completions, parallelism, failed) = (spec.get("completions"), spec.get("parallelism"), spec.get("maxFailedIndexes"));
    let each = spec.get("backoffLimitPerIndex");
    if spec.get("completionMode").text() != "Indexed" {
        for at in [each, failed].iter().filter(|at| at.is_set()) {
            at.invalid("requires indexed completion mode", errors);
        }
        return;
    }
    if !completions.is_set() {
        completions.required("when completion mode is Indexed", errors);
    }
    let above = |at: &At<'_>, max: i64| at.int().is_some_and(|n| n > max);
    if above(&parallelism, PARALLELISM_MAX) {
        parallelism.invalid(format!("must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed"), errors);
    }
    if completions.int().is_some_and(|all| above(&failed, all)) {
        failed.invalid("must be less than or equal to completions", errors);
    }
    if above(&failed, FAILED_INDEXES_MAX) {
        failed.invalid(format!("must be less than or equal to {FAILED_INDEXES_MAX}"), errors);
    }
    if above(&completions, COMPLETIONS_MANY) && each.is_set() {
        if !failed.is_set() {
            failed.required(&format!("must be specified when completions is above {COMPLETIONS_MANY}"), errors);
        }
        for at in [parallelism, failed].iter().filter(|at| above(at, WITH_MANY_MAX)) {
            let words = format!(
                "must be less than or equal to {WITH_MANY_MAX} when completions are above {COMPLETIONS_MANY} and used with backoff limit per index"
            );
            at.invalid(words, errors);
        }
    }
}

/// What a pod's failure means to the Job.
fn failures(spec: &At<'_>, errors: &mut Errors) {
    let rules = spec.at("podFailurePolicy.rules");
    rules.at_most_items(20, errors);
    for rule in rules.items() {
        let (action, codes, conditions) = (rule.get("action"), rule.get("onExitCodes"), rule.get("onPodConditions"));
        match action.text() {
            "" => action.required("valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]", errors),
            "FailIndex" if !spec.get("backoffLimitPerIndex").is_set() => {
                action.invalid("requires the backoffLimitPerIndex to be set", errors);
            }
            _ => action.one_of(&["Count", "FailIndex", "FailJob", "Ignore"], errors),
        }
        if codes.is_set() {
            exit_codes(&codes, spec, errors);
        }
        conditions.at_most_items(20, errors);
        for pattern in conditions.items() {
            let status = pattern.get("status");
            pattern.get("type").named(names::qualified_name, errors);
            if status.is_empty() {
                status.required("valid values: [\"False\" \"True\" \"Unknown\"]", errors);
            }
            status.one_of(&["False", "True", "Unknown"], errors);
        }
        let wrong = match (codes.is_set(), conditions.is_empty()) {
            (true, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
            (false, true) => "specifying one of OnExitCodes and OnPodConditions is required",
            _ => continue,
        };
        let mut error = FieldError::invalid(&rule.path, "", wrong);
        error.bad_value = None;
        errors.push(error);
    }
}

fn exit_codes(at: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let (operator, container, values) = (at.get("operator"), at.get("containerName"), at.get("values"));
    if operator.is_empty() {
        operator.required("valid values: [\"In\" \"NotIn\"]", errors);
    }
    operator.one_of(&["In", "NotIn"], errors);
    let lists = ["containers", "initContainers"].map(|list| spec.at("template.spec").get(list));
    let known = lists.iter().flat_map(At::items).any(|c| c.get("name").text() == container.text());
    if container.is_set() && !known {
        container.invalid("must be one of the container or initContainer names in the pod template", errors);
    }
    if values.is_empty() {
        values.invalid_as(json!([]), "at least one value is required", errors);
    }
    values.at_most_items(255, errors);
    let mut seen: Vec<i64> = Vec::new();
    for value in values.items() {
        let code = value.int().unwrap_or(0);
        if operator.text() == "In" && code == 0 {
            value.invalid("must not be 0 for the In operator", errors);
        }
        if seen.contains(&code) {
            value.duplicate(errors);
        }
        seen.push(code);
    }
    if !seen.is_sorted() {
        values.invalid("must be ordered", errors);
    }
}

/// Which indexes are enough.
fn successes(spec: &At<'_>, errors: &mut Errors) {
    let policy = spec.get("successPolicy");
    if !policy.is_set() {
        return;
    }
    if spec.get("completionMode").text() != "Indexed" {
        return policy.invalid("requires indexed completion mode", errors);
    }
    let rules = policy.get("rules");
    if rules.is_empty() {
        return rules.required("at least one rules must be specified when the successPolicy is specified", errors);
    }
    rules.at_most_items(20, errors);
    let completions = spec.get("completions").int().unwrap_or(0);
    for rule in rules.items() {
        let (indexes, count) = (rule.get("succeededIndexes"), rule.get("succeededCount"));
        if !indexes.is_set() && !count.is_set() {
            rule.required("at least one of succeededCount or succeededIndexes must be specified", errors);
        }
        let mut most = None;
        if indexes.is_set() {
            match intervals(indexes.text(), completions) {
                Ok(total) => most = Some(total),
                Err(wrong) => indexes.invalid(format!("error parsing succeededIndexes: {wrong}"), errors),
            }
        }
        count.not_negative(errors);
        let Some(n) = count.int() else { continue };
        if n > completions {
            count.invalid(format!("must be less than or equal to {completions} (the number of specified completions)"), errors);
        }
        if most.is_some_and(|most| n > most) {
            let most = most.unwrap_or(0);
            count.invalid(
                format!("must be less than or equal to {most} (the number of indexes in the specified succeededIndexes field)"),
                errors,
            );
        }
    }
}

/// How many indexes `1,3-5` stands for.
fn intervals(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let number = |text: &str| text.parse::<i64>().map_err(|_| format!("cannot convert string to integer for index: {text:?}"));
        let (first, end) = part.split_once('-').map_or((part, part), |(first, end)| (first, end));
        let (first, end) = (number(first)?, number(end)?);
        if last.is_some_and(|last| first <= last) {
            return Err(format!("non-increasing order, previous: {}, current: {first}", last.unwrap_or(0)));
        }
        if end < first || (end == first && part.contains('-')) {
            return Err(format!("non-increasing order, previous: {first}, current: {end}"));
        }
        if end >= completions {
            return Err("too large index for position".to_owned());
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// What of a Job may not change.
pub(super) fn change(at: &At<'_>, before: &At<'_>, errors: &mut Errors) {
    let (spec, then) = (at.get("spec"), before.get("spec"));
    for key in ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        spec.get(key).unchanged(&then.get(key), errors);
    }
    let (completions, indexed) = (spec.get("completions"), spec.get("completionMode").text() == "Indexed");
    if completions.value != then.get("completions").value {
        if !indexed {
            completions.invalid("field is immutable", errors);
        } else if completions.is_set() && completions.value != spec.get("parallelism").value {
            completions.invalid("can only be modified in tandem with spec.parallelism", errors);
        }
    }
    // A suspended Job that never ran may still be told where to run, and on how much.
    let waiting = then.get("suspend").flag() && !before.at("status.startTime").is_set();
    let (template, was) = (spec.get("template"), then.get("template"));
    let same_pods = match waiting {
        true => same(&pod::replaced(template.value, was.value), was.value),
        false => same(template.value, was.value),
    };
    if !same_pods {
        template.invalid("field is immutable", errors);
    }
}

/// The rules for a Job's status.
pub(super) fn status(status: &At<'_>, errors: &mut Errors) {
    for key in ["active", "succeeded", "failed", "ready", "terminating"] {
        status.get(key).not_negative(errors);
    }
    let mut seen: Vec<&str> = Vec::new();
    for uid in ["succeeded", "failed"].map(|key| status.get("uncountedTerminatedPods").get(key)).iter().flat_map(At::items) {
        if uid.is_empty() {
            uid.invalid("must not be empty", errors);
        } else {
            uid.unique(&mut seen, errors);
        }
    }
}
