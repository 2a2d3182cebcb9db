//! Pictures of a run, as SVG: how long operations took, how many there were, and when something was broken.

use super::escape;
use super::operations::{End, Operation};
use crate::check::available::Interval;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// Where things are in a picture: times go from left to right.
pub(super) struct Frame {
    pub(super) from: f64,
    pub(super) until: f64,
    pub(super) height: f64,
    pub(super) left: f64,
}

impl Frame {
    fn new(until: f64) -> Self {
        Self { from: 0.0, until: until.max(0.001), height: HEIGHT, left: LEFT }
    }

    /// Pixels from the left, for seconds.
    pub(super) fn x(&self, seconds: f64) -> f64 {
        let part = ((seconds - self.from) / (self.until - self.from)).clamp(0.0, 1.0);
        self.left + part * (WIDTH - self.left - RIGHT)
    }

    fn y(&self, part: f64) -> f64 {
        self.height - BOTTOM - part.clamp(0.0, 1.0) * (self.height - TOP - BOTTOM)
    }

    /// The picture: shades where something was broken, a scale of seconds, and what is in it.
    pub(super) fn draw(&self, faults: &[Interval], inside: impl Display) -> String {
        let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {}" role="img">"#, self.height);
        let bottom = self.height - BOTTOM;
        for fault in faults {
            let (begin, end) = (seconds(fault.begin), fault.end.map_or(self.until, seconds));
            if end < self.from || begin > self.until {
                continue;
            }
            let (x, width) = (self.x(begin), (self.x(end) - self.x(begin)).max(1.5));
            let what = escape(&format!("{} {}", fault.f, shorten(&fault.value.to_string(), 160)));
            _ = write!(
                svg,
                r#"<rect class="fault" x="{x:.1}" y="{TOP}" width="{width:.1}" height="{:.1}"><title>{what}, {begin:.1} s to {end:.1} s</title></rect><text class="fault" x="{:.1}" y="{:.1}">{}</text>"#,
                bottom - TOP,
                x + 2.0,
                TOP + 10.0,
                escape(&fault.f)
            );
        }
        let step = scale_step(self.until - self.from);
        let mut mark = (self.from / step).ceil() * step;
        while mark <= self.until {
            let x = self.x(mark);
            _ = write!(
                svg,
                r#"<path class="grid" d="M{x:.1} {TOP}V{bottom}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{} s</text>"#,
                bottom + 16.0,
                trimmed(mark)
            );
            mark += step;
        }
        _ = write!(svg, "{inside}</svg>");
        svg
    }
}

pub(super) fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn trimmed(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most).chain("…".chars()).collect() }
}

/// Seconds between two marks: about ten of them, of 1, 2 or 5 times a power of ten.
fn scale_step(span: f64) -> f64 {
    let rough = (span / 10.0).max(1e-6);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(rough)
}

/// How long operations took, each a dot, on a scale of powers of ten. Dots that would lie on one another are one.
pub(super) fn latencies(operations: &[Operation<'_>], faults: &[Interval], until: f64) -> String {
    let frame = Frame::new(until);
    let (low, high) = (0.1f64, 100_000.0f64);
    let part = |milliseconds: f64| (milliseconds.max(low) / low).log10() / (high / low).log10();
    let mut dots: BTreeMap<End, BTreeSet<(i64, i64)>> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.f != "watch") {
        let Some(ended) = operation.ended else { continue };
        let (x, y) = (frame.x(seconds(operation.begun)), frame.y(part((ended - operation.begun) as f64 / 1e6)));
        dots.entry(operation.end).or_default().insert(((x * 2.0) as i64, (y * 2.0) as i64));
    }
    let mut inside = String::new();
    for (milliseconds, label) in [(1.0, "1 ms"), (10.0, "10 ms"), (100.0, "100 ms"), (1000.0, "1 s"), (10_000.0, "10 s")] {
        let y = frame.y(part(milliseconds));
        _ = write!(
            inside,
            r#"<path class="grid" d="M{LEFT} {y:.1}H{}"/><text x="{}" y="{:.1}" text-anchor="end">{label}</text>"#,
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
    for (end, dots) in dots {
        _ = write!(inside, r#"<path class="dot {}" d=""#, end.name());
        dots.iter().for_each(|(x, y)| _ = write!(inside, "M{} {}h0", *x as f64 / 2.0, *y as f64 / 2.0));
        inside.push_str("\"/>");
    }
    frame.draw(faults, inside)
}

/// How many operations ended in each second, by how they ended.
pub(super) fn rates(operations: &[Operation<'_>], faults: &[Interval], until: f64) -> String {
    let frame = Frame::new(until);
    let buckets = (until.ceil() as usize).clamp(1, 100_000);
    let mut counts: BTreeMap<End, Vec<usize>> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.f != "watch") {
        let Some(ended) = operation.ended else { continue };
        let bucket = (seconds(ended) as usize).min(buckets - 1);
        counts.entry(operation.end).or_insert_with(|| vec![0; buckets])[bucket] += 1;
    }
    let most = counts.values().flatten().copied().max().unwrap_or(1).max(1);
    let mut inside = String::new();
    for part in [0.0, 0.5, 1.0] {
        let y = frame.y(part);
        _ = write!(
            inside,
            r#"<path class="grid" d="M{LEFT} {y:.1}H{}"/><text x="{}" y="{:.1}" text-anchor="end">{}/s</text>"#,
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            trimmed(most as f64 * part)
        );
    }
    for (end, counts) in counts {
        _ = write!(inside, r#"<polyline class="line {}" points=""#, end.name());
        for (second, count) in counts.iter().enumerate() {
            _ = write!(inside, "{:.1},{:.1} ", frame.x((second as f64 + 0.5).min(until)), frame.y(*count as f64 / most as f64));
        }
        inside.push_str("\"/>");
    }
    frame.draw(faults, inside)
}
