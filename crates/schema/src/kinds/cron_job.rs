//! CronJobs.

use tricorn_meta::FieldError;

use super::check::{At, Errors};
use super::job;

/// The rules for a CronJob.
pub(super) fn rules(at: &At<'_>, errors: &mut Errors) {
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
    zone(&spec.get("timeZone"), errors);
    spec.get("concurrencyPolicy").required_one_of(&["Allow", "Forbid", "Replace"], errors);
    let template = spec.at("jobTemplate.spec");
    job::template_rules(&template, errors);
    if template.get("selector").is_set() {
        template.get("selector").invalid("`selector` will be auto-generated", errors);
    }
    if template.get("manualSelector").flag() {
        errors.push(FieldError::not_supported(&template.get("manualSelector").path, true, &["nil", "false"]));
    }
    spec.get("successfulJobsHistoryLimit").not_negative(errors);
    spec.get("failedJobsHistoryLimit").not_negative(errors);
}

/// A zone's name is written as a path. Whether there is such a zone is not known here.
fn zone(at: &At<'_>, errors: &mut Errors) {
    if !at.is_set() {
        return;
    }
    if at.is_empty() {
        return at.invalid("timeZone must be nil or non-empty string", errors);
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_+".contains(&b);
    let part = |p: &str| (1..=14).contains(&p.len()) && !matches!(p, "." | "..") && !p.starts_with('-') && p.bytes().all(plain);
    if !at.text().split('/').all(part) {
        return at.invalid(format!("unknown time zone {}", at.text()), errors);
    }
    if at.text().eq_ignore_ascii_case("local") {
        at.invalid("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones", errors);
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
