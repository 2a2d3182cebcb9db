//! Measurements as tables for people.

use std::fmt::Write;

use crate::compare::Comparison;
use crate::measure::Measurement;

const HEAD: &str = "workload            side      ops/s     p50 ms     p99 ms     max ms    cpu us/op    rss MiB   errors";

/// One line a load.
pub fn table(measurements: &[Measurement]) -> String {
    let mut text = format!("{}\n", HEAD.replace("side  ", "      "));
    for measured in measurements {
        line(&mut text, &measured.workload, "", measured);
    }
    text
}

/// Three lines a load: ours, etcd's, and how many times as much ours is. Above 1 is better for ops/s, below 1 for all else.
pub fn comparison(comparison: &Comparison) -> String {
    let mut text = format!("{HEAD}\n");
    for pair in &comparison.pairs {
        let (ours, etcd) = (&pair.ours, &pair.etcd);
        line(&mut text, &ours.workload, "ours", ours);
        line(&mut text, "", "etcd", etcd);
        let optional = |pick: fn(&Measurement) -> Option<f64>| pick(ours).zip(pick(etcd));
        let _ = writeln!(
            text,
            "{:<18} {:>5} {:>10} {:>10} {:>10} {:>10} {:>12} {:>10}",
            "",
            "ratio",
            ratio(Some((ours.per_second, etcd.per_second))),
            ratio(Some((ours.p50_ms, etcd.p50_ms))),
            ratio(Some((ours.p99_ms, etcd.p99_ms))),
            ratio(Some((ours.max_ms, etcd.max_ms))),
            ratio(optional(|m| m.cpu_us_per_operation)),
            ratio(optional(|m| m.rss_bytes.map(mebibytes))),
        );
    }
    let _ = writeln!(text, "medians of {} rounds, taken in turns; ratio = ours / etcd", comparison.rounds);
    text
}

fn line(text: &mut String, workload: &str, side: &str, measured: &Measurement) {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let _ = writeln!(
        text,
        "{workload:<18} {side:>5} {:>10.0} {:>10.2} {:>10.2} {:>10.2} {:>12} {:>10} {:>8}",
        measured.per_second,
        measured.p50_ms,
        measured.p99_ms,
        measured.max_ms,
        number(measured.cpu_us_per_operation),
        number(measured.rss_bytes.map(mebibytes)),
        measured.errors,
    );
    if let Some(error) = &measured.first_error {
        let _ = writeln!(text, "{:<24} first error: {error}", "");
    }
}

fn ratio(values: Option<(f64, f64)>) -> String {
    match values {
        Some((ours, etcd)) if etcd > 0.0 => format!("{:.2}x", ours / etcd),
        _ => "-".to_owned(),
    }
}

// Bytes of memory fit into the 53 bits.
#[allow(clippy::cast_precision_loss)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Pair;
    use crate::measure::{Run, Tally};

    fn measured(per_second: f64, cpu: Option<f64>) -> Measurement {
        Measurement { per_second, cpu_us_per_operation: cpu, p50_ms: 2.0, ..Run::begin(&[]).end("put", Tally::default()) }
    }

    #[test]
    fn ratios_are_ours_over_etcds() {
        let pairs = vec![Pair { ours: measured(300.0, Some(50.0)), etcd: measured(100.0, Some(100.0)) }];
        let text = comparison(&Comparison { pairs, rounds: 3 });
        for part in ["3.00x", "0.50x", "1.00x", "medians of 3 rounds"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(table(&[measured(1.0, None)]).contains(" - "));
    }
}
