//! What a schema refuses by itself, in the words of the library that upstream checks custom objects with. Rules in CEL are not evaluated.

use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;
use tricorn_meta::{FieldError, FieldPath};

use super::{embedded, formats, lists};

/// A schema that objects are checked against. Its patterns are read once.
pub struct Rules {
    schema: Value,
    patterns: HashMap<String, Regex>,
}

/// Notes all patterns of a schema that can be read.
fn patterns(schema: &Value, found: &mut HashMap<String, Regex>) {
    match schema {
        Value::Object(fields) => {
            if let Some(pattern) = fields.get("pattern").and_then(Value::as_str)
                && let Ok(regex) = Regex::new(pattern).or_else(|_| Regex::new(&with_plain_braces(pattern)))
            {
                found.insert(pattern.to_owned(), regex);
            }
            fields.values().for_each(|field| patterns(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| patterns(item, found)),
        _ => {}
    }
}

/// The pattern with a backslash before each brace that begins no count: elsewhere such a brace stands for itself.
fn with_plain_braces(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len() + 2);
    let (mut escaped, mut in_class) = (false, false);
    for (at, letter) in pattern.char_indices() {
        let is_count = || {
            let inside = pattern[at + 1..].split_once('}').map_or("", |(inside, _)| inside);
            inside.starts_with(|c: char| c.is_ascii_digit()) && inside.chars().all(|c| c.is_ascii_digit() || c == ',')
        };
        if letter == '{' && !escaped && !in_class && !is_count() {
            plain.push('\\');
        }
        in_class = if escaped { in_class } else { letter == '[' || (in_class && letter != ']') };
        escaped = letter == '\\' && !escaped;
        plain.push(letter);
    }
    plain
}

impl Rules {
    /// The rules of a schema.
    pub fn new(schema: Value) -> Self {
        let mut found = HashMap::new();
        patterns(&schema, &mut found);
        Self { schema, patterns: found }
    }

    /// The schema itself.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Checks an object that was `old` before, if it was anything. Its name and metadata have rules of their own.
    ///
    /// A part that is what it was is let through, so that a rule that came later holds nobody up who changes something else.
    pub fn check_object(&self, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
        let root = FieldPath::root();
        for (name, property) in self.schema["properties"].as_object().into_iter().flatten() {
            if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata")
                && let Some(field) = object.get(name)
            {
                self.check(property, field, old.and_then(|old| old.get(name)), &FieldPath::new(name.as_str()), errors);
            }
        }
        required(&self.schema, object, &root, errors);
        self.combined(&self.schema, object, &root, errors);
    }

    /// Checks a value that is told of as `path`.
    pub fn check_value(&self, value: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
        self.check(&self.schema, value, None, path, errors);
    }

    fn check(&self, schema: &Value, value: &Value, old: Option<&Value>, path: &FieldPath, errors: &mut Vec<FieldError>) {
        if (value.is_null() && schema["nullable"] == true) || old == Some(value) {
            return;
        }
        if let Some(wanted) = wrong_type(schema, value) {
            let found = type_of(value);
            errors.push(FieldError::type_invalid(path, found, format!("{path} in body must be of type {wanted}: {found:?}")));
            return;
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            let texts: Vec<String> = allowed.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            errors.push(FieldError::not_supported(path, value.clone(), &texts));
        }
        match value {
            Value::Object(fields) => {
                required(schema, value, path, errors);
                if schema["x-kubernetes-embedded-resource"] == true {
                    embedded::check(value, path, errors);
                }
                for (name, field) in fields {
                    let old = old.and_then(|old| old.get(name));
                    if let Some(property) = schema["properties"].get(name) {
                        self.check(property, field, old, &path.child(name), errors);
                    } else if let Some(additional) = schema.get("additionalProperties").filter(|additional| additional.is_object()) {
                        self.check(additional, field, old, &path.key(name), errors);
                    }
                }
                least(
                    schema,
                    "minProperties",
                    fields.len(),
                    path,
                    value,
                    |limit| format!("should have at least {limit} properties"),
                    errors,
                );
                if let Some(max) = most(schema, "maxProperties", fields.len()) {
                    errors.push(FieldError::too_many(path, fields.len(), max));
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.check(&schema["items"], item, lists::counterpart(schema, item, old), &path.index(index), errors);
                }
                lists::single(schema, items, old, path, errors);
                least(schema, "minItems", items.len(), path, value, |limit| format!("should have at least {limit} items"), errors);
                if let Some(max) = most(schema, "maxItems", items.len()) {
                    errors.push(FieldError::too_many(path, items.len(), max));
                }
            }
            Value::String(text) => self.text(schema, text, path, errors),
            Value::Number(number) => numbers(schema, number.as_f64().unwrap_or_default(), path, value, errors),
            _ => {}
        }
        self.combined(schema, value, path, errors);
    }

    fn text(&self, schema: &Value, text: &str, path: &FieldPath, errors: &mut Vec<FieldError>) {
        let length = text.chars().count();
        let value = Value::from(text);
        least(schema, "minLength", length, path, &value, |limit| format!("should be at least {limit} chars long"), errors);
        if let Some(max) = most(schema, "maxLength", length) {
            errors.push(FieldError::too_long(path, max));
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && self.patterns.get(pattern).is_some_and(|regex| !regex.is_match(text))
        {
            errors.push(FieldError::invalid(path, text, format!("{path} in body should match '{pattern}'")));
        }
        if let Some(format) = schema["format"].as_str()
            && !formats::fits(format, text)
        {
            errors.push(FieldError::type_invalid(path, text, format!("{path} in body must be of type {format}: {text:?}")));
        }
    }

    /// Schemas that are combined to one.
    fn combined(&self, schema: &Value, value: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
        let part = |key: &str| schema[key].as_array().map(Vec::as_slice).unwrap_or_default();
        let told = path.as_str();
        let wrong = |schema: &Value| {
            let mut found = Vec::new();
            self.check(schema, value, None, path, &mut found);
            found
        };
        let mut refuse = |words: String| errors.push(FieldError::invalid(path, value.clone(), words));
        let any = part("anyOf");
        if !any.is_empty() {
            let tries: Vec<_> = any.iter().map(wrong).collect();
            if tries.iter().all(|found| !found.is_empty()) {
                refuse(format!("{told:?} must validate at least one schema (anyOf)"));
                errors.extend(tries.into_iter().min_by_key(Vec::len).unwrap_or_default());
            }
        }
        let mut refuse = |words: String| errors.push(FieldError::invalid(path, value.clone(), words));
        let one = part("oneOf");
        if !one.is_empty() {
            let tries: Vec<_> = one.iter().map(wrong).collect();
            match tries.iter().filter(|found| found.is_empty()).count() {
                1 => {}
                0 => {
                    refuse(format!("{told:?} must validate one and only one schema (oneOf). Found none valid"));
                    errors.extend(tries.into_iter().min_by_key(Vec::len).unwrap_or_default());
                }
                several => {
                    refuse(format!("{told:?} must validate one and only one schema (oneOf). Found {several} valid alternatives"));
                }
            }
        }
        let all: Vec<FieldError> = part("allOf").iter().flat_map(wrong).collect();
        if !all.is_empty() {
            errors.push(FieldError::invalid(path, value.clone(), format!("{told:?} must validate all the schemas (allOf)")));
            errors.extend(all);
        }
        if schema["not"].is_object() && wrong(&schema["not"]).is_empty() {
            errors.push(FieldError::invalid(path, value.clone(), format!("{told:?} must not validate the schema (not)")));
        }
    }
}

/// The type that was wanted, where the value is of none that would do.
fn wrong_type(schema: &Value, value: &Value) -> Option<&'static str> {
    if schema["x-kubernetes-int-or-string"] == true {
        return (!value.is_string() && !is_whole(value)).then_some("integer,string");
    }
    let (fits, wanted) = match schema["type"].as_str().unwrap_or_default() {
        "object" => (value.is_object(), "object"),
        "array" => (value.is_array(), "array"),
        "string" => (value.is_string(), "string"),
        "boolean" => (value.is_boolean(), "boolean"),
        "integer" => (is_whole(value), "integer"),
        "number" => (value.is_number(), "number"),
        _ => return None,
    };
    (!fits).then_some(wanted)
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_whole(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn required(schema: &Value, value: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            errors.push(FieldError::required(&path.child(name), ""));
        }
    }
}

/// The number must not be less than the limit.
fn least(
    schema: &Value,
    key: &str,
    number: usize,
    path: &FieldPath,
    value: &Value,
    words: impl Fn(u64) -> String,
    errors: &mut Vec<FieldError>,
) {
    if let Some(limit) = schema[key].as_u64().filter(|limit| (number as u64) < *limit) {
        errors.push(FieldError::invalid(path, value.clone(), format!("{path} in body {}", words(limit))));
    }
}

/// The limit, if the number is more.
fn most(schema: &Value, key: &str, number: usize) -> Option<usize> {
    let limit = usize::try_from(schema[key].as_u64()?).ok()?;
    (number > limit).then_some(limit)
}

fn numbers(schema: &Value, number: f64, path: &FieldPath, value: &Value, errors: &mut Vec<FieldError>) {
    let mut refuse = |words: String| errors.push(FieldError::invalid(path, value.clone(), format!("{path} in body should be {words}")));
    if let Some(minimum) = schema["minimum"].as_f64() {
        let exclusive = schema["exclusiveMinimum"] == true;
        if exclusive && number <= minimum {
            refuse(format!("greater than {minimum}"));
        } else if number < minimum {
            refuse(format!("greater than or equal to {minimum}"));
        }
    }
    if let Some(maximum) = schema["maximum"].as_f64() {
        let exclusive = schema["exclusiveMaximum"] == true;
        if exclusive && number >= maximum {
            refuse(format!("less than {maximum}"));
        } else if number > maximum {
            refuse(format!("less than or equal to {maximum}"));
        }
    }
    if let Some(factor) = schema["multipleOf"].as_f64().filter(|factor| *factor > 0.0) {
        let quotient = number / factor;
        if (quotient - quotient.round()).abs() > f64::EPSILON * quotient.abs().max(1.0) {
            refuse(format!("a multiple of {factor}"));
        }
    }
}

#[cfg(test)]
mod tests;
