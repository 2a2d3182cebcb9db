use super::*;
use crate::check::{self, available};
use crate::history::{Entry, Phase, Process};
use serde_json::{Value, json};

fn history() -> History {
    let mut entries: Vec<Entry> = Vec::new();
    let mut note = |time: u64, process, phase, f: &str, value: Value| {
        let error = (phase == Phase::Fail).then(|| "no <leader>".to_owned());
        entries.push(Entry { index: entries.len(), time, process, node: None, phase, f: f.into(), value, error });
    };
    for n in 0..2000u64 {
        let at = n * 10_000_000;
        if n == 500 {
            note(at, Process::Nemesis, Phase::Info, "partition", json!({"begin": {"majority": ["s1", "s2"]}}));
        }
        if n == 900 {
            note(at, Process::Nemesis, Phase::Info, "partition", json!({"end": {}}));
            note(at, Process::Nemesis, Phase::Info, available::HEAL, json!({}));
        }
        let process = Process::Client(n % 5);
        note(at, process, Phase::Invoke, "id", json!({}));
        let phase = if (500..900).contains(&n) { Phase::Fail } else { Phase::Ok };
        // One id is given twice.
        note(at + 1_000_000 + n * 500, process, phase, "id", json!({"id": if n == 1500 { 3 } else { n }}));
    }
    History { entries }
}

#[test]
fn a_run_leaves_a_folder_that_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let history = history();
    let run = RunInfo {
        name: "ids <1>".into(),
        target: "three members".into(),
        workload: "ids".into(),
        nemesis: "partition".into(),
        seed: 7,
        started: 1_709_210_096,
        seconds: 20.0,
    };
    fs::create_dir(folder.path().join("logs")).unwrap();
    fs::write(folder.path().join("logs/s1.log"), "all is well").unwrap();
    let verdicts = [check::ids::check(&history), check::set::check(&history)];
    let summary = write(folder.path(), &run, &history, &verdicts).unwrap();
    assert_eq!(summary.valid, Validity::Invalid);
    assert_eq!(summary.line, "INVALID ids <1>: ids on three members with partition, seed 7, 20 s, 2000 operations, 1600 ok; INVALID: ids");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(json::read(read("history.jsonl").as_bytes()).unwrap(), history);
    assert_eq!(read("history.edn").lines().count(), history.entries.len());
    let results: Value = serde_json::from_str(&read("results.json")).unwrap();
    assert_eq!(results.pointer("/verdicts/0/valid"), Some(&json!("invalid")));
    let page = read("index.html");
    assert!(
        page.contains("the id 3 was given twice")
            && page.contains("href=\"logs/s1.log\"")
            && page.contains("2024-02-29 12:34:56 UTC")
            && page.contains("ids &lt;1&gt;")
    );
    assert!(page.contains("class=\"fault\"") && page.contains("marked"));
    // Nothing is fetched, and nothing runs.
    assert!(!page.contains("http") && !page.contains("<script"));
}

#[test]
fn a_run_of_nothing_leaves_a_folder_too() {
    let folder = tempfile::tempdir().unwrap();
    let summary = write(folder.path(), &RunInfo::default(), &History::default(), &[]).unwrap();
    assert_eq!(summary.valid, Validity::NothingToCheck);
}
