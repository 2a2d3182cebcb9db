//! One step of a field path, spelled as FieldsV1 spells it: `f:name`, `k:{"name":"a"}`, `v:"a"`, `i:3`.

use serde_json::Value;

/// The step into a struct field or a map key.
pub(crate) fn field(name: &str) -> String {
    let mut step = String::with_capacity(name.len() + 2);
    step.push_str("f:");
    step.push_str(name);
    step
}

/// The step to an element of a set.
pub(crate) fn value(element: &Value) -> String {
    format!("v:{element}")
}

/// The step to an element of a list that is a map, from its key fields (sorted by name by this function).
pub(crate) fn index_of_keys(keys: &mut [(&str, &Value)]) -> String {
    keys.sort_by(|a, b| a.0.cmp(b.0));
    let mut step = String::from("k:{");
    for (i, (name, value)) in keys.iter().enumerate() {
        if i > 0 {
            step.push(',');
        }
        step.push('"');
        step.push_str(name);
        step.push_str("\":");
        step.push_str(&value.to_string());
    }
    step.push('}');
    step
}

/// Brings a step that somebody else spelled into the one spelling used here; `None` if it is no step at all.
pub(crate) fn canonical(step: &str) -> Option<String> {
    let (kind, rest) = step.split_once(':')?;
    match kind {
        "f" => Some(step.to_owned()),
        "v" => Some(value(&serde_json::from_str(rest).ok()?)),
        "i" => rest.parse::<i64>().ok().map(|i| format!("i:{i}")),
        "k" => {
            let keys: serde_json::Map<String, Value> = serde_json::from_str(rest).ok()?;
            let mut keys: Vec<(&str, &Value)> = keys.iter().map(|(k, v)| (k.as_str(), v)).collect();
            Some(index_of_keys(&mut keys))
        }
        _ => None,
    }
}

/// The step as people read it in a path: `.name`, `[name="a"]`, `[="a"]`, `[3]`.
pub(crate) fn display(step: &str) -> String {
    let Some((kind, rest)) = step.split_once(':') else { return step.to_owned() };
    match kind {
        "f" => format!(".{rest}"),
        "v" => format!("[={rest}]"),
        "k" => match serde_json::from_str::<serde_json::Map<String, Value>>(rest) {
            Ok(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", keys.join(","))
            }
            Err(_) => format!("[{rest}]"),
        },
        _ => format!("[{rest}]"),
    }
}
