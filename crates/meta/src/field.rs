//! What is wrong with one field of an object, in the words clients know.

use std::fmt;

use serde_json::Value;

/// Where a field is: `spec.containers[0].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(String);

impl FieldPath {
    /// The path of a top-level field, or of the root when empty.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The path of the object itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of a field of this object.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The path of an item of this list.
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path of an entry of this map.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for FieldPath {
    fn from(path: &str) -> Self {
        Self(path.to_owned())
    }
}

/// The sort of complaint; `reason()` is what `details.causes[].reason` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FieldErrorType {
    /// A value that the field refers to is not there.
    NotFound,
    /// The field must be given.
    Required,
    /// A value that must be unique is not.
    Duplicate,
    /// The value is malformed or out of its bounds.
    Invalid,
    /// The value is not one of an enumeration.
    NotSupported,
    /// The value would do elsewhere, but not under these conditions.
    Forbidden,
    /// The value is longer than allowed.
    TooLong,
    /// The list holds more than allowed.
    TooMany,
    /// The server failed while it looked at the field.
    InternalError,
    /// The value is of the wrong JSON type.
    TypeInvalid,
}

impl FieldErrorType {
    /// The machine-readable reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::InternalError => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::InternalError => "Internal error",
        }
    }
}

/// One complaint about one field. Prints as `spec.replicas: Invalid value: -1: must be greater than or equal to 0`.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// The sort of complaint.
    pub kind: FieldErrorType,
    /// The field.
    pub path: FieldPath,
    /// The value that was given, where the text shows it.
    pub bad_value: Option<Value>,
    /// What would have been right; may be empty.
    pub detail: String,
}

impl FieldError {
    fn build(kind: FieldErrorType, path: &FieldPath, bad_value: Option<Value>, detail: impl Into<String>) -> Self {
        Self { kind, path: path.clone(), bad_value, detail: detail.into() }
    }

    /// The field must be given.
    pub fn required(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::build(FieldErrorType::Required, path, None, detail)
    }

    /// The value is malformed or out of its bounds.
    pub fn invalid(path: &FieldPath, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::build(FieldErrorType::Invalid, path, Some(value.into()), detail)
    }

    /// The value is of the wrong JSON type.
    pub fn type_invalid(path: &FieldPath, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::build(FieldErrorType::TypeInvalid, path, Some(value.into()), detail)
    }

    /// The value is there already.
    pub fn duplicate(path: &FieldPath, value: impl Into<Value>) -> Self {
        Self::build(FieldErrorType::Duplicate, path, Some(value.into()), "")
    }

    /// What the value refers to is not there.
    pub fn not_found(path: &FieldPath, value: impl Into<Value>) -> Self {
        Self::build(FieldErrorType::NotFound, path, Some(value.into()), "")
    }

    /// The field must not be set, or not be set so, here.
    pub fn forbidden(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::build(FieldErrorType::Forbidden, path, None, detail)
    }

    /// The value is none of the supported ones, which are listed in the order given.
    pub fn not_supported(path: &FieldPath, value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| quote(s)).collect();
        let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
        Self::build(FieldErrorType::NotSupported, path, Some(value.into()), detail)
    }

    /// The value is longer than `max` bytes.
    pub fn too_long(path: &FieldPath, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        Self::build(FieldErrorType::TooLong, path, None, format!("may not be more than {max} {unit}"))
    }

    /// The list has more than `max` items.
    pub fn too_many(path: &FieldPath, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self::build(FieldErrorType::TooMany, path, Some(Value::from(actual)), format!("must have at most {max} {unit}"))
    }

    /// The server failed while it looked at the field.
    pub fn internal(path: &FieldPath, detail: impl Into<String>) -> Self {
        Self::build(FieldErrorType::InternalError, path, None, detail)
    }

    /// The complaint without the path: what `details.causes[].message` carries.
    pub fn body(&self) -> String {
        let mut text = self.kind.text().to_owned();
        match &self.bad_value {
            None => {}
            Some(Value::String(s)) => {
                text.push_str(": ");
                text.push_str(&quote(s));
            }
            Some(other) => {
                text.push_str(": ");
                text.push_str(&other.to_string());
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.0.is_empty() { write!(f, "<nil>: {}", self.body()) } else { write!(f, "{}: {}", self.path, self.body()) }
    }
}

impl std::error::Error for FieldError {}

/// Quotes as error texts do: double quotes, with backslash escapes for quotes, backslashes and control characters.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Many complaints as one text: one alone as it is, several in brackets, each once.
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_ones_clients_know() {
        let replicas = FieldPath::new("spec").child("replicas");
        let cases = [
            (
                FieldError::invalid(&replicas, -1, "must be greater than or equal to 0"),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                FieldError::required(&FieldPath::new("spec").child("containers").index(0).child("name"), ""),
                "spec.containers[0].name: Required value",
            ),
            (
                FieldError::not_supported(&FieldPath::new("p"), "x", &["A", "B"]),
                "p: Unsupported value: \"x\": supported values: \"A\", \"B\"",
            ),
            (FieldError::duplicate(&FieldPath::new("p").key("k"), "x"), "p[k]: Duplicate value: \"x\""),
            (FieldError::too_long(&FieldPath::new("p"), 63), "p: Too long: may not be more than 63 bytes"),
            (FieldError::too_many(&FieldPath::new("p"), 2, 1), "p: Too many: 2: must have at most 1 item"),
            (
                FieldError::invalid(&FieldPath::new("p"), serde_json::json!({"a": 1}), "field is immutable"),
                "p: Invalid value: {\"a\":1}: field is immutable",
            ),
            (FieldError::forbidden(&FieldPath::new("p"), "no"), "p: Forbidden: no"),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn several_complaints_stand_in_brackets_each_once() {
        let one = FieldError::required(&FieldPath::new("a"), "");
        let two = FieldError::required(&FieldPath::new("b"), "");
        assert_eq!(aggregate(std::slice::from_ref(&one)), "a: Required value");
        assert_eq!(aggregate(&[one.clone(), two, one]), "[a: Required value, b: Required value]");
    }
}
