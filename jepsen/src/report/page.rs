//! The page of a run: one file that opens without a network.

use super::operations::{End, operations};
use super::plot::{self, shorten};
use super::timeline::timeline;
use super::{RunInfo, escape};
use crate::check::available::faults;
use crate::check::{Finding, Validity, Verdict};
use crate::history::History;
use std::fmt::Write;

/// So many findings get a picture of what happened around them.
const MAX_PICTURES: usize = 6;
/// So many findings of one checker are told on the page; `results.json` has more.
const MAX_TOLD: usize = 20;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1d2430;--paper:#fff;--soft:#6b7484;--rule:#dfe3ea;--ok:#2f9e62;--info:#e08a00;--fail:#c9364b;--open:#7a5cc9;--fault:#c9364b}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ef;--paper:#14181f;--soft:#98a2b3;--rule:#2b323d}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1000px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin-bottom:.2rem}h2{font-size:1.05rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--rule);vertical-align:top}
td.valid{color:var(--ok)}td.INVALID{color:var(--fail);font-weight:700}td.unknown{color:var(--info)}td.nothing{color:var(--soft)}
.soft{color:var(--soft)}ul{margin:.2rem 0;padding-left:1.1rem}code{font-size:.85em}
svg{width:100%;height:auto;display:block;margin:.4rem 0}svg text{font-size:11px;fill:var(--soft)}
.grid{stroke:var(--rule);fill:none}rect.fault{fill:var(--fault);opacity:.13}svg text.fault{fill:var(--fault);font-size:9px}
.dot{fill:none;stroke-width:2.2;stroke-linecap:round}.line{fill:none;stroke-width:1.5}
.dot.ok,.line.ok{stroke:var(--ok)}.dot.info,.line.info{stroke:var(--info)}.dot.fail,.line.fail{stroke:var(--fail)}
.bar{opacity:.75}.bar.ok{fill:var(--ok)}.bar.info{fill:var(--info)}.bar.fail{fill:var(--fail)}.bar.open{fill:var(--open)}
.bar.marked{stroke:var(--ink);stroke-width:2;opacity:1}
.key span{display:inline-block;width:.7em;height:.7em;margin:0 .3em 0 .9em}.key .ok{background:var(--ok)}.key .info{background:var(--info)}.key .fail{background:var(--fail)}.key .open{background:var(--open)}
";

/// What a page is about.
pub(super) struct Run<'a> {
    pub(super) run: &'a RunInfo,
    pub(super) history: &'a History,
    pub(super) verdicts: &'a [Verdict],
    pub(super) line: &'a str,
    pub(super) logs: &'a [String],
}

/// The whole page.
pub(super) fn page(of: &Run<'_>) -> String {
    let Run { run, history, verdicts, line, logs } = of;
    let operations = operations(history);
    let faults = faults(history);
    let last = history.entries.last().map_or(0.0, |entry| plot::seconds(entry.time));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{}</title><style>{STYLE}</style><body>",
        escape(&run.name)
    );
    _ = write!(page, "<h1>{}</h1><p>{}</p>", escape(&run.name), escape(line));
    head(&mut page, run, operations.len(), logs);
    results(&mut page, verdicts);
    let key = End::ALL.map(|end| format!(r#"<span class="{0}"></span>{0}"#, end.name())).concat();
    _ = write!(page, r#"<h2>Latency</h2><p class="key soft">an operation a dot, shaded while something is broken:{key}</p>"#);
    page.push_str(&plot::latencies(&operations, &faults, last));
    page.push_str("<h2>Rate</h2>");
    page.push_str(&plot::rates(&operations, &faults, last));
    let mut pictures = 0;
    let wrong = verdicts.iter().filter(|verdict| verdict.valid == Validity::Invalid);
    for (verdict, finding) in wrong.flat_map(|verdict| verdict.findings.iter().take(2).map(move |finding| (verdict, finding))) {
        let around = finding.indexes.last().and_then(|index| history.entries.get(*index)).map_or(0, |entry| entry.time);
        let picture = timeline(&operations, &faults, &finding.indexes, around).filter(|_| pictures < MAX_PICTURES);
        if let Some(picture) = picture {
            pictures += 1;
            _ = write!(
                page,
                "<h2>Around a finding of {}</h2><p>{}</p>{picture}",
                escape(&verdict.checker),
                escape(&shorten(&finding.what, 600))
            );
        }
    }
    if let Some(fault) = faults.first().filter(|_| pictures == 0)
        && let Some(picture) = timeline(&operations, &faults, &[], fault.begin)
    {
        _ = write!(page, "<h2>Around the first fault, {}</h2>{picture}", escape(&fault.f));
    }
    page.push_str("</body></html>\n");
    page
}

fn head(page: &mut String, run: &RunInfo, operations: usize, logs: &[String]) {
    _ = write!(
        page,
        "<p class=\"soft\">{} on {}, with {}; seed {}; begun {}; {:.0} s; {operations} operations</p><p>",
        escape(&run.workload),
        escape(&run.target),
        escape(&run.nemesis),
        run.seed,
        when(run.started),
        run.seconds
    );
    let files = ["results.json", "history.jsonl", "history.edn"].into_iter().chain(logs.iter().map(String::as_str));
    for file in files {
        _ = write!(page, "<a href=\"{0}\">{0}</a> ", escape(file));
    }
    page.push_str("</p>");
}

/// Seconds of Unix as a date and a time of day. The days of the civil calendar, after Hinnant's `civil_from_days`.
fn when(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

fn results(page: &mut String, verdicts: &[Verdict]) {
    page.push_str("<h2>Results</h2><table><tr><th>checker</th><th>result</th><th>what was looked at</th></tr>");
    for verdict in verdicts {
        let class = verdict.valid.to_string();
        let class = class.split(' ').next().unwrap_or_default();
        let stats: Vec<String> = verdict.stats.iter().map(|(name, value)| format!("{name} {value}")).collect();
        _ = write!(
            page,
            "<tr><td>{}</td><td class=\"{class}\">{}</td><td><span class=\"soft\">{}</span>",
            escape(&verdict.checker),
            verdict.valid,
            escape(&stats.join(", "))
        );
        if !verdict.findings.is_empty() {
            page.push_str("<ul>");
            for Finding { what, indexes } in verdict.findings.iter().take(MAX_TOLD) {
                let indexes = shorten(&format!("{indexes:?}"), 60);
                _ = write!(page, "<li>{} <code>{}</code></li>", escape(&shorten(what, 600)), escape(&indexes));
            }
            page.push_str("</ul>");
        }
        page.push_str("</td></tr>");
    }
    page.push_str("</table>");
}
