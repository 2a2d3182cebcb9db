//! The tools that the rules of kinds are written with: a cursor that knows its path, and the list of complaints.

use serde_json::{Map, Value};
use tricorn_meta::{FieldError, FieldPath, Quantity, names};

static NULL: Value = Value::Null;

/// The complaints found so far.
pub(crate) type Errors = Vec<FieldError>;

/// A field of an object (or the place where it would be), and its path.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    pub value: &'a Value,
    pub path: FieldPath,
}

impl<'a> At<'a> {
    /// The object itself.
    pub fn root(value: &'a Value) -> Self {
        Self { value, path: FieldPath::root() }
    }

    /// The object as a whole, where a complaint is about no field of it. Upstream writes that so.
    pub fn whole(value: &'a Value) -> Self {
        Self { value, path: "[]".into() }
    }

    /// A field of this one; a missing field is a null one.
    pub fn get(&self, key: &str) -> At<'a> {
        At { value: self.value.get(key).unwrap_or(&NULL), path: self.path.child(key) }
    }

    /// A field further down, by a dotted path.
    pub fn at(&self, path: &str) -> At<'a> {
        path.split('.').fold(self.clone(), |at, key| at.get(key))
    }

    /// The items of a list; none where it is missing.
    pub fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let path = self.path.clone();
        self.value.as_array().into_iter().flatten().enumerate().map(move |(i, value)| At { value, path: path.index(i) })
    }

    /// The entries of a map; none where it is missing.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let path = self.path.clone();
        self.value.as_object().into_iter().flatten().map(move |(key, value)| (key.as_str(), At { value, path: path.key(key) }))
    }

    /// The text; empty where it is missing.
    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// The integer.
    pub fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// The boolean; false where it is missing.
    pub fn flag(&self) -> bool {
        self.value.as_bool().unwrap_or(false)
    }

    /// The map.
    pub fn map(&self) -> Option<&'a Map<String, Value>> {
        self.value.as_object()
    }

    /// The number of items or entries.
    pub fn len(&self) -> usize {
        self.value.as_array().map(Vec::len).or(self.value.as_object().map(Map::len)).unwrap_or(0)
    }

    /// Whether the field is there and not null.
    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether the field is missing, null, or empty text, list or map.
    pub fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(s) => s.is_empty(),
            Value::Array(a) => a.is_empty(),
            Value::Object(o) => o.is_empty(),
            _ => false,
        }
    }

    /// Complains that the field must be given.
    pub fn required(&self, detail: &str, errors: &mut Errors) {
        errors.push(FieldError::required(&self.path, detail));
    }

    /// Complains about the value.
    pub fn invalid(&self, detail: impl Into<String>, errors: &mut Errors) {
        errors.push(FieldError::invalid(&self.path, self.value.clone(), detail));
    }

    /// Complains about the field, and shows something else than its value.
    pub fn invalid_as(&self, shown: impl Into<Value>, detail: impl Into<String>, errors: &mut Errors) {
        errors.push(FieldError::invalid(&self.path, shown, detail));
    }

    /// Complains that the text is none of those that would do.
    pub fn unsupported(&self, supported: &[&str], errors: &mut Errors) {
        errors.push(FieldError::not_supported(&self.path, self.shown(), supported));
    }

    /// Complains that what the text names is not there.
    pub fn not_found(&self, errors: &mut Errors) {
        errors.push(FieldError::not_found(&self.path, self.text()));
    }

    /// The text must not be longer than so many bytes.
    pub fn at_most_bytes(&self, max: usize, errors: &mut Errors) {
        if self.text().len() > max {
            errors.push(FieldError::too_long(&self.path, max));
        }
    }

    /// The list must not have more than so many items.
    pub fn at_most_items(&self, max: usize, errors: &mut Errors) {
        if self.len() > max {
            errors.push(FieldError::too_many(&self.path, self.len(), max));
        }
    }

    /// The text must be none that was seen; the next one will be told of it.
    pub fn unique(&self, seen: &mut Vec<&'a str>, errors: &mut Errors) {
        if seen.contains(&self.text()) {
            self.duplicate(errors);
        } else {
            seen.push(self.text());
        }
    }

    /// The same value, complained about as if it were at another place.
    pub fn told_at(&self, path: FieldPath) -> At<'a> {
        At { value: self.value, path }
    }

    /// The value as complaints show it: a text that is missing is an empty one.
    fn shown(&self) -> Value {
        if self.is_set() { self.value.clone() } else { Value::from("") }
    }

    /// Complains that the field must not be set so here.
    pub fn forbidden(&self, detail: &str, errors: &mut Errors) {
        errors.push(FieldError::forbidden(&self.path, detail));
    }

    /// Complains that the value is there already.
    pub fn duplicate(&self, errors: &mut Errors) {
        errors.push(FieldError::duplicate(&self.path, self.value.clone()));
    }

    /// The text must be one of these, where it is given.
    pub fn one_of(&self, supported: &[&str], errors: &mut Errors) {
        if !self.is_empty() && !supported.contains(&self.text()) {
            self.unsupported(supported, errors);
        }
    }

    /// The text must be given, and one of these.
    pub fn required_one_of(&self, supported: &[&str], errors: &mut Errors) {
        if self.is_empty() { self.required("", errors) } else { self.one_of(supported, errors) }
    }

    /// The field must be given. Says whether it is.
    pub fn need(&self, errors: &mut Errors) -> bool {
        if self.is_empty() {
            self.required("", errors);
        }
        !self.is_empty()
    }

    /// These fields of it must be given.
    pub fn needs(&self, keys: &[&str], errors: &mut Errors) {
        for key in keys {
            self.get(key).need(errors);
        }
    }

    /// The text must satisfy a rule of names.
    pub fn named(&self, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
        rule(self.text()).into_iter().for_each(|wrong| self.invalid_as(self.shown(), wrong, errors));
    }

    /// The text must be given and satisfy a rule of names.
    pub fn need_named(&self, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
        if self.need(errors) {
            self.named(rule, errors);
        }
    }

    /// The text must satisfy a rule of names, where it is given.
    pub fn maybe_named(&self, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
        if !self.is_empty() {
            self.named(rule, errors);
        }
    }

    /// The number must not be negative, where it is given.
    pub fn not_negative(&self, errors: &mut Errors) {
        if self.int().is_some_and(|n| n < 0) {
            self.invalid("must be greater than or equal to 0", errors);
        }
    }

    /// The number must be greater than zero, where it is given.
    pub fn positive(&self, errors: &mut Errors) {
        if self.int().is_some_and(|n| n <= 0) {
            self.invalid("must be greater than zero", errors);
        }
    }

    /// The number must lie between two others, where it is given.
    pub fn within(&self, low: i64, high: i64, errors: &mut Errors) {
        if self.int().is_some_and(|n| n < low || n > high) {
            self.invalid(format!("must be between {low} and {high}, inclusive"), errors);
        }
    }

    /// The port must be a number of one, or a name of one.
    pub fn port(&self, errors: &mut Errors) {
        match self.value {
            Value::String(name) => names::port_name(name).into_iter().for_each(|wrong| self.invalid(wrong, errors)),
            _ => names::port_number(self.int().unwrap_or(0)).into_iter().for_each(|wrong| self.invalid(wrong, errors)),
        }
    }

    /// The quantity, where it is one; a complaint where it is not.
    pub fn quantity(&self, errors: &mut Errors) -> Option<Quantity> {
        let quantity = Quantity::from_json(self.value);
        if quantity.is_none() {
            let words = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
            self.invalid(words, errors);
        }
        quantity
    }

    /// The value must be what it was.
    pub fn unchanged(&self, old: &At<'_>, errors: &mut Errors) {
        if !same(self.value, old.value) {
            self.invalid("field is immutable", errors);
        }
    }
}

/// Whether two values mean the same: missing, null and empty are one.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        Value::String(s) => s.is_empty(),
        _ => false,
    };
    a == b || (empty(a) && empty(b))
}

/// The number of a value that may also be a percentage of something (`25%` is 25, marked).
pub(crate) fn int_or_percent(value: &Value) -> Option<(i64, bool)> {
    match value {
        Value::Number(n) => n.as_i64().map(|n| (n, false)),
        Value::String(s) => s.strip_suffix('%').and_then(|n| n.parse().ok()).map(|n| (n, true)),
        _ => None,
    }
}

/// The value must be a number that is not negative, or a percentage.
pub(crate) fn not_negative_int_or_percent(at: &At<'_>, errors: &mut Errors) {
    match at.value {
        Value::Null => {}
        Value::String(_) if int_or_percent(at.value).is_none_or(|(n, _)| n < 0) => {
            at.invalid("a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')", errors);
        }
        _ => at.not_negative(errors),
    }
}

/// At most all of them.
pub(crate) fn at_most_all(at: &At<'_>, errors: &mut Errors) {
    if int_or_percent(at.value).is_some_and(|(n, percent)| percent && n > 100) {
        at.invalid("must not be greater than 100%", errors);
    }
}
