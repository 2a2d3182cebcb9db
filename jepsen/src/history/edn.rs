//! Histories in Jepsen's own form, for Jepsen's own checkers: one map of EDN a line.

use super::{Entry, History, Phase, Process};
use serde_json::Value;
use std::fmt::{self, Display, Formatter};
use std::io::{Result, Write};

/// Writes a history.
pub fn write(history: &History, mut to: impl Write) -> Result<()> {
    for entry in &history.entries {
        writeln!(to, "{}", Line(entry))?;
    }
    to.flush()
}

struct Line<'a>(&'a Entry);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        write!(f, "{{:index {}, :time {}, :process ", entry.index, entry.time)?;
        match entry.process {
            Process::Client(number) => write!(f, "{number}")?,
            Process::Nemesis => f.write_str(":nemesis")?,
        }
        let phase = match entry.phase {
            Phase::Invoke => "invoke",
            Phase::Ok => "ok",
            Phase::Fail => "fail",
            Phase::Info => "info",
        };
        write!(f, ", :type :{phase}, :f {}, :value ", Keyword(&entry.f))?;
        match &entry.value {
            Value::Array(steps) if entry.f == "txn" => write_steps(f, steps)?,
            value => write!(f, "{}", Edn(value))?,
        }
        if let Some(node) = &entry.node {
            write!(f, ", :node {}", Text(node))?;
        }
        if let Some(error) = &entry.error {
            write!(f, ", :error {}", Text(error))?;
        }
        f.write_str("}")
    }
}

/// Elle's transactions name their steps with keywords: `[[:append "x" 1] [:r "y" nil]]`.
fn write_steps(f: &mut Formatter<'_>, steps: &[Value]) -> fmt::Result {
    f.write_str("[")?;
    for (place, step) in steps.iter().enumerate() {
        f.write_str(if place > 0 { " " } else { "" })?;
        match step.as_array().map(Vec::as_slice) {
            Some([Value::String(what), rest @ ..]) => {
                write!(f, "[{}", Keyword(what))?;
                rest.iter().try_for_each(|value| write!(f, " {}", Edn(value)))?;
                f.write_str("]")?;
            }
            _ => write!(f, "{}", Edn(step))?,
        }
    }
    f.write_str("]")
}

struct Edn<'a>(&'a Value);

impl Display for Edn<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("nil"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value}"),
            Value::String(value) => write!(f, "{}", Text(value)),
            Value::Array(values) => {
                f.write_str("[")?;
                for (place, value) in values.iter().enumerate() {
                    write!(f, "{}{}", if place > 0 { " " } else { "" }, Edn(value))?;
                }
                f.write_str("]")
            }
            Value::Object(fields) => {
                f.write_str("{")?;
                for (place, (key, value)) in fields.iter().enumerate() {
                    write!(f, "{}{} {}", if place > 0 { ", " } else { "" }, Keyword(key), Edn(value))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A keyword where the text can be one, else the text.
struct Keyword<'a>(&'a str);

impl Display for Keyword<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let begins = self.0.starts_with(|first: char| first.is_ascii_alphabetic());
        let plain = self.0.chars().all(|char| char.is_ascii_alphanumeric() || "-_.*+!?".contains(char));
        if begins && plain { write!(f, ":{}", self.0) } else { write!(f, "{}", Text(self.0)) }
    }
}

/// EDN's strings know fewer escapes than JSON's: what has none stands as it is.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for char in self.0.chars() {
            match char {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                char if char.is_control() => write!(f, "\\u{:04x}", u32::from(char))?,
                char => write!(f, "{char}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(process: Process, phase: Phase, f: &str, value: Value) -> String {
        Line(&Entry { index: 3, time: 9, process, node: Some("s1".into()), phase, f: f.into(), value, error: None }).to_string()
    }

    #[test]
    fn it_looks_like_jepsens() {
        assert_eq!(
            line(Process::Client(2), Phase::Ok, "txn", json!([["append", "x", 1], ["r", "y", null], ["r", "x", [1, 2]]])),
            r#"{:index 3, :time 9, :process 2, :type :ok, :f :txn, :value [[:append "x" 1] [:r "y" nil] [:r "x" [1 2]]], :node "s1"}"#
        );
        assert_eq!(
            line(Process::Nemesis, Phase::Info, "partition", json!({"begin": {"a/b": "say \"no\"\n"}})),
            r#"{:index 3, :time 9, :process :nemesis, :type :info, :f :partition, :value {:begin {"a/b" "say \"no\"\n"}}, :node "s1"}"#
        );
    }
}
