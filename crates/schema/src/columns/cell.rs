//! What a column is, and the ways to fill it that many kinds share.

use serde_json::{Value, json};
use tricorn_meta::json::{get, list, text};
use tricorn_meta::{LabelSelector, Timestamp, time};

/// How a column is filled.
#[derive(Clone, Copy)]
pub(super) enum Cell {
    /// The object's name.
    Name,
    /// The object's age.
    Age,
    /// When the object was made.
    Created,
    /// The text at a path, `<none>` where there is none.
    Text(&'static str),
    /// The text at a path, nothing where there is none.
    Plain(&'static str),
    /// The number at a path, 0 where there is none.
    Int(&'static str),
    /// The boolean at a path, false where there is none.
    Bool(&'static str),
    /// How many entries the list or map at a path has.
    Count(&'static str),
    /// A number made by a function.
    Number(fn(&Value) -> i64),
    /// Text made by a function.
    Make(fn(&Value, Timestamp) -> String),
}

/// One column.
pub(super) struct Column {
    name: &'static str,
    wide: bool,
    cell: Cell,
    /// The type that upstream gives to the column, where it is not that of the cells.
    called: Option<&'static str>,
}

/// A column that is always printed.
pub(super) const fn col(name: &'static str, cell: Cell) -> Column {
    Column { name, wide: false, cell, called: None }
}

/// A column that `-o wide` prints.
pub(super) const fn wide(name: &'static str, cell: Cell) -> Column {
    Column { name, wide: true, cell, called: None }
}

impl Column {
    /// The column under another type than its cells have: as upstream has it.
    pub const fn called(mut self, kind: &'static str) -> Self {
        self.called = Some(kind);
        self
    }

    /// The column as a Table describes it, with what `texts` say of it.
    pub fn definition(&self, texts: &impl Fn(&str) -> &'static str) -> Value {
        let (of_cells, format) = match self.cell {
            Cell::Name => ("string", "name"),
            Cell::Created => ("date", ""),
            Cell::Int(_) | Cell::Count(_) | Cell::Number(_) => ("integer", ""),
            Cell::Bool(_) => ("boolean", ""),
            _ => ("string", ""),
        };
        let (called, text) = (self.called.unwrap_or(of_cells), texts(self.name));
        json!({"name": self.name, "type": called, "format": format, "description": text, "priority": i32::from(self.wide)})
    }

    /// What an object has in it.
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        match self.cell {
            Cell::Name => Value::from(text(object, "metadata.name")),
            Cell::Age => Value::from(time::age(text(object, "metadata.creationTimestamp"), now)),
            Cell::Created => Value::from(text(object, "metadata.creationTimestamp")),
            Cell::Text(path) => Value::from(shown(object, path).unwrap_or_else(|| NONE.to_owned())),
            Cell::Plain(path) => Value::from(shown(object, path).unwrap_or_default()),
            Cell::Int(path) => Value::from(get(object, path).and_then(Value::as_i64).unwrap_or(0)),
            Cell::Bool(path) => Value::from(get(object, path).and_then(Value::as_bool).unwrap_or(false)),
            Cell::Count(path) => Value::from(match get(object, path) {
                Some(Value::Array(items)) => items.len(),
                Some(Value::Object(entries)) => entries.len(),
                _ => 0,
            }),
            Cell::Number(make) => Value::from(make(object)),
            Cell::Make(make) => Value::from(make(object, now)),
        }
    }
}

/// What stands for nothing.
pub(super) const NONE: &str = "<none>";

/// The text, number or boolean at a path, where there is one and it is not empty.
pub(super) fn shown(object: &Value, path: &str) -> Option<String> {
    match get(object, path)? {
        Value::String(s) if s.is_empty() => None,
        Value::String(s) => Some(s.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// `a,b,c`, or `<none>`.
pub(super) fn joined<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<String> = items.into_iter().map(|s| s.as_ref().to_owned()).collect();
    if items.is_empty() { NONE.to_owned() } else { items.join(",") }
}

/// The first three, and how many more there are.
pub(super) fn first_three(items: &[String], nothing: &str) -> String {
    match items.len() {
        0 => nothing.to_owned(),
        n if n > 3 => format!("{} + {} more...", items.get(..3).unwrap_or_default().join(","), n - 3),
        _ => items.join(","),
    }
}

/// `a=b,c=d`, sorted, or `<none>`.
pub(super) fn labels(object: &Value, path: &str) -> String {
    joined(tricorn_meta::json::strings(object, path).iter().map(|(k, v)| format!("{k}={v}")))
}

/// A selector of the object form as a query.
pub(super) fn selector(object: &Value, path: &str) -> String {
    match get(object, path).map(LabelSelector::from_json) {
        Some(Ok(selector)) if !selector.is_everything() => selector.to_string(),
        _ => NONE.to_owned(),
    }
}

/// The names of a template's containers.
pub(super) fn containers(spec: Option<&Value>) -> String {
    names_of(spec, "name")
}

/// The images of a template's containers.
pub(super) fn images(spec: Option<&Value>) -> String {
    names_of(spec, "image")
}

fn names_of(spec: Option<&Value>, key: &str) -> String {
    let Some(spec) = spec else { return String::new() };
    let names: Vec<&str> = list(spec, "containers").iter().map(|c| text(c, key)).collect();
    names.join(",")
}

/// How long ago the moment at a path was, `<unknown>` where there is none.
pub(super) fn since(object: &Value, path: &str, now: Timestamp) -> String {
    time::age(text(object, path), now)
}
