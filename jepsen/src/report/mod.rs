//! What is left of a run: a folder with its history, its results, and a page to look at them.

mod operations;
mod page;
mod plot;
mod timeline;

#[cfg(test)]
mod tests;

use crate::check::{Validity, Verdict};
use crate::history::{History, edn, json};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

/// What was run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The run's name.
    pub name: String,
    /// What was tested.
    pub target: String,
    /// What clients did.
    pub workload: String,
    /// What was broken.
    pub nemesis: String,
    /// What all that was random came from.
    pub seed: u64,
    /// When it began, in seconds of Unix.
    pub started: u64,
    /// How long it took.
    pub seconds: f64,
}

/// A run in one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The worst that a checker came to.
    pub valid: Validity,
    /// The line.
    pub line: String,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

#[derive(Serialize)]
struct Results<'a> {
    run: &'a RunInfo,
    summary: &'a Summary,
    verdicts: &'a [Verdict],
}

/// Sums up: what is invalid comes before what is unknown, and that before what is valid.
pub fn summary(run: &RunInfo, history: &History, verdicts: &[Verdict]) -> Summary {
    let worst = [Validity::Invalid, Validity::Unknown, Validity::Valid];
    let valid = worst.into_iter().find(|worst| verdicts.iter().any(|verdict| verdict.valid == *worst)).unwrap_or(Validity::NothingToCheck);
    let of = |valid| {
        let names: Vec<&str> = verdicts.iter().filter(|verdict| verdict.valid == valid).map(|verdict| verdict.checker.as_str()).collect();
        names.join(", ")
    };
    let operations = operations::operations(history);
    let ok = operations.iter().filter(|operation| operation.end == operations::End::Ok).count();
    let mut line = format!(
        "{} {}: {} on {} with {}, seed {}, {:.0} s, {} operations, {ok} ok",
        valid,
        run.name,
        run.workload,
        run.target,
        run.nemesis,
        run.seed,
        run.seconds,
        operations.len()
    );
    match valid {
        Validity::Invalid | Validity::Unknown => line.push_str(&format!("; {valid}: {}", of(valid))),
        Validity::Valid | Validity::NothingToCheck => line.push_str(&format!("; checked: {}", of(Validity::Valid))),
    }
    Summary { valid, line }
}

/// The logs that lie in a run's folder, named from there.
fn logs(folder: &Path) -> io::Result<Vec<String>> {
    let kept = folder.join("logs");
    if !kept.is_dir() {
        return Ok(Vec::new());
    }
    let mut logs = Vec::new();
    for file in fs::read_dir(kept)? {
        logs.push(format!("logs/{}", file?.file_name().to_string_lossy()));
    }
    logs.sort_unstable();
    Ok(logs)
}

/// Writes the folder of a run: `results.json`, `history.jsonl`, `history.edn`, `index.html`. Logs that are in its `logs` by then are linked.
pub fn write(folder: &Path, run: &RunInfo, history: &History, verdicts: &[Verdict]) -> io::Result<Summary> {
    fs::create_dir_all(folder)?;
    let create = |name: &str| File::create(folder.join(name)).map(BufWriter::new);
    let summary = summary(run, history, verdicts);
    json::write(history, create("history.jsonl")?)?;
    edn::write(history, create("history.edn")?)?;
    let results = serde_json::to_vec_pretty(&Results { run, summary: &summary, verdicts })?;
    fs::write(folder.join("results.json"), results)?;
    fs::write(folder.join("index.html"), page::page(&page::Run { run, history, verdicts, line: &summary.line, logs: &logs(folder)? }))?;
    Ok(summary)
}

/// Reads back what [`write`] left, to be judged again.
pub fn read(folder: &Path) -> io::Result<(RunInfo, History)> {
    #[derive(Deserialize)]
    struct Kept {
        run: RunInfo,
    }
    let kept: Kept = serde_json::from_slice(&fs::read(folder.join("results.json"))?)?;
    let history = json::read(io::BufReader::new(File::open(folder.join("history.jsonl"))?))?;
    Ok((kept.run, history))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
