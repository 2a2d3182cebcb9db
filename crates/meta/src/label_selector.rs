//! Label selectors: as query strings have them (`app=web,tier in (a, b),!old`) and as objects have them.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::json;
use crate::names;

/// One condition on the labels of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The label is there, with one of these values.
    In(String, Vec<String>),
    /// The label is not there, or has none of these values.
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// The label is not there.
    DoesNotExist(String),
    /// The label's value is an integer greater than this.
    GreaterThan(String, i64),
    /// The label's value is an integer less than this.
    LessThan(String, i64),
}

impl Requirement {
    /// Whether labels, looked up by `get`, fulfil the condition.
    fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        let number = |key: &str| get(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(key, values) => get(key).is_some_and(|value| values.iter().any(|v| v == value)),
            Self::NotIn(key, values) => get(key).is_none_or(|value| values.iter().all(|v| v != value)),
            Self::Exists(key) => get(key).is_some(),
            Self::DoesNotExist(key) => get(key).is_none(),
            Self::GreaterThan(key, than) => number(key).is_some_and(|n| n > *than),
            Self::LessThan(key, than) => number(key).is_some_and(|n| n < *than),
        }
    }
}

/// Conditions that all have to be fulfilled; none at all matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    /// A selector that matches everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// A selector that matches nothing.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Reads the form of query strings. The error says what was found and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text };
        let mut requirements = Vec::new();
        parser.skip_space();
        if parser.rest.is_empty() {
            return Ok(Self::everything());
        }
        loop {
            requirements.push(parser.requirement()?);
            parser.skip_space();
            if parser.rest.is_empty() {
                return Ok(Self { requirements, nothing: false });
            }
            if !parser.take(",") {
                return Err(format!("found '{}', expected: ',' or 'end of string'", parser.rest));
            }
        }
    }

    /// Reads the form that objects have: `matchLabels` and `matchExpressions`. Null matches nothing, an empty object everything.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        if value.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements: Vec<Requirement> =
            json::strings(value, "matchLabels").into_iter().map(|(key, value)| Requirement::In(key, vec![value])).collect();
        for expression in json::list(value, "matchExpressions") {
            let key = json::text(expression, "key").to_owned();
            let values = json::list(expression, "values").iter().filter_map(Value::as_str).map(str::to_owned).collect();
            requirements.push(match json::text(expression, "operator") {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::DoesNotExist(key),
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            });
        }
        Ok(Self { requirements, nothing: false })
    }

    /// A selector for exactly these labels.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let requirements = labels.iter().map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect();
        Self { requirements, nothing: false }
    }

    /// Whether the selector matches everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// The conditions.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether labels fulfil all conditions.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }

    /// Whether the labels of an object (`metadata.labels`) fulfil all conditions.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = object.get("metadata").and_then(|metadata| metadata.get("labels"));
        self.matches_by(|key| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str))
    }

    /// Whether labels, looked up by `get`, fulfil all conditions.
    pub fn matches_by<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(&get))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(key, values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Requirement::In(key, values) => write!(f, "{key} in ({})", values.join(","))?,
                Requirement::NotIn(key, values) if values.len() == 1 => write!(f, "{key}!={}", values[0])?,
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(","))?,
                Requirement::Exists(key) => f.write_str(key)?,
                Requirement::DoesNotExist(key) => write!(f, "!{key}")?,
                Requirement::GreaterThan(key, than) => write!(f, "{key}>{than}")?,
                Requirement::LessThan(key, than) => write!(f, "{key}<{than}")?,
            }
        }
        Ok(())
    }
}

/// Reads the query form from the left.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `token` when it is next.
    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a run of characters that are no syntax; may be empty.
    fn word(&mut self) -> &'a str {
        self.skip_space();
        let end = self.rest.find(|c: char| c.is_whitespace() || "=!<>(),".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn key(&mut self) -> Result<String, String> {
        let key = self.word();
        if key.is_empty() {
            return Err(format!("found '{}', expected: !, identifier, or 'end of string'", self.rest));
        }
        match names::qualified_name(key).first() {
            None => Ok(key.to_owned()),
            Some(reason) => Err(format!("key: Invalid value: {}: {reason}", crate::field::quote(key))),
        }
    }

    fn value(&mut self, key: &str) -> Result<String, String> {
        let value = self.word();
        match names::label_value(value).first() {
            None => Ok(value.to_owned()),
            Some(reason) => Err(format!("values[0][{key}]: Invalid value: {}: {reason}", crate::field::quote(value))),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let value = self.word();
        value.parse().map_err(|_| {
            format!("values[0]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer", crate::field::quote(value))
        })
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.take("!") {
            return Ok(Requirement::DoesNotExist(self.key()?));
        }
        let key = self.key()?;
        self.skip_space();
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok(Requirement::Exists(key));
        }
        if self.take("!=") {
            let value = self.value(&key)?;
            return Ok(Requirement::NotIn(key, vec![value]));
        }
        if self.take("==") || self.take("=") {
            let value = self.value(&key)?;
            return Ok(Requirement::In(key, vec![value]));
        }
        if self.take(">") {
            return Ok(Requirement::GreaterThan(key, self.number()?));
        }
        if self.take("<") {
            return Ok(Requirement::LessThan(key, self.number()?));
        }
        match self.word() {
            "in" => Ok(Requirement::In(key.clone(), self.values(&key)?)),
            "notin" => Ok(Requirement::NotIn(key.clone(), self.values(&key)?)),
            other => Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn values(&mut self, key: &str) -> Result<Vec<String>, String> {
        if !self.take("(") {
            return Err(format!("found '{}', expected: '('", self.rest));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value(key)?);
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(format!("found '{}', expected: ',' or ')'", self.rest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_match_as_kubectl_users_expect() {
        let labels: BTreeMap<String, String> = [("app", "web"), ("tier", "front"), ("n", "5")].map(|(k, v)| (k.into(), v.into())).into();
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app=db", false),
            ("app!=db", true),
            ("missing!=x", true),
            ("app", true),
            ("!app", false),
            ("!missing", true),
            ("tier in (front, back)", true),
            ("tier notin (front,back)", false),
            ("missing notin (a)", true),
            ("n>4", true),
            ("n<5", false),
            ("app=web,tier=front", true),
            ("app=web , tier = back", false),
            ("app=", false),
            (" app in (web) ,!x", true),
        ];
        for (text, expected) in cases {
            assert_eq!(LabelSelector::parse(text).map(|s| s.matches(&labels)), Ok(expected), "{text}");
        }
        for bad in ["app in", "app in (a", "=x", "app=a b", "-app=x", "a,,b", "app=a,"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_object_form_matches_the_same() {
        let selector =
            LabelSelector::from_json(&json!({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}));
        assert_eq!(selector.map(|s| s.to_string()), Ok("a=1,b".to_owned()));
        assert!(LabelSelector::from_json(&json!({})).is_ok_and(|s| s.is_everything()));
        assert!(LabelSelector::from_json(&Value::Null).is_ok_and(|s| !s.matches(&BTreeMap::new())));
        assert!(LabelSelector::from_json(&json!({"matchExpressions": [{"key": "b", "operator": "Like"}]})).is_err());
    }
}
