//! Histories as lines of JSON, one entry a line: ours to read again.

use super::{Entry, History};
use std::io::{BufRead, Error, ErrorKind, Result, Write};

/// Writes a history.
pub fn write(history: &History, mut to: impl Write) -> Result<()> {
    for entry in &history.entries {
        serde_json::to_writer(&mut to, entry)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads a history. Empty lines are passed over; a line that is no entry is an error that names it.
pub fn read(from: impl BufRead) -> Result<History> {
    let mut history = History::default();
    for (number, line) in from.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let entry: Entry = serde_json::from_str(&line)
            .map_err(|error| Error::new(ErrorKind::InvalidData, format!("line {} is no entry of a history: {error}", number + 1)))?;
        history.entries.push(entry);
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Phase, Process};
    use serde_json::json;

    #[test]
    fn what_is_written_is_read() {
        let entry = |index, process, phase, value| Entry {
            index,
            time: 7,
            process,
            node: Some("s1".into()),
            phase,
            f: "kv".into(),
            value,
            error: None,
        };
        let entries = vec![
            entry(0, Process::Client(3), Phase::Invoke, json!({"range": {"key": "a\nb"}})),
            entry(1, Process::Nemesis, Phase::Info, json!(null)),
        ];
        let history = History { entries };
        let mut text = Vec::new();
        write(&history, &mut text).unwrap();
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2);
        assert_eq!(read(text.as_slice()).unwrap(), history);
        assert!(read(&b"{}\n"[..]).unwrap_err().to_string().starts_with("line 1 is no entry"));
    }
}
