//! Generates `crates/schema/tables/merge`: how lists and maps of built-in types merge. The Rust types of the API do not carry these facts;
//! the JSON schemas in the `kubernetes-validate` package from PyPI do. Of those, only paths and keys are taken.
//!
//! The package is fetched with pip into a scratch directory: `python3` with pip must be there.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The package, pinned: another version may know other facts.
const PACKAGE: &str = "kubernetes-validate==1.37.0";
/// Where the API level's types are in it.
const MEMBER: &str = "kubernetes_validate/kubernetes-json-schema/v1.36.0-local/_definitions.json";
/// The table, from the root of the workspace.
const TABLE: &str = "crates/schema/tables/merge";
/// The extensions that are taken, and what the table calls them.
const FACTS: [(&str, &str); 4] = [
    ("x-kubernetes-list-type", "list"),
    ("x-kubernetes-patch-strategy", "patch"),
    ("x-kubernetes-patch-merge-key", "key"),
    ("x-kubernetes-map-type", "map"),
];

/// What the package does not say: without a protocol, ports are TCP, and server-side apply takes the protocol as part of their key.
const OURS: [&str; 2] = ["io.k8s.api.core.v1.ContainerPort protocol default=TCP", "io.k8s.api.core.v1.ServicePort protocol default=TCP"];

/// Writes the table, or with `check` only says whether it is what would be written.
pub fn run(check: bool) -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("tricorn-schema-tables-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| format!("create {}", scratch.display()))?;
    let outcome = fetch(&scratch).and_then(|definitions| settle(&table(&definitions)?, check));
    let _ = std::fs::remove_dir_all(&scratch);
    outcome
}

fn settle(made: &str, check: bool) -> Result<()> {
    let there = std::fs::read_to_string(TABLE).unwrap_or_default();
    let head: String = there.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    let made = format!("{head}{made}{}\n", OURS.join("\n"));
    if !check {
        return std::fs::write(TABLE, made).with_context(|| format!("write {TABLE}"));
    }
    let differs = there.lines().zip(made.lines()).find(|(a, b)| a != b);
    match differs {
        None if there == made => Ok(()),
        None => bail!("{TABLE} has {} lines, {} expected: run `cargo xtask schema-tables`", there.lines().count(), made.lines().count()),
        Some((a, b)) => bail!("{TABLE} is not what the package says: run `cargo xtask schema-tables`\n  has      {a}\n  expected {b}"),
    }
}

/// The types' definitions, out of the package.
fn fetch(scratch: &Path) -> Result<Value> {
    let python = |arguments: &[&str]| -> Result<()> {
        let output = Command::new("python3").args(arguments).current_dir(scratch).output().context("run python3")?;
        ensure!(output.status.success(), "python3 {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    };
    python(&["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", PACKAGE])?;
    let wheel = std::fs::read_dir(scratch)?.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "whl"));
    let wheel = wheel.context("the package has no wheel")?;
    python(&["-m", "zipfile", "-e", &wheel.to_string_lossy(), "."])?;
    let text = std::fs::read_to_string(scratch.join(MEMBER)).with_context(|| format!("read {MEMBER}"))?;
    serde_json::from_str(&text).with_context(|| format!("parse {MEMBER}"))
}

/// The lines of the table, sorted by type and field.
fn table(definitions: &Value) -> Result<String> {
    let types = definitions.get("$defs").and_then(Value::as_object).context("the definitions have no $defs")?;
    let mut lines: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for (name, definition) in types {
        let fields = definition.get("properties").and_then(Value::as_object).into_iter().flatten();
        let places = std::iter::once((".", definition)).chain(fields.map(|(field, of)| (field.as_str(), of)));
        for (field, of) in places {
            let facts = facts(of);
            if !facts.is_empty() {
                lines.insert((name, field), format!("{name} {field} {}\n", facts.join(" ")));
            }
        }
    }
    Ok(lines.into_values().collect())
}

fn facts(of: &Value) -> Vec<String> {
    let mut facts = Vec::new();
    for (extension, name) in FACTS {
        let Some(value) = of.get(extension).and_then(Value::as_str) else { continue };
        let keys = of.get("x-kubernetes-list-map-keys").and_then(Value::as_array).filter(|_| name == "list");
        let keys: Vec<&str> = keys.into_iter().flatten().filter_map(Value::as_str).collect();
        let keys = if keys.is_empty() { String::new() } else { format!(":{}", keys.join(",")) };
        facts.push(format!("{name}={value}{keys}"));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_become_lines() {
        let definitions = serde_json::json!({"$defs": {"b.B": {"x-kubernetes-map-type": "atomic"}, "a.A": {"properties": {
            "list": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["x", "y"], "x-kubernetes-patch-merge-key": "x", "x-kubernetes-patch-strategy": "merge"},
            "other": {"type": "string"}}}}});
        let lines = table(&definitions).unwrap_or_default();
        assert_eq!(lines, "a.A list list=map:x,y patch=merge key=x\nb.B . map=atomic\n");
    }
}
