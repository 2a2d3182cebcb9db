//! What clients did around a moment: a lane a client, a bar an operation.

use super::escape;
use super::operations::{End, Operation};
use super::plot::{Frame, seconds, shorten};
use crate::check::available::Interval;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

/// So many operations are drawn of one moment.
const MAX_OPERATIONS: usize = 160;
/// At most so many seconds on either side.
const MAX_SECONDS: f64 = 10.0;
const LANE: f64 = 18.0;

/// Operations around the entries that a finding names, or else around a time. None if there are no operations.
pub(super) fn timeline(operations: &[Operation<'_>], faults: &[Interval], marked: &[usize], around: u64) -> Option<String> {
    let marked: HashSet<usize> = marked.iter().copied().collect();
    let is_marked = |operation: &Operation<'_>| {
        marked.contains(&operation.index) || operation.returned.is_some_and(|returned| marked.contains(&returned))
    };
    let middle = operations.iter().rev().find(|operation| is_marked(operation)).map_or(around, |operation| operation.begun);
    let mut near: Vec<&Operation<'_>> = operations.iter().collect();
    near.sort_by_key(|operation| (!is_marked(operation), operation.begun.abs_diff(middle)));
    let far = |operation: &&Operation<'_>| is_marked(operation) || seconds(operation.begun.abs_diff(middle)) <= MAX_SECONDS;
    let near: Vec<&Operation<'_>> = near.into_iter().take(MAX_OPERATIONS).filter(far).collect();
    let shown = |operation: &&&Operation<'_>| seconds(operation.begun.abs_diff(middle)) <= MAX_SECONDS;
    let from = seconds(near.iter().filter(shown).map(|operation| operation.begun).min()?);
    let last =
        near.iter().filter(shown).map(|operation| operation.ended.unwrap_or(operation.begun).min(operation.begun + 2_000_000_000)).max()?;
    let mut lanes: BTreeMap<u64, usize> = near.iter().map(|operation| (operation.client, 0)).collect();
    for (lane, place) in lanes.values_mut().enumerate() {
        *place = lane;
    }
    let margin = ((seconds(last) - from) * 0.02).max(0.0005);
    let frame = Frame { from: from - margin, until: seconds(last) + margin, height: 36.0 + LANE * lanes.len() as f64, left: 56.0 };
    let mut inside = String::new();
    for (client, lane) in &lanes {
        _ = write!(inside, r#"<text x="50" y="{:.1}" text-anchor="end">{client}</text>"#, 22.0 + LANE * *lane as f64);
    }
    for operation in near {
        let y = 11.0 + LANE * lanes.get(&operation.client).copied().unwrap_or(0) as f64;
        let (x, end) = (frame.x(seconds(operation.begun)), frame.x(operation.ended.map_or(frame.until, seconds)));
        let width = (end - x).max(2.0);
        let class = if is_marked(operation) { " marked" } else { "" };
        _ = write!(
            inside,
            r#"<rect class="bar {}{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{}"><title>{}</title></rect>"#,
            operation.end.name(),
            LANE - 4.0,
            escape(&told(operation))
        );
    }
    Some(frame.draw(faults, inside))
}

fn told(operation: &Operation<'_>) -> String {
    let mut text = format!("entry {}: client {} {}", operation.index, operation.client, operation.f);
    if let Some(node) = operation.node {
        _ = write!(text, " on {node}");
    }
    _ = write!(text, "\n{}", shorten(&operation.request.to_string(), 400));
    match (operation.end, operation.answer, operation.error) {
        (End::Open, ..) => text.push_str("\nnever ended"),
        (end, answer, error) => {
            let answer = answer.map(|answer| shorten(&answer.to_string(), 400)).unwrap_or_default();
            _ = write!(text, "\n{} {answer} {}", end.name(), error.unwrap_or_default());
        }
    }
    if let Some(ended) = operation.ended {
        _ = write!(text, "\n{:.3} s, took {:.3} ms", seconds(operation.begun), (ended - operation.begun) as f64 / 1e6);
    }
    text
}
