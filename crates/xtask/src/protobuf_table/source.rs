//! The messages as the crate `k8s-pb` has them: read from its source, so that nothing of ours is built with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The crate. Which version it is says `Cargo.lock`.
const CRATE: &str = "k8s-pb";

/// One field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its number on the wire.
    pub tag: u32,
    /// What Rust calls it.
    pub name: String,
    /// How often it is there.
    pub shape: Shape,
    /// `string`, `int32`, ..., or the path of a message.
    pub of: Type,
}

/// How often a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// At most once.
    One,
    /// Any number of times.
    List,
    /// By strings.
    Map,
}

/// The type of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A type of protobuf itself, by its name.
    Scalar(String),
    /// A message, by its path in the crate: `api.core.v1.Pod`.
    Message(String),
}

/// The messages by path.
pub type Messages = BTreeMap<String, Vec<Field>>;

/// Reads the source of the crate, which cargo knows where to find.
pub fn read() -> Result<Messages> {
    let root = find()?;
    let mut messages = Messages::new();
    read_folder(&root, &mut Vec::new(), &mut messages)?;
    ensure!(!messages.is_empty(), "{} has no messages", root.display());
    Ok(messages)
}

fn find() -> Result<PathBuf> {
    let output = Command::new("cargo").args(["metadata", "--format-version", "1", "--locked"]).output().context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let packages = metadata.get("packages").and_then(Value::as_array).into_iter().flatten();
    let package = packages.into_iter().find(|package| package.get("name").is_some_and(|name| name == CRATE));
    let manifest = package.and_then(|package| package.get("manifest_path")).and_then(Value::as_str);
    let manifest = manifest.with_context(|| format!("{CRATE} is not among the dependencies"))?;
    Ok(Path::new(manifest).with_file_name("src"))
}

fn read_folder(folder: &Path, path: &mut Vec<String>, messages: &mut Messages) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            path.push(name);
            read_folder(&entry.path(), path, messages)?;
            path.pop();
        } else if name == "mod.rs" {
            let text = std::fs::read_to_string(entry.path()).with_context(|| format!("read {}", entry.path().display()))?;
            read_module(&text, path, messages).with_context(|| format!("parse {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Reads one module: what prost generates has every structure at the first column, and in it an attribute before every field.
fn read_module(text: &str, path: &[String], messages: &mut Messages) -> Result<()> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    for part in code.split("\npub struct ").skip(1) {
        let (name, rest) = part.split_once(" {").context("a structure without fields")?;
        let body = if rest.starts_with('}') { "" } else { rest.split("\n}").next().unwrap_or_default() };
        let fields: Result<Vec<Field>> = body.split("#[prost(").skip(1).map(|field| read_field(field, path)).collect();
        messages.insert(dotted(path, name), fields.with_context(|| format!("message {name}"))?);
    }
    Ok(())
}

/// Reads `string, optional, tag = "1")] pub name: Type,`.
fn read_field(text: &str, path: &[String]) -> Result<Field> {
    let (attribute, rest) = text.split_once(")]").context("an attribute without an end")?;
    let (_, declaration) = rest.split_once("pub ").context("an attribute without a field")?;
    let (name, declared) = declaration.split_once(':').context("a field without a type")?;
    let declared = declared.split("#[").next().unwrap_or_default().trim().trim_end_matches(',');
    let tag = attribute.split_once("tag = \"").and_then(|(_, tag)| tag.split('"').next()?.parse().ok());
    let tag = tag.with_context(|| format!("field {name} has no tag"))?;
    let (shape, word) = match attribute.split_once("btree_map = \"string, ") {
        Some((_, value)) => (Shape::Map, value.split('"').next().unwrap_or_default()),
        None if attribute.contains("repeated") => (Shape::List, first_word(attribute)),
        None => (Shape::One, first_word(attribute)),
    };
    let of = match word {
        "message" => Type::Message(resolve(innermost(declared), path)),
        other => Type::Scalar(other.to_owned()),
    };
    Ok(Field { tag, name: name.trim_start_matches("r#").to_owned(), shape, of })
}

fn first_word(attribute: &str) -> &str {
    attribute.split([',', ' ', '=']).next().unwrap_or_default()
}

/// The type inside of `Option<Box<..>>` and the like: the last one that is named.
fn innermost(declared: &str) -> &str {
    let inner = declared.trim_end_matches(|c: char| c == '>' || c == ',' || c.is_whitespace());
    inner.rsplit(['<', ',']).next().unwrap_or(inner).trim()
}

/// The path of a message from the root of the crate, as named in the module `path`.
fn resolve(named: &str, path: &[String]) -> String {
    let mut at = path.to_vec();
    let mut last = named;
    for part in named.split("::") {
        last = part;
        match part {
            "super" => drop(at.pop()),
            other => at.push(other.to_owned()),
        }
    }
    at.pop();
    dotted(&at, last)
}

fn dotted(path: &[String], name: &str) -> String {
    format!("{}.{name}", path.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_become_messages() {
        let text = r#"
/// Text, with pub struct in it {
pub struct Empty {}
#[derive(Clone)]
pub struct A {
    #[prost(message, optional, tag = "2")]
    pub r#type:
        ::core::option::Option<super::super::core::v1::B>,
    #[deprecated]
    #[prost(btree_map = "string, message", tag = "3")]
    pub map: ::prost::alloc::collections::BTreeMap<
        ::prost::alloc::string::String,
        A,
    >,
    #[prost(int32, repeated, packed = "false", tag = "4")]
    pub many: ::prost::alloc::vec::Vec<i32>,
}
"#;
        let mut messages = Messages::new();
        let path = ["api", "apps", "v1"].map(str::to_owned);
        assert!(read_module(text, &path, &mut messages).is_ok());
        assert_eq!(messages.get("api.apps.v1.Empty"), Some(&Vec::new()));
        let field = |tag, name: &str, shape, of| Field { tag, name: name.into(), shape, of };
        let expected = vec![
            field(2, "type", Shape::One, Type::Message("api.core.v1.B".into())),
            field(3, "map", Shape::Map, Type::Message("api.apps.v1.A".into())),
            field(4, "many", Shape::List, Type::Scalar("int32".into())),
        ];
        assert_eq!(messages.get("api.apps.v1.A"), Some(&expected));
    }
}
