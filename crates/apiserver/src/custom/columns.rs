//! How custom objects are printed.

use serde_json::{Value, json};
use tricorn_meta::{Timestamp, time};

/// One column.
pub(crate) struct Column {
    name: String,
    kind: String,
    format: String,
    description: String,
    priority: i64,
    path: String,
}

/// The columns of a version; a kind without any shows its age.
pub(crate) fn read(columns: &Value) -> Vec<Column> {
    let text = |column: &Value, field: &str| column[field].as_str().unwrap_or_default().to_owned();
    match columns.as_array() {
        Some(columns) => columns
            .iter()
            .map(|column| Column {
                name: text(column, "name"),
                kind: text(column, "type"),
                format: text(column, "format"),
                description: text(column, "description"),
                priority: column["priority"].as_i64().unwrap_or(0),
                path: text(column, "jsonPath"),
            })
            .collect(),
        None => vec![Column {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description: "When the object was created.".to_owned(),
            priority: 0,
            path: ".metadata.creationTimestamp".to_owned(),
        }],
    }
}

/// The objects as a Table, without the objects in its rows.
pub(crate) fn table(columns: &[Column], objects: &[&Value], now: Timestamp) -> Value {
    let mut definitions = vec![
        json!({"name": "Name", "type": "string", "format": "name", "description": "Name must be unique within a namespace.", "priority": 0}),
    ];
    for column in columns {
        let description = match column.description.as_str() {
            "" => format!("Custom resource definition column (in JSONPath format): {}", column.path),
            text => text.to_owned(),
        };
        definitions.push(json!({
            "name": column.name, "type": column.kind, "format": column.format, "description": description, "priority": column.priority,
        }));
    }
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut cells = vec![object["metadata"]["name"].clone()];
            cells.extend(columns.iter().map(|column| cell(column, object, now)));
            json!({"cells": cells})
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": definitions, "rows": rows})
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let found = find(object, &column.path);
    match (column.kind.as_str(), found.first()) {
        (_, None) => Value::Null,
        ("date", Some(value)) => match value.as_str() {
            Some(text) => time::age(text, now).into(),
            None => json!("<unknown>"),
        },
        ("integer" | "number" | "boolean", Some(value)) => (*value).clone(),
        (_, Some(Value::String(text))) => text.clone().into(),
        (_, Some(value)) => value.to_string().into(),
    }
}

/// What a JSONPath finds: fields, indices, `[*]`, and filters of the form `[?(@.a=="b")]`.
pub(crate) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    for step in steps(path) {
        found = found.into_iter().flat_map(|value| take(value, &step)).collect();
    }
    found
}

fn take<'a>(value: &'a Value, step: &str) -> Vec<&'a Value> {
    let Some(inner) = step.strip_prefix('[').and_then(|step| step.strip_suffix(']')) else {
        return value.get(step).into_iter().collect();
    };
    let items = || value.as_array().map(Vec::as_slice).unwrap_or_default();
    if inner == "*" {
        return items().iter().collect();
    }
    if let Some(filter) = inner.strip_prefix("?(@.").and_then(|filter| filter.strip_suffix(')')) {
        let Some((field, wanted)) = filter.split_once("==") else { return Vec::new() };
        let wanted = wanted.trim().trim_matches(['"', '\'']);
        return items()
            .iter()
            .filter(|item| find(item, field.trim()).first().is_some_and(|value| value.as_str() == Some(wanted)))
            .collect();
    }
    if let Ok(index) = inner.parse::<usize>() {
        return items().get(index).into_iter().collect();
    }
    value.get(inner.trim_matches(['"', '\''])).into_iter().collect()
}

/// Cuts a path at its dots and brackets.
fn steps(path: &str) -> Vec<String> {
    let (mut steps, mut current, mut depth, mut escaped) = (Vec::new(), String::new(), 0, false);
    for letter in path.trim_start_matches('$').chars() {
        match letter {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '.' if depth == 0 && !escaped => steps.push(std::mem::take(&mut current)),
            '[' => {
                if depth == 0 {
                    steps.push(std::mem::take(&mut current));
                }
                depth += 1;
                current.push('[');
            }
            ']' => {
                depth -= 1;
                current.push(']');
                if depth == 0 {
                    steps.push(std::mem::take(&mut current));
                }
            }
            other => current.push(other),
        }
        escaped = false;
    }
    steps.push(current);
    steps.retain(|step| !step.is_empty());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printer_paths_find_what_they_name() {
        let object = json!({"spec": {"a.b": 1, "l": [{"n": "x", "v": 1}, {"n": "y", "v": 2}]}});
        let cases = [
            (".spec.l[1].v", json!([2])),
            (r#".spec.l[?(@.n=="x")].v"#, json!([1])),
            (".spec.l[*].v", json!([1, 2])),
            (r".spec.a\.b", json!([1])),
            (".spec.no", json!([])),
        ];
        for (path, expected) in cases {
            assert_eq!(json!(find(&object, path)), expected, "{path}");
        }
    }
}
